"""Makes a bundle the baseline of its key, and records who decided that, when and why.

`golden/<suite>/<profile>/<engine_version>-py<python>.tar.gz` with its record beside it (`.json`).
Earlier approvals stay in the record's `history`, oldest first, each with its identity. How many
people it takes, and what they decided about each delta, is a review's; it comes here when it holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.domain.review import Decision, decided
from testops.domain.verdict import Verdict
from testops.snapshots.atomic import replace_file
from testops.snapshots.bundle import SUFFIX, Bundle, read_bundle, write_bundle
from testops.snapshots.canonical import Json, parse
from testops.snapshots.executions import read_executions
from testops.snapshots.refusal import Refusal

RECORD_SCHEMA_VERSION = 1
_APPROVAL_FIELDS = ("identity", "who", "why", "at", "failing")
# Fields that came later: a record without them is as good as before, and none is made up.
_LATER_FIELDS = ("approvals", "provenance", "migrated_from")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a record keeps beside the last decision: every approval, and where the bundle is from.

    None and empty leave the field out, as records had it before there were reviews.
    """

    approvals: Sequence[Decision] = ()
    provenance: Mapping[str, Json] | None = None


NO_EVIDENCE = Evidence()


def baseline_path(golden: Path, key: BundleKey) -> Path:
    """Where the baseline of `key` stands."""
    name = f"{key.engine_version}-py{key.python}{SUFFIX}"
    return golden / key.suite / key.profile / name


def record_path(baseline: Path) -> Path:
    """Where the approval of the baseline in `baseline` is recorded."""
    return baseline.with_name(f"{baseline.name.removesuffix(SUFFIX)}.json")


def approve(
    source: Path,
    golden: Path,
    *,
    who: str,
    why: str,
    at: datetime,
    allow_failing: bool = False,
    evidence: Evidence = NO_EVIDENCE,
    seen: str | None = None,
) -> Path:
    """The path of the baseline that `source` has become; a former one stays in the history.

    BadInput for an empty `who` or `why`, for a bundle that cannot be read or holds no execution,
    and for one with failing executions unless `allow_failing`. OutputNotWritable leaves the former
    baseline in force. `seen` is the identity that was reviewed: a run may replace it just now.
    """
    decision = decided(who, why, at)
    bundle = read_bundle(source)
    if seen not in (None, bundle.identity):
        raise BadInput(
            f"is another bundle now ({bundle.identity[:16]}) than the one that was reviewed",
            where=str(source),
            fix="review this one, or name the bundle of the run that you mean",
        )
    failing = failing_executions(bundle, allow_failing=allow_failing)
    baseline = baseline_path(golden, bundle.header.key)
    history = _history(baseline)
    # The bundle before its record: killed between the two, the record names another identity than
    # the bundle has, which a comparison reports; the other order could vouch for a bundle that was
    # never stored.
    identity = write_bundle(baseline, bundle.header, bundle.files)
    record: dict[str, Json] = {
        "schema_version": RECORD_SCHEMA_VERSION,
        "suite": bundle.header.suite,
        "profile": bundle.header.profile,
        "engine_version": bundle.header.engine_version,
        "python": bundle.header.python,
        "identity": identity,
        **decision.to_json(),
        "failing": failing,
        **_evidence_json(evidence),
        **_migration_json(bundle, identity),
        "history": history,
    }
    replace_file(record_path(baseline), readable(record))
    return baseline


def _evidence_json(evidence: Evidence) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if evidence.approvals:
        found["approvals"] = [approval.to_json() for approval in evidence.approvals]
    if evidence.provenance is not None:
        found["provenance"] = dict(evidence.provenance)
    return found


def _migration_json(bundle: Bundle, identity: str) -> dict[str, Json]:
    """What the bundle was before it was written in the newest schema; nothing when it was that."""
    if identity == bundle.identity:
        return {}
    former: Json = {"identity": bundle.identity, "schema_version": bundle.schema_version}
    return {"migrated_from": [former]}


def approval_problem(bundle: Bundle) -> str:
    """Why a baseline file is not what its record says was approved; empty when it is.

    Anyone's bundle needs no record: comparing with one is fine. One that stands where the baseline
    of its key stands does, or whoever removed the record could put any bundle there.
    """
    path = record_path(bundle.origin)
    if not bundle.origin.name.endswith(SUFFIX):
        return ""
    if not path.exists():
        at = bundle.origin.absolute()
        if len(at.parents) < 3 or at != baseline_path(at.parents[2], bundle.header.key):
            return ""
        return f"the baseline {bundle.origin} has no {path.name} that says who approved it"
    record = read_record(path)
    # Killed between the record and its bundle, a migration leaves what was approved in a schema of
    # before: it is the same behaviour.
    if bundle.identity in (record.get("identity"), *former_identities(record)):
        return ""
    return f"the baseline {bundle.origin} is not the bundle that {path.name} says was approved"


def former_identities(record: Mapping[str, Json]) -> list[str]:
    """The identities that a record's bundle had in earlier schemas, the oldest first."""
    former = record.get("migrated_from", [])
    items = former if isinstance(former, list) else []
    found = [item.get("identity") for item in items if isinstance(item, dict)]
    return [identity for identity in found if isinstance(identity, str)]


def failing_executions(bundle: Bundle, *, allow_failing: bool) -> int:
    """How many executions of `bundle` did not pass; BadInput unless they are allowed to."""
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
    former = read_record(path)
    history = former.get("history", [])
    if not isinstance(history, list):
        raise BadInput("has a 'history' that is no list", where=str(path), fix=_RECORD_FIX)
    later = {name: former[name] for name in _LATER_FIELDS if name in former}
    return [*history, {name: former.get(name) for name in _APPROVAL_FIELDS} | later]


_RECORD_FIX = "restore it from version control"


def read_record(path: Path) -> Mapping[str, Json]:
    """The approval that stands in `path`; BadInput when it is none."""
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


def readable(record: Json) -> bytes:
    """`record` as it is kept."""
    # Committed and reviewed by people, so spread over lines; no hash is taken of it.
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
