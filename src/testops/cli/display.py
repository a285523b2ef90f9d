"""Shows a run while it goes: a live table on a terminal, lines in a log, nothing for `--json`.

Everything here is on standard error, so that standard output stays the answer. It reads typed
events only, and can fail without the run noticing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from testops.cli.words import SIGNS, STYLES, metrics_line
from testops.domain.stage import StageName, StageReport, StageState
from testops.telemetry.clock import Clock, SystemClock
from testops.telemetry.events import (
    Event,
    GateEvaluated,
    RunFinished,
    RunStarted,
    StageFinished,
    StageFound,
    StageLog,
    StageProgress,
    StageStarted,
)

KERNELS_SHOWN_MAX = 20
_PLAIN_PROGRESS_EVERY_S = 10.0


class Display(Protocol):
    """Hears a run, and says lines of its own."""

    def hear(self, event: Event) -> None: ...

    def told(self, line: str) -> None: ...


@contextmanager
def display_for(*, quiet: bool) -> Iterator[Display]:
    """The display that suits standard error: a table, lines, or silence."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield Silent()
    elif console.is_terminal:
        table = LiveTable(console, SystemClock())
        with table.shown():
            yield table
    else:
        yield PlainLines(SystemClock())


class Silent:
    """Says only what a person must know, and shows nothing."""

    def hear(self, event: Event) -> None:
        """Show nothing."""

    def told(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")


class PlainLines:
    """One line for each thing that happened; for logs, where nothing can be drawn over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spoke_at = clock.elapsed_s()

    def told(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        self._spoke_at = self._clock.elapsed_s()

    def hear(self, event: Event) -> None:
        match event:
            case RunStarted(run=run):
                seeds = f"seeds {run.seeds.sim}/{run.seeds.chaos}"
                self.told(f"run {run.run_id} attempt {run.attempt}: suite {run.suite}, {seeds}")
            case StageStarted(stage=stage, attempt=attempt):
                again = f" (attempt {attempt})" if attempt > 1 else ""
                self.told(f"[{stage.value}] started{again}")
            case StageProgress():
                self._progress(event)
            case StageLog(stage=stage, text=text):
                self.told(f"[{stage.value}] {text}")
            case StageFound(stage=stage, finding=finding):
                self.told(f"[{stage.value}] {finding.where}: {finding.message}")
                if finding.reproduce:
                    self.told(f"[{stage.value}]   reproduce: {finding.reproduce}")
            case StageFinished(report=report):
                self._finished(report)
            case GateEvaluated() | RunFinished():
                return

    def _progress(self, event: StageProgress) -> None:
        if event.part and event.part_done == event.part_total:
            state = "" if event.part_ok else ", see above"
            self.told(f"[{event.stage.value}] {event.part}: {event.part_done} executions{state}")
        elif self._clock.elapsed_s() - self._spoke_at >= _PLAIN_PROGRESS_EVERY_S:
            self.told(f"[{event.stage.value}] {event.done} of {event.total}")

    def _finished(self, report: StageReport) -> None:
        if report.verdict is None:
            return
        seconds = sum(attempt.wall_s for attempt in report.attempts)
        said = metrics_line(report) or "not measured"
        self.told(f"[{report.name.value}] {report.verdict.value} in {seconds:.1f} s: {said}")


@dataclass(slots=True)
class _Row:
    """What the table knows of a stage."""

    asked: bool
    started_at: float | None = None
    attempt: int = 1
    done: int = 0
    total: int = 0
    report: StageReport | None = None
    parts: dict[str, tuple[int, int, bool]] = field(default_factory=dict)


class LiveTable:
    """A table that is drawn over itself; findings scroll by above it."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._title = ""
        self._rows: dict[StageName, _Row] = {}
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=8, transient=True
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._live:
            yield

    def told(self, line: str) -> None:
        self._console.print(escape(line), style="dim")

    def hear(self, event: Event) -> None:
        match event:
            case RunStarted(run=run, stages=stages):
                seeds = f"seeds {run.seeds.sim}/{run.seeds.chaos}"
                self._title = f"{run.suite} · profile {run.profile} · {seeds} · run {run.run_id}"
                self._rows = {name: _Row(asked) for name, asked in stages}
            case StageStarted(stage=stage, attempt=attempt):
                row = self._rows[stage]
                row.started_at, row.attempt = self._clock.elapsed_s(), attempt
            case StageProgress():
                row = self._rows[event.stage]
                row.done, row.total = event.done, event.total
                if event.part:
                    ok = event.part_ok and row.parts.get(event.part, (0, 0, True))[2]
                    row.parts[event.part] = (event.part_done, event.part_total, ok)
            case StageLog(text=text):
                self.told(text)
            case StageFound(finding=finding):
                self._console.print(Text(f"✗ {finding.where}  {finding.message}", "red"))
                if finding.reproduce:
                    self._console.print(Text(f"  {finding.reproduce}", "dim"))
            case StageFinished(report=report):
                self._rows[report.name].report = report
            case GateEvaluated() | RunFinished():
                return

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for name, row in self._rows.items():
            self._add(table, name, row)
        return Group(Text(self._title, "bold"), table)

    def _add(self, table: Table, name: StageName, row: _Row) -> None:
        if row.report is not None and row.report.verdict is not None:
            style = STYLES[row.report.verdict]
            sign = Text(SIGNS[row.report.verdict], style)
            table.add_row(sign, name.value, Text(metrics_line(row.report) or "not measured"))
        elif not row.asked:
            state = row.report.state if row.report is not None else StageState.NOT_IN_SUITE
            table.add_row(Text("·", "dim"), Text(name.value, "dim"), Text(state.value, "dim"))
        elif row.started_at is None:
            table.add_row(" ", name.value, Text("waiting", "dim"))
        else:
            table.add_row(self._spinner, name.value, self._running(row, row.started_at))
            for part, (done, total, ok) in list(row.parts.items())[-KERNELS_SHOWN_MAX:]:
                sign = Text("✗", "red") if not ok else Text("✓" if done == total else "·", "dim")
                table.add_row("", Text(f"  {part}", "dim"), Text.assemble(sign, f" {done}/{total}"))

    def _running(self, row: _Row, started_at: float) -> Table:
        line = Table.grid(padding=(0, 1))
        seconds = self._clock.elapsed_s() - started_at
        again = f" (attempt {row.attempt})" if row.attempt > 1 else ""
        counted = f"{row.done}/{row.total}" if row.total else ""
        bar = ProgressBar(total=max(1, row.total), completed=row.done, width=24)
        line.add_row(bar, counted, Text(f"{seconds:.0f} s{again}", "dim"))
        return line
