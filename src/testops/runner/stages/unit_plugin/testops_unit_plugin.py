"""A pytest plugin for somebody else's environment: seeded, loopback only, and written down.

Standard library only, because the project's interpreter has none of our dependencies; read by the
unit stage through one line of JSON per test in `TESTOPS_UNIT_OUTCOMES`. JUnit alone will not do: it
counts an expected failure as skipped, and says nothing when pytest dies half-way.
"""

import hashlib
import ipaddress
import json
import os
import random
import socket
import sys
from typing import Any

import pytest

SEED = os.environ.get("TESTOPS_UNIT_SEED", "0")
ORDER = os.environ.get("TESTOPS_UNIT_ORDER", "file")
POLICY = os.environ.get("TESTOPS_UNIT_NETWORK", "open")
OUTCOMES = os.environ.get("TESTOPS_UNIT_OUTCOMES", "")
# A file with a JSON list of node ids: these tests and no others, in this order.
ONLY = os.environ.get("TESTOPS_UNIT_ONLY", "")
TEXT_MAX = 20_000

outbound: list[dict[str, str]] = []
current_test = "collection"


def seed_of(*parts: str) -> int:
    """The number that the run's seed gives to a name: the same in every process and version."""
    digest = hashlib.sha256("\0".join((SEED, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


# --- network ------------------------------------------------------------------------------------


def is_local(host: object) -> bool:
    """Whether a connection to `host` stays on this machine."""
    if isinstance(host, bytes):
        host = host.decode("idna", "replace")
    if host is None or host == "":
        return True
    name = str(host).partition("%")[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _target_of(event: str, arguments: tuple[Any, ...]) -> object:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        kind, address = arguments[0].family, arguments[1]
        is_ip = kind in (socket.AF_INET, socket.AF_INET6)
        return address[0] if is_ip and isinstance(address, tuple) else None
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        # Its own name is looked up by many programs, and is no other machine.
        return None if arguments[0] == socket.gethostname() else arguments[0]
    return None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket."):
        return
    target = _target_of(event, arguments)
    if is_local(target):
        return
    outbound.append({"test": current_test, "host": str(target), "event": event})
    raise PermissionError(f"{event} to {target!r} refused: this profile is loopback only")


# --- outcomes -----------------------------------------------------------------------------------


class Recorder:
    """Writes one line per test; in a worker of xdist it stays silent, the controller hears all."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: PTH123, SIM115 - kept open
        self._phases: dict[str, dict[str, Any]] = {}

    def write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, sort_keys=True) + "\n")
        self._file.flush()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.write({"type": "collected", "count": len(session.items)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            phases = {**_NOTHING_SEEN, "outcome": "error", "message": report.longreprtext[-2000:]}
            self.write(_entry(report.nodeid, {**phases, "detail": _cut(report.longreprtext)}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seen = self._phases.setdefault(report.nodeid, dict(_NOTHING_SEEN))
        seen["seconds"] += report.duration
        seen["defined"] = int(report.location[1] or 0) + 1
        outcome = _outcome_of(report)
        if outcome != "passed" and seen["outcome"] not in ("failed", "error"):
            seen["outcome"] = outcome
            seen["message"] = _message_of(report)
            seen["path"], seen["line"] = _place_of(report)
            seen["detail"] = _cut(report.longreprtext)
        if report.when == "teardown":
            done = self._phases.pop(report.nodeid)
            if done["outcome"] in ("failed", "error"):
                done["stdout"], done["stderr"] = _cut(report.capstdout), _cut(report.capstderr)
            done["properties"] = [[str(n), str(v)[:2000]] for n, v in report.user_properties][:100]
            self.write(_entry(report.nodeid, done))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        outbound.extend(getattr(node, "workeroutput", {}).get("testops_outbound", []))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        entry = {"type": "finished", "exit": int(exitstatus), "outbound": outbound}
        entry["versions"] = {"python": sys.version.split()[0], "pytest": pytest.__version__}
        self.write(entry)
        self._file.close()


_NOTHING_SEEN: dict[str, Any] = {
    "outcome": "passed",
    "seconds": 0.0,
    "message": "",
    # Where it failed, and where it stands.
    "path": "",
    "line": 0,
    "defined": 0,
    "detail": "",
    "stdout": "",
    "stderr": "",
    "properties": [],
}


def _entry(nodeid: str, seen: dict[str, Any]) -> dict[str, Any]:
    return {**seen, "type": "test", "id": nodeid, "seconds": round(seen["seconds"], 4)}


def _cut(text: str) -> str:
    """The end of a long text: an assertion stands there."""
    return text[-TEXT_MAX:]


def _outcome_of(report: pytest.TestReport) -> str:
    expected_to_fail = hasattr(report, "wasxfail")
    if report.passed:
        return "xpassed" if expected_to_fail else "passed"
    if report.skipped:
        return "xfailed" if expected_to_fail else "skipped"
    return "failed" if report.when == "call" else "error"


def _place_of(report: pytest.TestReport) -> tuple[str, int]:
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.path), int(crash.lineno)
    return str(report.location[0]), int(report.location[1] or 0) + 1


def _message_of(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longreprtext)[-2000:]


# --- hooks --------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Start watching before anything is collected: importing a test module can already connect."""
    if POLICY == "loopback-only":
        sys.addaudithook(_watch)
    if OUTCOMES and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(OUTCOMES), "testops-recorder")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffle modules, classes and tests, each group kept together so that fixtures stay cheap."""
    if ONLY:
        with open(ONLY, encoding="utf-8") as file:  # noqa: PTH123 - as above
            wanted = {nodeid: place for place, nodeid in enumerate(json.load(file))}
        items[:] = [item for item in items if item.nodeid in wanted]
        items.sort(key=lambda item: wanted[item.nodeid])
    elif ORDER == "seeded":
        items.sort(key=_order_key)


def _order_key(item: pytest.Item) -> tuple[int, int, int]:
    module, _, rest = item.nodeid.partition("::")
    group = rest.rpartition("::")[0]
    return seed_of("module", module), seed_of("group", module, group), seed_of("test", item.nodeid)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Every test draws its own numbers, whichever ran before it and in whichever worker."""
    global current_test  # noqa: PLW0603 - the audit hook has no other way to know
    current_test = item.nodeid
    random.seed(seed_of("random", item.nodeid))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed_of("random", item.nodeid) % 2**32)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands its refused connections to the controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["testops_outbound"] = outbound
