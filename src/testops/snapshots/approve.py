"""Makes a bundle the baseline of its key, and records who decided that, when and why.

`golden/<suite>/<profile>/<engine_version>-py<python>.tar.gz` with its record beside it (`.json`).
Earlier approvals stay in the record's `history`, oldest first, each with its identity.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict
from testops.snapshots.atomic import replace_file
from testops.snapshots.bundle import SUFFIX, Bundle, read_bundle, write_bundle
from testops.snapshots.canonical import Json, parse
from testops.snapshots.executions import read_executions
from testops.snapshots.manifest import BundleKey
from testops.snapshots.refusal import Refusal

RECORD_SCHEMA_VERSION = 1
_TEXT_LENGTH_MAX = 2000
_APPROVAL_FIELDS = ("identity", "who", "why", "at", "failing")


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision of a person. `at` is an argument, like all time."""

    who: str
    why: str
    at: datetime


def baseline_path(golden: Path, key: BundleKey) -> Path:
    """Where the baseline of `key` stands."""
    name = f"{key.engine_version}-py{key.python}{SUFFIX}"
    return golden / key.suite / key.profile / name


def record_path(baseline: Path) -> Path:
    """Where the approval of the baseline in `baseline` is recorded."""
    return baseline.with_name(f"{baseline.name.removesuffix(SUFFIX)}.json")


def approve(
    source: Path, golden: Path, *, who: str, why: str, at: datetime, allow_failing: bool = False
) -> Path:
    """The path of the baseline that `source` has become; a former one stays in the history.

    BadInput for an empty `who` or `why`, for a bundle that cannot be read or holds no execution,
    and for one with failing executions unless `allow_failing`. OutputNotWritable leaves the former
    baseline in force.
    """
    approval = Approval(who=_required(who, "--who"), why=_required(why, "--why"), at=at)
    if at.tzinfo is None:
        raise BadInput("has no time zone", where="at", fix="pass an aware time")
    bundle = read_bundle(source)
    failing = _failing_executions(bundle, allow_failing=allow_failing)
    baseline = baseline_path(golden, bundle.header.key)
    history = _history(baseline)
    # The bundle before its record: killed between the two, the record names another identity than
    # the bundle has, which a comparison reports; the other order could vouch for a bundle that was
    # never stored.
    write_bundle(baseline, bundle.header, bundle.files)
    record: dict[str, Json] = {
        "schema_version": RECORD_SCHEMA_VERSION,
        "suite": bundle.header.suite,
        "profile": bundle.header.profile,
        "engine_version": bundle.header.engine_version,
        "python": bundle.header.python,
        **_approval_json(approval, bundle.identity, failing),
        "history": history,
    }
    replace_file(record_path(baseline), _readable(record))
    return baseline


def approval_problem(bundle: Bundle) -> str:
    """Why a baseline file is not what its record says was approved; empty when it is, or has none.

    A bundle without a record is anyone's bundle: comparing with one is fine.
    """
    path = record_path(bundle.origin)
    if not bundle.origin.name.endswith(SUFFIX) or not path.exists():
        return ""
    identity = _read_record(path).get("identity")
    if identity == bundle.identity:
        return ""
    return f"the baseline {bundle.origin} is not the bundle that {path.name} says was approved"


def _required(text: str, where: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise BadInput(
            "is empty", where=where, fix="a baseline is approved by a person, for a reason"
        )
    if len(stripped) > _TEXT_LENGTH_MAX:
        raise BadInput(
            f"is longer than {_TEXT_LENGTH_MAX} characters", where=where, fix="shorten it"
        )
    if not all(letter.isprintable() or letter == "\n" for letter in stripped):
        raise BadInput("holds control characters", where=where, fix="write plain text")
    return stripped


def _failing_executions(bundle: Bundle, *, allow_failing: bool) -> int:
    records = read_executions(bundle)
    if not records:
        raise BadInput(
            "holds no execution", where=str(bundle.origin), fix="approve a bundle of a run"
        )
    failing = [record for record in records.values() if record.verdict.blocks]
    if failing and not allow_failing:
        first = failing[0]
        state = "failed" if first.verdict is Verdict.FAIL else "was inconclusive"
        raise BadInput(
            f"{len(failing)} of its {len(records)} executions did not pass "
            f"({first.id.text()} {state})",
            where=str(bundle.origin),
            fix="mend them, or approve with --allow-failing and say why in --why",
        )
    return len(failing)


def _history(baseline: Path) -> list[Json]:
    """What the new record remembers: the former history, and the approval that it replaces."""
    path = record_path(baseline)
    if not path.exists():
        return []
    former = _read_record(path)
    history = former.get("history", [])
    if not isinstance(history, list):
        raise BadInput("has a 'history' that is no list", where=str(path), fix=_RECORD_FIX)
    return [*history, {name: former.get(name) for name in _APPROVAL_FIELDS}]


_RECORD_FIX = "restore it from version control"


def _read_record(path: Path) -> Mapping[str, Json]:
    try:
        record = parse(path.read_bytes())
    except Refusal as refusal:
        raise BadInput(refusal.problem, where=str(path), fix=_RECORD_FIX) from refusal
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error})", where=str(path), fix=_RECORD_FIX
        ) from error
    if not isinstance(record, dict):
        raise BadInput("is not an approval record", where=str(path), fix=_RECORD_FIX)
    return record


def _approval_json(approval: Approval, identity: str, failing: int) -> dict[str, Json]:
    at = approval.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "identity": identity,
        "who": approval.who,
        "why": approval.why,
        "at": at,
        "failing": failing,
    }


def _readable(record: Json) -> bytes:
    # Committed and reviewed by people, so spread over lines; no hash is taken of it.
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
