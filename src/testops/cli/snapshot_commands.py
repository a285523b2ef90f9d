"""`testops snapshot`: bundles and baselines, and the door of `tools/snapshot_compare.py`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from testops.domain.verdict import ExitCode
from testops.runner.projects import project_around
from testops.wiring import snapshots

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def snapshot() -> None:
    """Compare bundles, and approve one as the baseline."""


_compare_options = (
    click.option("--base", required=True, type=click.Path(path_type=Path), help="The baseline."),
    click.option("--target", required=True, type=click.Path(path_type=Path), help="The new one."),
    click.option("--masks", type=click.Path(path_type=Path), help="Fields that may differ."),
    click.option("--strict", is_flag=True, help="A warning is a failure."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text."),
)


def _with_compare_options(command: Command) -> Command:
    for option in reversed(_compare_options):
        command = option(command)
    return command


@snapshot.command(name="compare")
@_with_compare_options
def compare(**options: Any) -> ExitCode:
    """Compare two bundles, unpacked bundles, or folders of either."""
    return _compare(**options)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_with_compare_options
def snapshot_compare(**options: Any) -> ExitCode:
    """Compare two bundles, unpacked bundles, or folders of either.

    Writes reports/snapshot_diff.txt, .json and .html.
    """
    return _compare(**options)


def _compare(
    *, base: Path, target: Path, masks: Path | None, strict: bool, as_json: bool
) -> ExitCode:
    folder = project_around(Path.cwd()).reports
    result = snapshots.compare(base, target, masks=masks, folder=folder, strict=strict)
    body = json.dumps(result.to_json(), ensure_ascii=False, indent=2)
    click.echo(body if as_json else result.text())
    return result.exit_code


@snapshot.command()
@click.argument("source", metavar="RUN|BUNDLE")
@click.option("--why", required=True, metavar="REASON", help="Why this behaviour is right.")
@click.option("--who", metavar="NAME", help="Who approves; default: git's user, or yours.")
@click.option("--allow-failing", is_flag=True, help="Approve executions that did not pass.")
def approve(source: str, why: str, who: str | None, allow_failing: bool) -> None:
    """Make a bundle the baseline of its suite, profile, engine and Python; it is recorded who."""
    approved = snapshots.approve(
        source, who=who, why=why, allow_failing=allow_failing, working_folder=Path.cwd()
    )
    click.echo(f"approved {approved.source} as the baseline {approved.baseline}")
    click.echo(f"recorded: {approved.who}, {approved.why}")
    click.echo("commit both files, so that everyone compares with the same")
