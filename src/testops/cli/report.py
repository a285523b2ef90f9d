"""`testops report`: one run as a page, as Markdown or as JSON, and many runs as trends."""

import json
from pathlib import Path

import click

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.runner.files import write_atomically
from testops.runner.projects import project_around


@click.group()
def report() -> None:
    """What runs left: one of them as a page, many of them as trends."""


@report.command(name="run")
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--attempt", type=click.IntRange(min=1), help="Which attempt; default: the newest.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write there; default: reports/run.html, or reports/run-ID.html of a run you name.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
@click.option("--markdown", is_flag=True, help="Print Markdown, short enough for a comment.")
def run(
    run_id: str | None, attempt: int | None, out: Path | None, as_json: bool, markdown: bool
) -> ExitCode:
    """Report RUN, an id or its beginning; without it the run that was begun last.

    The page is one file that needs no other, not even a network. Each `testops run` writes its own
    to reports/run.html.
    """
    from testops.wiring.reporting import recorded_run

    if as_json and markdown:
        raise BadInput("two formats", where="--json, --markdown", fix="ask for one of them")
    project = project_around(Path.cwd())
    found = recorded_run(project, run_id, attempt, out=out)
    if as_json or markdown:
        text = found.json() if as_json else found.markdown()
        if out is None:
            click.echo(text, nl=False)
            return ExitCode.HOLDS
    else:
        text = found.html()
        # The page of the newest run stays what it says, unless that one is asked for.
        name = "run.html" if run_id is None else f"run-{found.run['run_id']}.html"
        out = out or project.reports / name
    write_atomically(out, text.encode("utf-8", "backslashreplace"))
    click.echo(f"wrote {out}", err=as_json)
    return ExitCode.HOLDS


@report.command()
@click.argument("suite", metavar="[SUITE]", required=False)
@click.option("--metric", "metrics", multiple=True, metavar="STAGE.METRIC", help="Only these.")
@click.option("--profile", metavar="NAME", help="Only runs with that profile.")
@click.option(
    "--runs",
    "count",
    type=click.IntRange(1, 500),
    default=100,
    show_default=True,
    help="So many runs, the newest.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write there; default: reports/trends.html.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print one line for each value.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def trends(
    suite: str | None,
    metrics: tuple[str, ...],
    profile: str | None,
    count: int,
    out: Path | None,
    as_csv: bool,
    as_json: bool,
) -> ExitCode:
    """Show how what SUITE measures moved over its runs, and between which commits.

    Each metric with what is usual for runs that passed, what a gate wants, and where it changed to
    another level.
    """
    from testops.wiring.reporting import TrendsAsked, recorded_trends, trends_html

    if as_csv and as_json:
        raise BadInput("two formats", where="--csv, --json", fix="ask for one of them")
    project = project_around(Path.cwd())
    found = recorded_trends(project, TrendsAsked(suite, profile, metrics, count))
    if as_csv or as_json:
        spelled = json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n"
        text = found.to_csv() if as_csv else spelled
        if out is None:
            click.echo(text, nl=False)
            return ExitCode.HOLDS
    else:
        out = out or project.reports / "trends.html"
        text = trends_html(found, project, out)
    write_atomically(out, text.encode("utf-8", "backslashreplace"))
    changes = [(one, change) for one in found.series for change in one.changes]
    click.echo(f"wrote {out}: {len(found.runs)} runs, {len(changes)} changes", err=as_json)
    return ExitCode.HOLDS


_FILES = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write there; default: reports/.",
)


@report.command()
@_FILES
@click.option("--suite", metavar="NAME", help="Compare with the load of its passed runs.")
@_FOLDER
def performance(files: tuple[Path, ...], suite: str | None, folder: Path | None) -> ExitCode:
    """Show what load tests measured: FILEs of k6, Hyperfoil or hyperfine as performance.html.

    Percentiles are shown as each file tells them and never averaged.
    """
    from testops.wiring.reporting import report_performance

    project = project_around(Path.cwd())
    for path in report_performance(files, project, folder or project.reports, suite=suite):
        click.echo(f"wrote {path}")
    return ExitCode.HOLDS


@report.command()
@_FILES
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def hardening(files: tuple[Path, ...], folder: Path | None, as_json: bool) -> ExitCode:
    """Show how phases 4 to 9 stand by FILEs of recorded results: hardening.json and .html.

    A check without a result is not measured, and results older than a week are stale.
    """
    from testops.reports.hardening import hardening_json
    from testops.wiring.reporting import report_hardening

    target = folder or project_around(Path.cwd()).reports
    phases, written = report_hardening(files, target)
    if as_json:
        click.echo(json.dumps(hardening_json(phases), ensure_ascii=False, indent=2))
        return ExitCode.HOLDS
    for phase in phases:
        verdict = "not measured" if phase.verdict is None else phase.verdict.value
        measured = f"{len(phase.expected) - len(phase.missing)} of {len(phase.expected)} checks"
        click.echo(f"{phase.number} {phase.name:<18} {verdict:<13} {measured}")
    for path in written:
        click.echo(f"wrote {path}")
    return ExitCode.HOLDS
