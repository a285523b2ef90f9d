"""`testops report flaky`: which tests cannot be trusted, and why."""

import json
from pathlib import Path

import click

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.reports.flaky import FlakyReport, Suspect, flaky_report
from testops.runner.projects import project_around
from testops.runner.test_history import runs_with_tests

SHOWN_MAX = 50


@click.command()
@click.option("--suite", metavar="NAME", help="Only runs of this suite.")
@click.option(
    "--last", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def flaky(suite: str | None, last: int, *, as_json: bool) -> ExitCode:
    """Tell flaky tests from those that depend on order, on the surroundings, or on new code.

    Runs of one build are compared. A test that ended both ways under the same seed is flaky; one
    that each seed decides is order-dependent; outages are not counted against tests.
    """
    project = project_around(Path.cwd())
    runs = runs_with_tests(project, suite=suite, last=last)
    if not runs:
        raise BadInput(
            f"no run of {suite or 'this project'} has tests",
            where=project.shown(project.snapshots / "runs"),
            fix="run a suite with a unit stage: testops run",
        )
    report = flaky_report(runs)
    click.echo(
        json.dumps(report.to_json(), ensure_ascii=False, indent=2) if as_json else _page(report)
    )
    return ExitCode.HOLDS


def _page(report: FlakyReport) -> str:
    counts = ((report.runs, "run"), (report.tests, "test"), (len(report.suspects), "suspect"))
    lines = [", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)]
    for suspect in report.suspects[:SHOWN_MAX]:
        lines += ["", *_lines(suspect)]
    if len(report.suspects) > SHOWN_MAX:
        lines.append(f"and {len(report.suspects) - SHOWN_MAX} more: --json has all")
    if report.outages:
        lines += ["", "outages, not counted against any test:"]
        lines += [f"  {outage.run}  {outage.reason}" for outage in report.outages]
    return "\n".join(lines)


def _lines(suspect: Suspect) -> list[str]:
    counts = f"{suspect.failed} failed, {suspect.passed} passed"
    if suspect.excused:
        counts += f", {suspect.excused} excused"
    lines = [f"{suspect.kind.value}  {suspect.test}  ({counts})", f"  {suspect.reason}"]
    if suspect.polluters:
        lines.append(f"  fails after {' or '.join(suspect.polluters)}")
    if suspect.next_step:
        lines.append(f"  again: {suspect.next_step}")
    return lines
