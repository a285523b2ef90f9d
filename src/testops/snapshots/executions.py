"""What a bundle says about one execution: written from an outcome, read back without trust.

`kernels/<name>/<sim_seed>-<chaos_seed>.json` is the behaviour. A replay token, durations and the
Python version stay out: they differ where behaviour does not. `traces/<name>/<seeds>.ndjson` is
kept for failures, when the outcome carries its trace.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json, canonical, integer_json, parse, storable
from testops.snapshots.manifest import seed_of
from testops.snapshots.ports import ExecutionLike
from testops.snapshots.refusal import DAMAGED_FIX, Refusal
from testops.snapshots.traces import Trace, parse_trace, write_trace

_KERNEL = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)
_FILE = re.compile(r"(kernels|traces)/([^/]+)/([^/]+)\.(json|ndjson)")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_REQUIRED = (
    "kernel",
    "sim_seed",
    "chaos_seed",
    "verdict",
    "trace_digest",
    "outputs",
    "properties",
    "failure",
    "steps",
    "virtual_ns",
)
_OPTIONAL = ("faults", "source")


@dataclass(frozen=True, slots=True, order=True)
class ExecutionId:
    """Which kernel ran under which pair of seeds."""

    kernel: str
    sim_seed: int
    chaos_seed: int

    @property
    def stem(self) -> str:
        return f"{self.kernel}/{self.sim_seed}-{self.chaos_seed}"

    def text(self) -> str:
        return f"{self.kernel}, seed {self.sim_seed}, chaos seed {self.chaos_seed}"

    def to_json(self) -> dict[str, Json]:
        return {
            "kernel": self.kernel,
            "sim_seed": integer_json(self.sim_seed),
            "chaos_seed": integer_json(self.chaos_seed),
        }


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One execution as a bundle holds it; `document` is the whole of its kernel file."""

    id: ExecutionId
    path: str
    document: Mapping[str, Json]
    trace: Trace | None

    @property
    def verdict(self) -> Verdict:
        return Verdict(str(self.document["verdict"]))

    @property
    def source(self) -> str | None:
        """`FILE.py::FUNCTION`, when the bundle says where the kernel stood."""
        source = self.document.get("source")
        return source if isinstance(source, str) else None


def execution_files(
    executions: Iterable[ExecutionLike], *, sources: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The files of a bundle for these executions, whatever order they finished in.

    `sources` names each kernel's `FILE.py::FUNCTION` relative to the project, for the command that
    reproduces a delta; an outcome may carry it as `source` itself. BadInput names an outcome that
    cannot be stored.
    """
    files: dict[str, bytes] = {}
    for execution in executions:
        identity = ExecutionId(execution.kernel, execution.sim_seed, execution.chaos_seed)
        if not _KERNEL.fullmatch(identity.kernel):
            raise BadInput(
                f"the kernel name {identity.kernel!r} cannot be a folder of a bundle",
                where="kernels",
                fix="use a-z, 0-9 and _ (at most 100)",
            )
        path = f"kernels/{identity.stem}.json"
        if path in files:
            raise BadInput(
                f"{identity.text()} was executed twice in one run",
                where="kernels",
                fix="name each kernel and each seed once",
            )
        source = (sources or {}).get(identity.kernel) or execution.outcome.get("source")
        files[path] = canonical(document_of(identity, execution.outcome, source))
        trace = execution.outcome.get("trace")
        if trace and execution.outcome["verdict"] == Verdict.FAIL:
            files[f"traces/{identity.stem}.ndjson"] = write_trace(trace)
    return files


def document_of(identity: ExecutionId, outcome: Mapping[str, Any], source: str | None) -> Json:
    """The kernel file of an outcome, before it is spelled; BadInput for what is not JSON."""
    document: dict[str, Json] = dict(identity.to_json())
    for name in (*_REQUIRED[3:], "faults"):
        if name == "faults" and name not in outcome:
            continue
        try:
            document[name] = storable(outcome[name])
        except TypeError as error:
            raise BadInput(
                f"{error} (in {name!r})", where=identity.text(), fix="record plain JSON values"
            ) from error
    if source is not None:
        document["source"] = source
    return document


def execution_paths(bundle: Bundle) -> dict[ExecutionId, str]:
    """The kernel file of every execution in `bundle`, sorted, by their names alone.

    BadInput for a file that has no place in a bundle; what each holds is `read_execution`'s.
    """
    found: dict[ExecutionId, str] = {}
    for path in bundle.files:
        try:
            identity = execution_of(path)
            if path.startswith("kernels/"):
                found[identity] = path
            elif f"kernels/{identity.stem}.json" not in bundle.files:
                raise Refusal("is the trace of an execution that the bundle does not have")
        except Refusal as refusal:
            raise _damaged(bundle, path, refusal) from refusal
    return dict(sorted(found.items()))


def read_execution(bundle: Bundle, identity: ExecutionId) -> ExecutionRecord:
    """One execution in `bundle`; BadInput when what stands in its files is none."""
    path = kernel_path(identity)
    try:
        return _record(identity, path, bundle.files)
    except Refusal as refusal:
        raise _damaged(bundle, path, refusal) from refusal


def read_executions(bundle: Bundle) -> dict[ExecutionId, ExecutionRecord]:
    """Every execution in `bundle`, sorted; BadInput names the file that is not one."""
    return {identity: read_execution(bundle, identity) for identity in execution_paths(bundle)}


def kernel_path(identity: ExecutionId) -> str:
    """The file of what an execution did."""
    return f"kernels/{identity.stem}.json"


def trace_path(identity: ExecutionId) -> str:
    """The file of its trace, which only failures have."""
    return f"traces/{identity.stem}.ndjson"


def _damaged(bundle: Bundle, path: str, refusal: Refusal) -> BadInput:
    return BadInput(refusal.problem, where=f"{bundle.origin}: {path}", fix=DAMAGED_FIX)


def execution_of(path: str) -> ExecutionId:
    """Whose kernel file or trace stands at `path`; Refusal when it can be neither."""
    match = _FILE.fullmatch(path)
    if match is None or (match[1] == "kernels") != (match[4] == "json"):
        raise Refusal("is no file that a bundle of schema 1 has")
    sim, _, chaos = match[3].partition("-")
    if not (_KERNEL.fullmatch(match[2]) and _is_digits(sim) and _is_digits(chaos)):
        raise Refusal("is not named KERNEL/SIM_SEED-CHAOS_SEED")
    return ExecutionId(match[2], int(sim), int(chaos))


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20 and str(int(text)) == text


def _record(identity: ExecutionId, path: str, files: Mapping[str, bytes]) -> ExecutionRecord:
    document = parse(files[path])
    if not isinstance(document, dict):
        raise Refusal("is not a JSON object")
    for name in _REQUIRED:
        if name not in document:
            raise Refusal(f"has no {name!r}")
    for name in document:
        if name not in _REQUIRED and name not in _OPTIONAL:
            raise Refusal(f"has the unknown field {name[:80]!r}")
    _require_identity(identity, document)
    for name, holds in _shapes(document).items():
        if not holds:
            raise Refusal(f"has a malformed {name!r}")
    raw_trace = files.get(f"traces/{identity.stem}.ndjson")
    trace = parse_trace(raw_trace) if raw_trace is not None else None
    return ExecutionRecord(id=identity, path=path, document=document, trace=trace)


def _require_identity(identity: ExecutionId, document: Mapping[str, Json]) -> None:
    try:
        seeds = seed_of(document, "sim_seed"), seed_of(document, "chaos_seed")
    except ValueError as error:
        raise Refusal(f"has a malformed field: {error}") from error
    if (document["kernel"], *seeds) != (identity.kernel, identity.sim_seed, identity.chaos_seed):
        raise Refusal("is about another kernel or other seeds than its name says")


def _shapes(document: Mapping[str, Json]) -> dict[str, bool]:
    return {
        "verdict": document["verdict"] in list(Verdict),
        "trace_digest": isinstance(document["trace_digest"], str)
        and _DIGEST.fullmatch(document["trace_digest"]) is not None,
        "outputs": isinstance(document["outputs"], dict),
        "properties": isinstance(document["properties"], dict)
        and all(isinstance(value, dict) for value in document["properties"].values()),
        "failure": isinstance(document["failure"], dict | None),
        "steps": _is_count(document["steps"]),
        "virtual_ns": _is_count(document["virtual_ns"]),
        "faults": isinstance(document.get("faults", []), list),
        "source": isinstance(document.get("source", ""), str),
    }


def _is_count(value: Json) -> bool:
    if isinstance(value, str):  # beyond 2^53-1
        return value.isascii() and value.isdigit()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
