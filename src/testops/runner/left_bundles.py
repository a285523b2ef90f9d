"""What a stage left for the snapshot service, read by somebody else than the stage.

A stage says which bundle it left; a kernel is not trusted with that, so the file is read here
before it is registered. What differed from the baseline becomes a review with a group for each
field, from the report that the comparison wrote.
"""

import json
import platform
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.review import (
    EXAMPLE_LENGTH_MAX,
    FIELD_LENGTH_MAX,
    GROUP_COUNT_MAX,
    MASK_COUNT_MAX,
    TEXT_LENGTH_MAX,
    Group,
    MaskAudit,
    Review,
    ReviewKey,
)
from testops.domain.run_view import RunView
from testops.domain.snapshot import NewBundle, SnapshotKey
from testops.runner.asking import request_of
from testops.snapshots import read_bundle, read_executions
from testops.warroom.gates import DETERMINISM

DIFF_REPORT = "snapshot_diff.json"
_REPORT_BYTES_MAX = 64_000_000
# What an approval under a new engine minor demands, where no gate of the run demands more.
DETERMINISM_PERCENT_MIN = 98.0
_INDEX = re.compile(r"(?<=/)\d+(?=/|$)")


def left_bundle(
    run: RunView,
    path: Path,
    artifact: Artifact,
    said: str | None,
    report: Mapping[str, Any],
    gates: Iterable[Mapping[str, Any]],
) -> NewBundle:
    """The bundle at `path`, which its stage calls `said`; BadInput when it is another."""
    found = read_bundle(path)
    if said not in (None, found.identity):
        raise BadInput(
            f"is the bundle {found.identity}, and the stage says {said}", where=artifact.path
        )
    header = found.header
    records = read_executions(found)
    provenance = {
        "commit": run.build.commit,
        "dirty": run.build.dirty,
        "run_id": run.run_id,
        "attempt": run.attempt,
        "sim_seed": run.seeds.sim,
        "chaos_seed": run.seeds.chaos,
        "engine_version": header.engine_version,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "masks_version": header.masks_version,
        "determinism_percent": report["metrics"].get(DETERMINISM),
        "determinism_required": _determinism_required(gates),
        "executions": len(records),
        "failing": sum(record.verdict.blocks for record in records.values()),
    }
    return NewBundle(
        identity=found.identity,
        key=SnapshotKey(header.suite, header.profile, header.engine_version, header.python),
        sim_seed=header.sim_seed,
        chaos_seed=header.chaos_seed,
        masks_version=header.masks_version,
        sha256=artifact.sha256,
        size=artifact.size,
        provenance=provenance,
        request=request_of(run),
    )


def _determinism_required(gates: Iterable[Mapping[str, Any]]) -> float:
    """What the suite demands of its determinism; never less than a new engine minor does."""
    own = [
        float(gate["threshold"])
        for gate in gates
        if gate.get("metric") == DETERMINISM
        and "threshold" in gate
        # One that only warns lets the run pass, so it does not stop an approval either.
        and gate.get("severity") != "warn"
    ]
    return max([DETERMINISM_PERCENT_MIN, *own])


def read_report(paths: Sequence[Path]) -> Mapping[str, Any] | None:
    """What the comparison wrote, where it wrote something that can be read."""
    for path in paths:
        if path.name == DIFF_REPORT and path.stat().st_size <= _REPORT_BYTES_MAX:
            body = json.loads(path.read_bytes())
            return body if isinstance(body, dict) else None
    return None


def review_of_report(
    body: Mapping[str, Any], *, opened_at: str, opened_by_run: str | None
) -> Review | None:
    """The review of what a comparison found; None where nothing moved, or nothing was compared."""
    base, target = body.get("base"), body["target"]
    counts = ("delta_count", "only_in_base_count", "only_in_target_count")
    if base is None or not any(body[name] for name in counts):
        return None
    return Review(
        base=base["identity"],
        target=target["identity"],
        key=ReviewKey(
            target["suite"], target["profile"], target["engine_version"], target["python"]
        ),
        opened_at=opened_at,
        opened_by_run=opened_by_run,
        groups=_groups(body),
        masks=_masks(body),
    )


def cause_of_report(body: Mapping[str, Any]) -> str | None:
    """Whether executing it again told a regression from nondeterminism, where it was executed."""
    cause = body.get("cause")
    return cause if isinstance(cause, str) else None


def _groups(body: Mapping[str, Any]) -> tuple[Group, ...]:
    examples: dict[tuple[str, str, str], str] = {}
    for delta in body["deltas"]:
        place = (delta["kernel"], _any_index(delta["field"]), delta["kind"])
        examples.setdefault(place, _one_line(str(delta["text"]), EXAMPLE_LENGTH_MAX))
    counts: dict[tuple[str, str, str], int] = {}
    for line in body["summary"]:
        place = (line["kernel"], _any_index(line["field"]), line["kind"])
        counts[place] = max(counts.get(place, 0), int(line["executions"]))
    for name, kind in (("only_in_base", "removed"), ("only_in_target", "added")):
        for execution in body[name]:
            place = (execution["kernel"], "", kind)
            counts[place] = counts.get(place, 0) + 1
            seeds = f"seed {execution['sim_seed']}, chaos seed {execution['chaos_seed']}"
            examples.setdefault(place, f"the execution under {seeds} was {kind}")
    if len(counts) > GROUP_COUNT_MAX:
        # Whoever accepts must have been shown everything; what is left out is one group more.
        kept = dict(list(counts.items())[: GROUP_COUNT_MAX - 1])
        rest = len(counts) - len(kept)
        examples["(more)", "", "changed"] = f"{rest} more fields moved; read the report of the run"
        counts = {**kept, ("(more)", "", "changed"): rest}
    return tuple(
        Group(kernel, field, kind, count, examples.get((kernel, field, kind), ""))
        for (kernel, field, kind), count in counts.items()
    )


def _any_index(field: str) -> str:
    return _INDEX.sub("*", field)[:FIELD_LENGTH_MAX]


def _one_line(text: str, longest: int) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain[:longest]


def _masks(body: Mapping[str, Any]) -> tuple[MaskAudit, ...]:
    rules = body.get("masks", {}).get("rules", [])[:MASK_COUNT_MAX]
    return tuple(
        MaskAudit(
            files=str(rule["files"]),
            pointer=str(rule["pointer"]),
            reason=str(rule["reason"])[:TEXT_LENGTH_MAX],
            hits=int(rule["hits"]),
            hid=int(rule.get("hid", 0)),
        )
        for rule in rules
    )
