"""Refuses and writes down every outside connection of a Python program inside a stage's sandbox.

Found by every interpreter through PYTHONPATH; standard library only. The network namespace refuses
for all programs, this one also counts and names. Where no namespace can be had, it is all there is.
"""

import os
import sys

_REFUSED = os.environ.get("TESTOPS_REFUSED", "")
_PLUGIN = "testops_unit_plugin"


def is_local(host: object) -> bool:
    """Whether a connection to `host` stays on this machine."""
    import ipaddress

    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
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


def target_of(event: str, arguments: tuple[object, ...]) -> object:
    """The host that an audit event wants to reach, or None."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        # Internet addresses are tuples, those of local sockets are texts.
        return address[0] if isinstance(address, tuple) and address else None
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        return None if arguments[0] == os.uname().nodename else arguments[0]
    return None


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """The audit hook."""
    if not event.startswith("socket.") or _PLUGIN in sys.modules:
        # Inside pytest our plugin refuses by itself, and knows the test.
        return
    target = target_of(event, arguments)
    if is_local(target):
        return
    line = f"{os.getpid()} {os.path.basename(sys.argv[0] or 'python')}: {target} ({event})\n"  # noqa: PTH119 - early in a start-up
    try:
        with open(_REFUSED, "a", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
            file.write(line[:500])
    except OSError:
        # The refusal itself does not depend on being counted.
        sys.stderr.write(f"not counted: {line}")
    raise PermissionError(f"{event} to {target!r} refused: this profile is loopback only")


def _run_the_next() -> None:
    """Python runs one `sitecustomize`; the one that this one hides still has its turn."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as above
    others = [folder for folder in sys.path if os.path.abspath(folder) != here]  # noqa: PTH100
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if _REFUSED:
    sys.addaudithook(watch)
if __name__ == "sitecustomize":
    _run_the_next()
