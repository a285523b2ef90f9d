"""What the report of a run says, worked out from its JSON; how it looks belongs to templates.

The JSON may be a record of the disk or a server's view, of this version or an older one: whatever
it lacks is said to be unknown and is never made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testops.reports.charts import Svg, margin_bar, spans
from testops.reports.page_text import moment_of, number, one_line
from testops.reports.run_findings import Grouped, grouped
from testops.reports.run_gates import Facts, GateRow, MetricFact, facts_of, gate_rows

GATES_SHOWN_MAX = 200
METRICS_SHOWN_MAX = 60
NOTES_SHOWN_MAX = 60
ARTIFACTS_SHOWN_MAX = 200

DECISIONS = {
    "pass": "go",
    "warn": "go, with warnings",
    "fail": "no-go",
    "inconclusive": "no-go, evidence is missing",
}
_OPEN_STATES = ("queued", "running")
_IDLE_STATES = {
    "not in this suite": "Not in this suite",
    "not asked for": "Not asked for",
    "queued": "Not reached",
    "cancelled": "Cancelled before they began",
}
_NONDETERMINISM = 3


@dataclass(frozen=True, slots=True)
class Left:
    """A file that the run left; `size` and `sha256` where somebody measured them."""

    path: str
    size: int | None = None
    sha256: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of a run beside its JSON; only what this very attempt left belongs here."""

    comparison: Mapping[str, Any] | None = None
    determinism: Mapping[str, Any] | None = None
    hardening: Mapping[str, Any] | None = None
    performance: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    artifacts: Sequence[Left] = ()
    # Where the whole of it is, for what the page leaves out.
    record: str = "the JSON of the run"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage that was begun."""

    name: str
    verdict: str
    state: str
    seconds: float | None
    tries: int
    bar: Svg
    reason: str
    failed_tries: Sequence[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """The metrics of one stage."""

    stage: str
    facts: Sequence[MetricFact]
    hidden: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the evidence; `under` says of how many, or why there is none."""

    name: str
    value: str
    under: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything on the page, in the order in which a release manager reads it."""

    run: Mapping[str, Any]
    beside: Beside
    verdict: str
    title: str
    decision: str
    why: str
    seconds: float | None
    gates: Sequence[GateRow]
    gate_bars: Sequence[Svg | None]
    gates_hidden: int
    stages: Sequence[StageRow]
    idle: Sequence[tuple[str, str]]
    findings: Grouped
    measured: Sequence[Measured]
    figures: Sequence[Figure]
    notes: Sequence[tuple[str, str]]
    notes_hidden: int
    artifacts: Sequence[Left]
    artifacts_hidden: int


def run_report(run: Mapping[str, Any], beside: Beside) -> RunReport:
    """The report of `run` (its JSON, or with `exact` in its stages) and what lies beside it."""
    stages: Sequence[Mapping[str, Any]] = run.get("stages") or ()
    facts = facts_of(stages)
    rows = gate_rows(run.get("gates") or (), facts)
    shown = rows[:GATES_SHOWN_MAX]
    verdict = str(run.get("verdict") or "")
    notes = [(str(stage["name"]), str(note)) for stage in stages for note in stage.get("notes", ())]
    artifacts = beside.artifacts or _artifacts(stages)
    return RunReport(
        run=run,
        beside=beside,
        verdict=verdict,
        title=_title(run, verdict),
        decision=DECISIONS.get(verdict, ""),
        why=_why(run, rows, stages),
        seconds=_seconds(run),
        gates=shown,
        gate_bars=[None if r.part is None else margin_bar(r.part, r.verdict) for r in shown],
        gates_hidden=len(rows) - len(shown),
        stages=_stage_rows(stages),
        idle=_idle(stages),
        findings=grouped(stages),
        measured=_measured(stages, facts),
        figures=_figures(facts, beside),
        notes=notes[:NOTES_SHOWN_MAX],
        notes_hidden=max(0, len(notes) - NOTES_SHOWN_MAX),
        artifacts=artifacts[:ARTIFACTS_SHOWN_MAX],
        artifacts_hidden=max(0, len(artifacts) - ARTIFACTS_SHOWN_MAX),
    )


def _title(run: Mapping[str, Any], verdict: str) -> str:
    if run.get("exit_code") == _NONDETERMINISM:
        return f"{verdict.capitalize()}, nondeterminism"
    state = str(run.get("state", ""))
    if state in ("cancelled", "errored"):
        return state.capitalize()
    return verdict.capitalize() if verdict else state.capitalize()


def _seconds(run: Mapping[str, Any]) -> float | None:
    began, ended = moment_of(run.get("started_at")), moment_of(run.get("finished_at"))
    return None if began is None or ended is None else (ended - began).total_seconds()


def _why(
    run: Mapping[str, Any], rows: Sequence[GateRow], stages: Sequence[Mapping[str, Any]]
) -> str:
    """One sentence: what decided, and how much else there is."""
    if run.get("reason"):
        return one_line(run["reason"], 400)
    if run.get("state") in _OPEN_STATES:
        return "It has not ended: there is no verdict yet, and nothing here may be relied on."
    counts = dict.fromkeys(DECISIONS, 0)
    # What somebody answers for decides no longer.
    counted = [row for row in rows if not row.waiver]
    for row in counted:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    total = len(rows)
    for verdict, says in (
        ("fail", "fail"),
        ("inconclusive", "cannot be judged"),
        ("warn", "only warn"),
    ):
        if counts[verdict]:
            first = next(row for row in counted if row.verdict == verdict)
            gates = "1 gate" if counts[verdict] == 1 else f"{counts[verdict]} gates"
            return f"{gates} of {total} {_says(says, counts[verdict])}: {_told(first)}."
    broken = [stage for stage in stages if stage.get("verdict") == "inconclusive"]
    if broken:
        return f"{broken[0].get('name')}: {one_line(broken[0].get('reason', ''), 300)}."
    if not rows:
        return "No gate was evaluated."
    waived = total - len(counted)
    if waived:
        return (
            f"{len(counted)} of {total} gates hold; {waived} did not, and somebody answers for it."
        )
    return "Its one gate holds." if total == 1 else f"All {total} gates hold."


def _says(plural: str, count: int) -> str:
    singular = {"fail": "fails", "only warn": "only warns"}
    return singular.get(plural, plural) if count == 1 else plural


def _told(row: GateRow) -> str:
    reason = one_line(row.reason, 300).rstrip(".")
    return reason if reason.startswith(row.stage) else f"{row.stage}: {reason}"


def _stage_rows(stages: Sequence[Mapping[str, Any]]) -> Sequence[StageRow]:
    begun = [stage for stage in stages if stage.get("state") not in _IDLE_STATES]
    total = sum(_wall(attempt) for stage in begun for attempt in stage.get("attempt_log", ()))
    rows, at = [], 0.0
    for stage in begun:
        verdict = str(stage.get("verdict") or "")
        log = stage.get("attempt_log", ())
        bars = []
        for number_, attempt in enumerate(log, 1):
            last = number_ == len(log)
            bars.append((at, _wall(attempt), verdict if last else "inconclusive"))
            at += _wall(attempt)
        rows.append(
            StageRow(
                name=str(stage.get("name", "")),
                verdict=verdict,
                state=str(stage.get("state", "")),
                seconds=sum(map(_wall, log)) if log else None,
                tries=len(log),
                bar=spans(bars, total),
                reason=str(stage.get("reason", "")),
                failed_tries=[str(attempt.get("message", "")) for attempt in log[:-1]],
            )
        )
    return rows


def _wall(attempt: Mapping[str, Any]) -> float:
    return float(attempt.get("wall_s") or 0.0)


def _idle(stages: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for stage in stages:
        if stage.get("state") in _IDLE_STATES:
            names.setdefault(str(stage["state"]), []).append(str(stage.get("name", "")))
    return [(_IDLE_STATES[state], ", ".join(found)) for state, found in names.items()]


def _measured(stages: Sequence[Mapping[str, Any]], facts: Facts) -> Sequence[Measured]:
    found = []
    for stage in stages:
        name = str(stage.get("name", ""))
        own = [fact for (of, _), fact in facts.items() if of == name]
        if own:
            hidden = max(0, len(own) - METRICS_SHOWN_MAX)
            found.append(Measured(name, own[:METRICS_SHOWN_MAX], hidden))
    return found


def _figures(facts: Facts, beside: Beside) -> Sequence[Figure]:
    """The numbers that every release is asked for, said to be missing where they are."""

    def value(stage: str, metric: str) -> float | None:
        fact = facts.get((stage, metric))
        return None if fact is None else fact.value

    def figure(name: str, found: float | None, unit: str, under: str) -> Figure:
        if found is None:
            return Figure(name, "–", "not measured")
        return Figure(name, number(found, unit), under)

    identical, executions = value("sim", "identical"), value("sim", "executions")
    passed, tests = value("unit", "passed"), value("unit", "tests")
    lines = value("unit", "line_percent")
    branches = value("unit", "branch_percent")
    compared = value("snapshot-compare", "executions_compared")
    return [
        figure(
            "Determinism",
            value("sim", "determinism_percent"),
            "%",
            f"{number(identical)} of {number(executions)} executions repeated",
        ),
        figure("Tests passed", passed, "", f"of {number(tests)}"),
        figure("Line coverage", lines, "%", f"branches {number(branches, '%')}"),
        figure(
            "Deltas to the baseline",
            value("snapshot-compare", "deltas"),
            "",
            f"in {number(compared)} executions",
        ),
    ]


def _artifacts(stages: Sequence[Mapping[str, Any]]) -> Sequence[Left]:
    paths = dict.fromkeys(str(path) for stage in stages for path in stage.get("artifacts", ()))
    return [Left(path) for path in paths]
