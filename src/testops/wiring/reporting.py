"""The reports of runs on this machine: the page of each run as it ends, and what is asked later."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops import wiring
from testops.domain.errors import BadInput, OutputNotWritable
from testops.domain.history import PastRun
from testops.domain.run import Run
from testops.reports.files import write_reports
from testops.reports.formats.reading import read_source
from testops.reports.hardening import Check, Phase, checks_in, phases_of
from testops.reports.hardening_page import write_hardening
from testops.reports.imports import load_test_in
from testops.reports.performance_page import NAME as PERFORMANCE_NAME
from testops.reports.performance_page import (
    measured_in,
    render_performance,
    usual_performance,
    write_performance,
)
from testops.reports.run_beside import beside_run
from testops.reports.run_model import Beside
from testops.reports.run_page import render_run, write_run
from testops.reports.run_text import run_json, run_markdown
from testops.reports.trends import RUNS_DEFAULT, Trends, limits_of, trends_of
from testops.reports.trends_page import render_trends
from testops.runner.history import FileHistory
from testops.runner.planning import Planned
from testops.runner.projects import Project
from testops.runner.record_lookup import find_recorded
from testops.runner.records import RunStore
from testops.runner.suites import load_suite
from testops.telemetry.clock import SystemClock
from testops.telemetry.events import Event, Listener, RunFinished, RunStarted, Tell


def page_keeper(told: Tell) -> Callable[[Planned], Listener]:
    """Who writes `reports/run.html` of a run; that it cannot be written is a line and no more."""

    def keeper(planned: Planned) -> Listener:
        project = planned.found.project
        was_told = False

        def hear(event: Event) -> None:
            nonlocal was_told
            # At the start as well: what a killed run leaves must not be the page of another one.
            if isinstance(event, RunStarted | RunFinished):
                try:
                    write_pages(event.run, project)
                except OutputNotWritable as error:
                    if not was_told:
                        told(f"warning: this run has no report page: {error}")
                    was_told = True

        return hear

    return keeper


def write_pages(run: Run, project: Project) -> None:
    """Write the pages of `run`, as it is now, into the reports of its project."""
    shown = run.to_full_json()
    record = f"snapshots/runs/{run.run_id}/attempt-{run.attempt}.json"
    beside = beside_run(
        shown,
        project.output or project.root,
        record=record,
        versions=wiring.installed_versions(),
        link=True,
    )
    write_run(shown, beside, project.reports)
    if beside.performance is not None:
        _write_performance(shown, beside.performance, project)


def _write_performance(run: Mapping[str, Any], body: Mapping[str, Any], project: Project) -> None:
    """The page of what the load stage of `run` measured, against the last passed runs."""
    measured = measured_in(body)
    suite, profile = str(run.get("suite")), str(run.get("profile"))
    usual = usual_performance(FileHistory(RunStore(project)), suite=suite, profile=profile)
    of = f"suite {suite}, run {run.get('run_id')}"
    page = render_performance(measured, usual=usual, gates=run.get("gates") or (), of=of)
    write_reports(project.reports, {PERFORMANCE_NAME: page})


@dataclass(frozen=True, slots=True)
class RunReports:
    """What can be said of one recorded run."""

    run: Mapping[str, Any]
    beside: Beside
    folder: Path

    def html(self) -> str:
        return render_run(self.run, self.beside)

    def markdown(self) -> str:
        return run_markdown(self.run, self.beside)

    def json(self) -> str:
        return json.dumps(run_json(self.run, self.beside), ensure_ascii=False, indent=2) + "\n"


def recorded_run(
    project: Project, asked: str | None, attempt: int | None, *, out: Path | None
) -> RunReports:
    """The reports of a run that a person names; `BadInput` when there is none of that name.

    The page will be at `out`, or among the reports: only there its artifacts are beside it.
    """
    found = find_recorded(project, asked, attempt)
    # The versions of now are not those of then: a record has its engine's and no other.
    beside = beside_run(
        found.run,
        project.output or project.root,
        record=project.shown(found.path),
        link=out is None or out.absolute().parent == project.reports,
    )
    return RunReports(found.run, beside, project.reports)


@dataclass(frozen=True, slots=True)
class TrendsAsked:
    """Which runs and metrics somebody wants to see; None and empty: the usual ones."""

    suite: str | None
    profile: str | None = None
    metrics: tuple[str, ...] = ()
    count: int = RUNS_DEFAULT


def recorded_trends(project: Project, asked: TrendsAsked) -> Trends:
    """The trends of a suite by the records of this project; `BadInput` when there are none."""
    suite = asked.suite or load_suite(None, working_folder=project.root).suite.name
    store = RunStore(project)
    trends = trends_of(
        FileHistory(store),
        suite=suite,
        profile=asked.profile,
        metrics=asked.metrics,
        limits=limits_of(_newest_gates(store, suite)),
        count=asked.count,
    )
    if not trends.runs:
        known = sorted({str(record.get("suite")) for record in store.newest_first()})
        if asked.profile is not None and suite in known:
            raise BadInput(
                f"no run of suite {suite!r} has ended here under it",
                where="--profile",
                fix="leave it out, or name the profile of a run",
            )
        raise BadInput(
            f"no run of suite {suite!r} has ended here",
            where="SUITE",
            fix=f"name one of {', '.join(known)}" if known else f"run it: testops run {suite}",
        )
    return trends


def _newest_gates(store: RunStore, suite: str) -> Any:
    for record in store.newest_first():
        if record.get("suite") == suite and record.get("state") == "finished":
            return record.get("gates") or ()
    return ()


def trends_html(trends: Trends, project: Project, out: Path) -> str:
    """The page that will be written to `out`; each point leads to the record of its run."""

    def href(run: PastRun) -> str:
        record = project.snapshots / "runs" / run.run_id / f"attempt-{run.attempt}.json"
        if not record.is_file():
            return ""
        return Path(os.path.relpath(record, out.absolute().parent)).as_posix()

    return render_trends(trends, href)


def report_performance(
    files: Sequence[Path], project: Project, folder: Path, *, suite: str | None
) -> list[Path]:
    """The page of load tests that other tools recorded; `BadInput` where a file has none.

    With a `suite` it is compared with what the load stages of its passed runs usually measure.
    """
    sources = [read_source(path, shown=str(path)) for path in files]
    measured = [load_test_in(source, root=project.root) for source in sources]
    usual = {}
    if suite is not None:
        usual = usual_performance(FileHistory(RunStore(project)), suite=suite, profile=None)
    names = ", ".join(path.name for path in files[:3]) + (", …" if len(files) > 3 else "")
    page = render_performance(measured, usual=usual, of=names)
    return write_performance(folder, page, measured)


def report_hardening(files: Sequence[Path], folder: Path) -> tuple[Sequence[Phase], list[Path]]:
    """The phases by recorded results, as of now; `BadInput` names file and field."""
    checks: list[Check] = []
    for path in files:
        checks += checks_in(read_source(path, shown=str(path)))
    phases = phases_of(checks, at=SystemClock().now())
    return phases, write_hardening(phases, folder)
