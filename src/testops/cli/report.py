"""`testops report`: what a run left, as a page, as text, as JSON; and runs beside each other."""

import json
from pathlib import Path

import click

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.runner.projects import project_around
from testops.runner.records import RunStore


@click.group()
def report() -> None:
    """What runs left: one of them as a page, many of them as trends, and files of other tools."""


@report.command(name="run")
@click.argument("run_id", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def run(run_id: str, as_json: bool) -> ExitCode:
    """Report RUN, by its id."""
    record = RunStore(project_around(Path.cwd())).latest(run_id)
    if record is None:
        raise BadInput(f"there is no run {run_id!r}", where="RUN", fix="ls snapshots/runs")
    click.echo(json.dumps(record, ensure_ascii=False, indent=2) if as_json else record["reason"])
    return ExitCode.HOLDS
