"""What a person sees: plain lines in a log, a table on a terminal, the verdict first at the end."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from testops.cli.display import LiveTable, PlainLines, display_for
from testops.cli.summary import print_summary
from testops.domain.gate import GateResult, GateRule, Op
from testops.domain.run import Build, Run, RunState
from testops.domain.seeds import Seeds
from testops.domain.stage import (
    Finding,
    Metric,
    StageAttempt,
    StageName,
    StageReport,
    StageState,
)
from testops.domain.verdict import ExitCode, Verdict
from testops.telemetry.events import (
    Event,
    RunStarted,
    StageFinished,
    StageFound,
    StageProgress,
    StageStarted,
)


class FakeClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def elapsed_s(self) -> float:
        return 0.0


FINDING = Finding("sim/echo.py:3 in echo", "echo at seed 42/7: lost", "property", "toron run X")
METRICS = {
    name: Metric(name, value, "reports/determinism.json")
    for name, value in {
        "executions": 40,
        "kernels": 8,
        "identical": 40,
        "determinism_percent": 100,
        "kernels_failed": 1,
    }.items()
}
SIM = StageReport(
    StageName.SIM,
    StageState.RAN,
    Verdict.FAIL,
    (StageAttempt(1, "findings", 2.5),),
    METRICS,
    (FINDING,),
    ("reports/determinism.json",),
)
GATE = GateResult(
    GateRule(StageName.SIM, "kernels_failed", Op.EQUAL, 0),
    Verdict.FAIL,
    1,
    "kernels_failed is 1, wanted == 0 (reports/determinism.json)",
)
RUN = Run(
    run_id="0123456789abcdef",
    attempt=2,
    state=RunState.FINISHED,
    suite="core",
    profile="offline",
    seeds=Seeds(42, 7),
    build=Build(None, None),
    engine_version="toron-v2.5H+.1",
    reproduce="testops run core --seed 42",
    verdict=Verdict.FAIL,
    exit_code=ExitCode.FAILED,
    stages=(SIM, StageReport(StageName.LOAD, StageState.NOT_IN_SUITE)),
    gates=(GATE,),
    bundle="snapshots/run-0123456789abcdef.tar.gz",
    bundle_identity="a" * 64,
)
EVENTS: list[Event] = [
    RunStarted(RUN, [(StageName.SIM, True), (StageName.LOAD, False)]),
    StageStarted(StageName.SIM, 1),
    StageProgress(StageName.SIM, 1, 2, part="echo", part_done=1, part_total=2),
    StageFound(StageName.SIM, FINDING),
    StageProgress(StageName.SIM, 2, 2, part="echo", part_done=2, part_total=2, part_ok=False),
]


def summary_of(run: Run) -> list[str]:
    page = io.StringIO()
    print_summary(run, Console(file=page, highlight=False, soft_wrap=True))
    return [line.rstrip() for line in page.getvalue().splitlines() if line.strip()]


def test_the_summary_begins_with_the_verdict_and_ends_with_the_command() -> None:
    lines = summary_of(RUN)
    assert lines[0].startswith("✗ FAIL  core · profile offline · seeds 42/7 · run 0123456789abcdef")
    assert lines[-1] == "again    testops run core --seed 42"


def test_failures_of_one_cause_are_told_once_with_the_seeds_that_fail_alike() -> None:
    alike = [
        replace(
            FINDING, message=f"echo at seed {seed}/7: lost", cause="echo", instance=f"seed {seed}"
        )
        for seed in range(42, 52)
    ]
    other = replace(FINDING, message="echo at seed 60/7: late", cause="late", instance="seed 60")
    sim = replace(SIM, findings=(alike[0], other, *alike[1:]))
    lines = summary_of(replace(RUN, stages=(sim,)))
    assert sum("lost [property]" in line for line in lines) == 1
    assert sum("late [property]" in line for line in lines) == 1
    assert (
        "      and 9 more like it: seed 43, seed 44, seed 45, seed 46, seed 47, seed 48, …" in lines
    )


def test_each_failure_stands_beside_its_reason_and_reproduce_command() -> None:
    lines = summary_of(RUN)
    reason = lines.index("  kernels_failed is 1, wanted == 0 (reports/determinism.json)")
    assert lines[reason + 1] == "    sim/echo.py:3 in echo  echo at seed 42/7: lost [property]"
    assert lines[reason + 2] == "      reproduce: toron run X"


def test_a_stage_that_is_not_in_the_suite_is_listed_without_a_verdict() -> None:
    assert "     load              not in this suite" in summary_of(RUN)


def test_metrics_missing_for_one_cause_share_one_line() -> None:
    rules = [GateRule(StageName.SIM, name, Op.EQUAL, 0) for name in ("kernels_failed", "x")]
    gates = tuple(
        GateResult(rule, Verdict.INCONCLUSIVE, None, "…", missing="it died") for rule in rules
    )
    stage = replace(SIM, verdict=Verdict.INCONCLUSIVE, metrics={}, findings=())
    lines = summary_of(replace(RUN, stages=(stage,), gates=gates, verdict=Verdict.INCONCLUSIVE))
    assert "  not measured: kernels_failed, x; it died" in lines


def test_brackets_in_a_message_are_text_and_no_markup() -> None:
    odd = replace(FINDING, message="[bold]x[/bold] [/nonsense]")
    assert any(
        "[bold]x[/bold] [/nonsense]" in line
        for line in summary_of(replace(RUN, stages=(replace(SIM, findings=(odd,)),)))
    )


def test_a_log_gets_one_plain_line_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainLines(FakeClock())
    for event in [*EVENTS, StageFinished(SIM)]:
        display.hear(event)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "run 0123456789abcdef attempt 2: suite core, seeds 42/7",
        "[sim] started",
        "[sim] sim/echo.py:3 in echo: echo at seed 42/7: lost",
        "[sim]   reproduce: toron run X",
        "[sim] echo: 2 executions, see above",
        "[sim] fail in 2.5 s: 40 executions of 8 kernels, 40 identical in a second process"
        " (100% deterministic), 1 kernel failed",
    ]


def test_a_terminal_gets_a_table_of_stages_and_kernels() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    table = LiveTable(console, FakeClock())
    for event in EVENTS:
        table.hear(event)
    console.print(table._render())
    shown = screen.getvalue()
    assert "core · profile offline · seeds 42/7" in shown
    assert "2/2" in shown
    assert "echo" in shown
    assert "not in this suite" in shown
    table.hear(StageFinished(SIM))
    console.print(table._render())
    assert "40 executions of 8 kernels" in screen.getvalue()


def test_without_a_terminal_nothing_is_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    with display_for(quiet=False) as display:
        for event in EVENTS:
            display.hear(event)
    print_summary(RUN)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
