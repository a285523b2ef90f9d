"""`testops snapshot`: bundles and baselines, and the door of `tools/snapshot_compare.py`."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from testops.cli import snapshot_store
from testops.cli.snapshot_migrate import migrate
from testops.cli.snapshot_pull import pull
from testops.cli.snapshot_review import REVIEW_VERBS
from testops.domain.seeds import SEED_COUNT
from testops.domain.verdict import ExitCode
from testops.snapshots import Chosen
from testops.wiring import snapshots

SEED = click.IntRange(min=0, max=SEED_COUNT - 1)

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def snapshot() -> None:
    """Compare, replay and review bundles, and approve one as the baseline."""


_compare_options = (
    click.option("--base", required=True, type=click.Path(path_type=Path), help="The baseline."),
    click.option("--target", required=True, type=click.Path(path_type=Path), help="The new one."),
    click.option("--masks", type=click.Path(path_type=Path), help="Fields that may differ."),
    click.option(
        "--reexecute/--no-reexecute",
        default=True,
        show_default=True,
        help="Execute what differs again, to tell a regression from nondeterminism (exit 3).",
    ),
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


def _compare(*, base: Path, target: Path, as_json: bool, **options: Any) -> ExitCode:
    result = snapshots.compare(base, target, working_folder=Path.cwd(), **options)
    body = json.dumps(result.to_json(), ensure_ascii=False, indent=2)
    click.echo(body if as_json else result.text())
    return result.exit_code


def _finite(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Refuse nan, which is in every range of click, and infinity."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


@snapshot.command()
@click.argument("source", metavar="BUNDLE|RUN")
@click.option("--kernel", metavar="NAME", help="Only this kernel.")
@click.option("--seed", type=SEED, help="Only this seed.")
@click.option("--chaos-seed", type=SEED, help="Only this chaos seed.")
@click.option("--masks", type=click.Path(path_type=Path), help="Fields that may differ.")
@click.option("--any-engine", is_flag=True, help="Also of another engine minor: outputs only.")
@click.option(
    "--wall-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    callback=_finite,
    help="Real time for all of it; what is left then is inconclusive.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def replay(
    source: str,
    kernel: str | None,
    seed: int | None,
    chaos_seed: int | None,
    masks: Path | None,
    any_engine: bool,
    wall_limit: float,
    as_json: bool,
) -> ExitCode:
    """Execute a bundle again; each execution must reach what was recorded.

    Exit 3: two executions of now differ. Exit 1: they agree, and not with the record: the code has
    changed since. Exit 4: not all were executed.
    """
    done = snapshots.replay(
        source,
        Chosen(kernel, seed, chaos_seed),
        masks=masks,
        any_engine=any_engine,
        wall_limit_s=wall_limit,
        working_folder=Path.cwd(),
        told=_tell_progress,
    )
    click.echo(json.dumps(done.to_json(), ensure_ascii=False, indent=2) if as_json else done.text())
    return done.exit_code


def _tell_progress(done: int, total: int) -> None:
    if done < total:
        click.echo(f"replayed {done} of {total} executions", err=True)


for _verb in (*snapshot_store.COMMANDS, *REVIEW_VERBS, migrate, pull):
    snapshot.add_command(_verb)
