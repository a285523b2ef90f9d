"""The last page of a run: the verdict first, then why, then how to see it again."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from testops.cli.words import SIGNS, STYLES, metrics_line
from testops.domain.gate import GateResult
from testops.domain.run import Run
from testops.domain.stage import Finding, StageReport
from testops.domain.verdict import Verdict

FINDINGS_SHOWN_MAX = 10
INSTANCES_SHOWN_MAX = 6


def print_summary(run: Run, console: Console | None = None, *, report: str = "") -> None:
    """Print it to standard output, colours only where that is a terminal; `report` is its page."""
    page = console or Console(highlight=False, soft_wrap=True)
    assert run.verdict is not None
    style = STYLES[run.verdict]
    page.print()
    page.print(
        Text.assemble(
            (f"{SIGNS[run.verdict]} {run.verdict.value.upper()}", f"bold {style}"),
            f"  {run.suite} · profile {run.profile} · seeds {run.seeds.sim}/{run.seeds.chaos}"
            f" · run {run.run_id} attempt {run.attempt}",
        )
    )
    for line in _stage_lines(run.stages):
        page.print(line)
    for stage in run.stages:
        if stage.verdict not in (None, Verdict.PASS):
            _explain(stage, run.gates, page)
    _explain_whole(run, page)
    _places(run, page, report)


def _explain_whole(run: Run, page: Console) -> None:
    """What no stage of the run says: the gates of stages that it has not, and idle waivers."""
    measured = {stage.name for stage in run.stages if stage.verdict is not None}
    absent = [gate for gate in run.gates if gate.rule.stage not in measured]
    if absent:
        page.print()
        page.print(Text("without evidence: inconclusive", f"bold {STYLES[Verdict.INCONCLUSIVE]}"))
        for gate in absent:
            page.print(Text(f"  {gate.rule.name}: {gate.missing}"))
    for line in run.waivers_unused:
        page.print(Text(f"  ! {line}", STYLES[Verdict.WARN]))


def _stage_lines(stages: Sequence[StageReport]) -> Iterator[Text]:
    for stage in stages:
        name = f"{stage.name.value:<18}"
        if stage.verdict is None:
            yield Text(f"     {name}{stage.state.value}", "dim")
            continue
        seconds = sum(attempt.wall_s for attempt in stage.attempts)
        tries = f", attempt {len(stage.attempts)}" if len(stage.attempts) > 1 else ""
        yield Text.assemble(
            (f"  {SIGNS[stage.verdict]}  {name}", STYLES[stage.verdict]),
            metrics_line(stage) or "not measured",
            (f"  {seconds:.1f} s{tries}", "dim"),
        )


def _explain(stage: StageReport, gates: Sequence[GateResult], page: Console) -> None:
    assert stage.verdict is not None
    page.print()
    page.print(Text(f"{stage.name.value}: {stage.verdict.value}", f"bold {STYLES[stage.verdict]}"))
    for reason in _reasons([gate for gate in gates if gate.rule.stage is stage.name]):
        page.print(Text(f"  {reason}"))
    groups = _by_cause(stage.findings)
    shown = groups[:FINDINGS_SHOWN_MAX]
    for group, following in zip_longest(shown, shown[1:]):
        _print_finding(group[0], following[0] if following else None, page)
        _print_alike(group[1:], page)
    hidden = sum(map(len, groups[FINDINGS_SHOWN_MAX:]))
    if hidden > 0:
        page.print(Text(f"    and {hidden} more: {', '.join(stage.artifacts)}", "dim"))
    for note in stage.notes:
        if note not in stage.reason:  # said already as the cause of a missing metric
            page.print(Text(f"  {note}"))


def _reasons(gates: Sequence[GateResult]) -> list[str]:
    """One sentence for each metric that is not as wanted; those missing for one cause share one."""
    broken = [gate for gate in gates if gate.verdict is not Verdict.PASS]
    first = list({gate.rule.metric: gate for gate in reversed(broken)}.values())[::-1]
    sentences = [gate.reason for gate in first if not gate.missing]
    for cause in dict.fromkeys(gate.missing for gate in first if gate.missing):
        metrics = ", ".join(gate.rule.metric for gate in first if gate.missing == cause)
        sentences.append(f"not measured: {metrics}; {cause}")
    return sentences


def _print_finding(finding: Finding, following: Finding | None, page: Console) -> None:
    rule = f" [{finding.rule}]" if finding.rule else ""
    page.print(Text(f"    {finding.where}  {finding.message}{rule}"))
    # Neighbours that one command shows again share its line.
    if finding.reproduce and (following is None or following.reproduce != finding.reproduce):
        page.print(Text.assemble(("      reproduce: ", "dim"), (finding.reproduce, "cyan")))


def _by_cause(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings with one cause together, in the order in which each cause was first found."""
    groups: dict[object, list[Finding]] = {}
    for number, finding in enumerate(findings):
        groups.setdefault(finding.cause or number, []).append(finding)
    return list(groups.values())


def _print_alike(others: Sequence[Finding], page: Console) -> None:
    if others:
        named = ", ".join(finding.instance for finding in others[:INSTANCES_SHOWN_MAX])
        more = ", …" if len(others) > INSTANCES_SHOWN_MAX else ""
        page.print(Text(f"      and {len(others)} more like it: {named}{more}", "dim"))


def _places(run: Run, page: Console, report: str) -> None:
    page.print()
    rows = []
    if run.policy is not None:
        reached = ""
        if run.score is not None:
            reached = f", score {run.score.value:.1f} (passes from {run.score.pass_at:g} on)"
        rows.append(("policy", f"{run.policy.name} version {run.policy.version}{reached}"))
    if run.bundle is not None and run.bundle_identity is not None:
        rows.append(("bundle", f"{run.bundle}  (identity {run.bundle_identity[:16]})"))
    reports = [path for stage in run.stages for path in stage.artifacts if path != run.bundle]
    if reports:
        rows.append(("reports", "  ".join(dict.fromkeys(reports))))
    if report:
        rows.append(("page", report))
    rows.append(("record", f"snapshots/runs/{run.run_id}/attempt-{run.attempt}.json"))
    rows.append(("again", run.reproduce))
    for name, text in rows:
        page.print(Text.assemble((f"{name:<9}", "dim"), text))
