"""Where a baseline came from, by the record of the run that left its bundle; null where unknown.

A bundle says nothing of its run, so that equal behaviour is an equal bundle. The run's record
(`snapshots/runs/<id>/attempt-N.json`) names the identity of the bundle that it left, and only a
record with that very identity is evidence for a bundle.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json, integer_json
from testops.snapshots.review_rules import ReviewRules

_RECORD_BYTES_MAX = 64 * 1024 * 1024
_RUN_COMMAND = "python sim/run_suite.py --profile {profile} --suite {suite}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a run's own record says about how deterministic its bundle is; None: it does not."""

    executions: int | None
    identical: int | None
    kernels_inconclusive: int | None

    @property
    def percent(self) -> float | None:
        """Exact, and never rounded up to a threshold."""
        if not self.executions or self.identical is None:
            return None
        return 100 * self.identical / self.executions


def run_record_of(runs: Path, *identities: str, run_id: str | None = None) -> Mapping[str, Any]:
    """The newest finished record in `runs` whose bundle has one of `identities`; empty: none.

    `run_id` goes before others, where it has one.
    """
    found = [record for record in _records(runs) if record.get("bundle_identity") in identities]
    found = [record for record in found if record.get("state") == "finished"]
    named = [record for record in found if record.get("run_id") == run_id]
    return max(named or found, key=_age, default={})


def _records(runs: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(runs.glob("*/attempt-*.json")) if runs.is_dir() else []:
        try:
            if path.stat().st_size > _RECORD_BYTES_MAX:
                continue
            record = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            # A record that is damaged is evidence for nothing; what needs one says that it is
            # missing, and how to make another.
            continue
        if isinstance(record, dict):
            yield record


def _age(record: Mapping[str, Any]) -> tuple[str, int]:
    attempt = record.get("attempt")
    return str(record.get("finished_at") or ""), attempt if isinstance(attempt, int) else 0


def verification_in(record: Mapping[str, Any]) -> Verification:
    """What the sim stage of a run record measured; only a stage that ran measured anything."""
    stages = record.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        if isinstance(stage, dict) and stage.get("name") == "sim" and stage.get("state") == "ran":
            metrics = stage.get("metrics")
            measured = metrics if isinstance(metrics, dict) else {}
            return Verification(
                executions=_count(measured.get("executions")),
                identical=_count(measured.get("identical")),
                kernels_inconclusive=_count(measured.get("kernels_inconclusive")),
            )
    return Verification(None, None, None)


def provenance_of(bundle: Bundle, record: Mapping[str, Any]) -> dict[str, Json]:
    """What the golden record keeps; `record` is empty for a bundle that no run here left."""
    header = bundle.header
    build = record.get("build")
    built = build if isinstance(build, dict) else {}
    environment = record.get("environment")
    known = environment if isinstance(environment, dict) else {}
    executions = sum(1 for path in bundle.files if path.startswith("kernels/"))
    return {
        "commit": _text(built.get("commit")),
        "dirty": _text(built.get("dirty")),
        "run_id": _text(record.get("run_id")),
        "attempt": _count(record.get("attempt")),
        "sim_seed": integer_json(header.sim_seed),
        "chaos_seed": integer_json(header.chaos_seed),
        "engine_version": header.engine_version,
        "python": _text(known.get("python")),
        "sqlite": _text(known.get("sqlite")),
        "masks_version": header.masks_version,
        "determinism_percent": verification_in(record).percent,
        "executions": executions,
    }


def require_verified(
    bundle: Bundle, golden: Path, record: Mapping[str, Any], rules: ReviewRules
) -> None:
    """Refuse the first baseline of a new engine minor without proof that it is deterministic.

    A new minor moves every digest, so nothing that was reviewed before vouches for this bundle: the
    record of its own run has to. BadInput names what is missing and the command that makes it.
    """
    key = bundle.header.key
    others = other_minors(golden, key)
    if not others:
        return
    new = f"engine {key.engine_version} has no baseline of suite {key.suite} yet (only {others})"
    command = _RUN_COMMAND.format(profile=key.profile, suite=key.suite)
    fix = f"run `{command}` with engine {key.engine_version}, and approve that run"
    if problem := _unproven(verification_in(record), rules):
        raise BadInput(
            f"{new}: a new engine minor needs a determinism verification, and {problem}",
            where=str(bundle.origin),
            fix=fix,
        )


def _unproven(found: Verification, rules: ReviewRules) -> str:
    percent = found.percent
    if percent is None:
        return "no record of a finished run says that it left this bundle, with how many identical"
    if percent < rules.determinism_percent:
        return (
            f"{found.identical} of {found.executions} executions were identical "
            f"({percent:.4g} %), below {rules.determinism_percent:g} %"
        )
    if found.kernels_inconclusive is None:
        return "nothing says how many of its kernels were inconclusive"
    if found.kernels_inconclusive:
        return f"{found.kernels_inconclusive} of its kernels were inconclusive"
    return ""


def other_minors(golden: Path, key: BundleKey) -> str:
    """The engine minors that have a baseline of this suite and profile; empty if `key`'s has one.

    Empty as well where there is no baseline at all: the very first one refreshes nothing.
    """
    names = sorted(path.name for path in (golden / key.suite / key.profile).glob("*-py*.tar.gz"))
    versions = [name.rpartition("-py")[0] for name in names]
    return "" if key.engine_version in versions else ", ".join(dict.fromkeys(versions))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
