"""The commands and their options. What they do belongs to `wiring` and below."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from testops import wiring
from testops.cli import (
    certificates,
    flaky,
    report_import,
    serving_commands,
    snapshot_commands,
    starter,
    versions,
)
from testops.cli import gates as gate_commands
from testops.cli import keys as access_commands
from testops.cli import report as report_commands
from testops.cli.display import display_for
from testops.cli.summary import print_summary
from testops.domain.errors import BadInput
from testops.domain.run import Run
from testops.domain.stage import StageName
from testops.domain.verdict import ExitCode
from testops.runner.files import write_atomically
from testops.runner.projects import project_around
from testops.runner.seeding import SeedFlags
from testops.runner.service import Request
from testops.runner.suites import known_names, load_suite, suite_schema

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ryuzen-testops", prog_name="testops")
def testops() -> None:
    """Qualify a release: one command runs it, one seed reproduces any failure.

    Exit codes: 0 holds, 1 failed, 2 bad input, 3 nondeterminism, 4 inconclusive, 70 internal
    error, 130 interrupted.
    """


def _run_options(command: Command) -> Command:
    options = (
        click.option("--profile", metavar="NAME", help="Data and network profile."),
        click.option(
            "--policy", metavar="NAME", help="What judges it: of policies/, or server:NAME."
        ),
        click.option("--seed", metavar="N", help="SIM_SEED of this run, or `random`."),
        click.option("--chaos-seed", metavar="N", help="CHAOS_SEED of this run, or `random`."),
        click.option("--seeds", metavar="A:B", help="Simulate the seeds A to B-1."),
        click.option("--jobs", type=click.IntRange(1, 1024), help="Processes; default: one a CPU."),
        click.option("--strict", is_flag=True, help="A warning is a failure."),
        click.option(
            "--report-path",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write the result as JSON to this file as well.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@testops.command()
@click.argument("suite", required=False)
@_run_options
@click.option("--workspace", metavar="NAME", default="default", help="On a server: whose suite.")
@click.option("--upload", is_flag=True, help="On a server: send it this project first.")
def run(suite: str | None, workspace: str, upload: bool, **options: Any) -> ExitCode:
    """Run SUITE, a name in suites/ or a file; without it the default or only suite.

    With TESTOPS_URL a server runs it (TESTOPS_API_KEY is the key), and it is watched here; SUITE
    must then be named.
    """
    url = os.environ.get("TESTOPS_URL")
    if url:
        return _run_there(url, suite, workspace, upload=upload, **options)
    if upload or workspace != "default":
        raise BadInput(
            "--workspace and --upload are for a server", fix="say which: TESTOPS_URL=http://..."
        )
    return _run_suite(suite, only=None, door=None, **options)


def _run_there(
    url: str,
    suite: str | None,
    workspace: str,
    *,
    upload: bool,
    profile: str | None,
    policy: str | None,
    seed: str | None,
    chaos_seed: str | None,
    seeds: str | None,
    as_json: bool,
    **here: Any,
) -> ExitCode:
    from testops.cli import remote

    unfit = [f"--{name.replace('_', '-')}" for name, given in here.items() if given]
    if unfit:
        raise BadInput(f"{', '.join(unfit)} cannot be used with TESTOPS_URL", fix="leave it out")
    asked = remote.Asked(
        url=url,
        key=os.environ.get("TESTOPS_API_KEY") or None,
        suite=suite,
        profile=profile,
        policy=policy,
        seeds=SeedFlags(sim=seed, chaos=chaos_seed, sim_range=seeds),
        environment=dict(os.environ),
        workspace=workspace,
        upload=upload,
        as_json=as_json,
    )
    return remote.run(asked, draw_seed=wiring.draw_seed)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--suite", required=True, metavar="NAME|FILE", help="A name in suites/, or a file.")
@_run_options
def run_suite(suite: str, **options: Any) -> ExitCode:
    """Simulate a suite: every kernel under every seed, each execution verified in another process.

    Leaves snapshots/run-<id>.tar.gz, its content in snapshots/dev/, and reports/determinism.json.
    """
    door = "python sim/run_suite.py --suite"
    return _run_suite(suite, only=frozenset({StageName.SIM}), door=door, **options)


def _run_suite(
    suite: str | None,
    *,
    only: frozenset[StageName] | None,
    door: str | None,
    profile: str | None,
    policy: str | None,
    seed: str | None,
    chaos_seed: str | None,
    seeds: str | None,
    jobs: int | None,
    strict: bool,
    report_path: Path | None,
    as_json: bool,
) -> ExitCode:
    request = Request(
        suite=suite,
        working_folder=Path.cwd(),
        environment=dict(os.environ),
        profile=profile,
        policy=policy,
        seeds=SeedFlags(sim=seed, chaos=chaos_seed, sim_range=seeds),
        jobs=jobs or wiring.cpu_count(),
        strict=strict,
        only=only,
    )
    with display_for(quiet=as_json) as display:
        done = wiring.answer(request, listener=display.hear, told=display.told, door=door)
    _show(done, report_path=report_path, as_json=as_json)
    assert done.exit_code is not None
    return done.exit_code


def _show(done: Run, *, report_path: Path | None, as_json: bool) -> None:
    body = json.dumps(done.to_json(), ensure_ascii=False, indent=2)
    if report_path is not None:
        write_atomically(report_path, body.encode() + b"\n")
    if as_json:
        click.echo(body)
    else:
        print_summary(done, report=_page_of(done))


def _page_of(done: Run) -> str:
    """Where the report page of this run is; empty where it could not be written."""
    from testops.reports.run_page import NAME

    path = project_around(Path.cwd()).reports / NAME
    try:
        is_own = f"Run {done.run_id}, attempt {done.attempt}." in path.read_text("utf-8")
    except (OSError, ValueError):
        return ""
    return f"reports/{NAME}" if is_own else ""


@testops.group(invoke_without_command=True)
@click.pass_context
def suites(context: click.Context) -> None:
    """List the suites of this project."""
    if context.invoked_subcommand is not None:
        return
    project = project_around(Path.cwd())
    names = known_names(project.suites)
    if not names:
        raise BadInput(f"there is no suite in {project.suites}", fix="write one: testops init")
    for name in names:
        found = load_suite(name, working_folder=project.root).suite
        stages = ", ".join(found.stages.named())
        click.echo(f"{name}\t{stages}\t{' '.join(found.description.split())}".expandtabs(24))


@suites.command()
def schema() -> None:
    """Print the JSON Schema of a suite file, for your editor."""
    click.echo(json.dumps(suite_schema(), indent=2))


@suites.command()
@click.argument("suite")
def check(suite: str) -> None:
    """Check SUITE, its kernels included, without running it."""
    found = wiring.check_suite(suite, working_folder=Path.cwd())
    click.echo(f"suite {found.name} is valid: {', '.join(found.stages.named())}")


@testops.command()
def init() -> None:
    """Write a starter suite and a first kernel for the project in this folder."""
    starter.write_starter(Path.cwd(), echo=click.echo)


def _data_option(command: Command) -> Command:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The data directory; default: TESTOPS_DATA, or .testops/ of the project.",
    )(command)


@testops.command()
@_data_option
def doctor(data: Path | None) -> ExitCode:
    """Check that this machine can run everything, and say what to install where it cannot."""
    from testops.cli import doctor as page

    return page.check(Path.cwd(), os.environ, data=data, echo=click.echo)


@testops.command()
@_data_option
@click.option("--check", is_flag=True, help="Change nothing; exit 1 when it is not current.")
@click.option("--down", metavar="REV", help="Take it back to a revision, or to `base`: nothing.")
@click.option("--yes", is_flag=True, help="Yes, --down may delete what has no place there.")
def migrate(data: Path | None, check: bool, down: str | None, yes: bool) -> ExitCode:
    """Bring the database to the shape that this version wants."""
    from testops.cli import migrate as page
    from testops.cli.places import opened, places

    at = places(Path.cwd(), os.environ, data=data)
    if check and at.has_no_file:
        click.echo(f"{at.database_url}: empty (there is no file)")
        return ExitCode.FAILED
    with opened(at) as database:
        if check:
            return page.check(database, echo=click.echo)
        if down is not None:
            return page.down(database, down, sure=yes, echo=click.echo)
        return page.up(database, echo=click.echo)


@testops.group()
def workspaces() -> None:
    """The project directories whose suites the server runs."""


@workspaces.command(name="add")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", help="What runs call it; default: the folder's name.")
@click.option("--archive", is_flag=True, help="Its content as it is now, for every runner.")
@click.option("--allow-commands", is_flag=True, help="Its suites may run commands: lint, unit.")
@_data_option
def add_workspace(
    folder: Path, name: str | None, archive: bool, allow_commands: bool, data: Path | None
) -> ExitCode:
    """Let the server run the suites of FOLDER, as it is at each run or packed as it is now."""
    from testops.cli import workspaces as page

    wanted = page.Wanted(folder, name, archive=archive, allow_commands=allow_commands)
    return page.add(wanted, data, echo=click.echo)


@workspaces.command(name="list")
@_data_option
def list_workspaces(data: Path | None) -> ExitCode:
    """List the workspaces."""
    from testops.cli import workspaces as page

    return page.show(data, echo=click.echo)


@workspaces.command(name="remove")
@click.argument("name")
@_data_option
def remove_workspace(name: str, data: Path | None) -> ExitCode:
    """Forget the workspace NAME; its runs and their results stay."""
    from testops.cli import workspaces as page

    return page.remove(name, data, echo=click.echo)


@workspaces.command(name="approvals")
@click.argument("name")
@click.argument("count", metavar="N", type=click.IntRange(1, 20))
@_data_option
def require_approvals(name: str, count: int, data: Path | None) -> ExitCode:
    """Say how many different people must approve a baseline of the workspace."""
    from testops.cli import workspaces as page

    return page.approvals(name, count, data, echo=click.echo)


@workspaces.command(name="allow-commands")
@click.argument("name")
@click.option("--no", "refused", is_flag=True, help="Allow them no longer.")
@_data_option
def allow_commands(name: str, refused: bool, data: Path | None) -> ExitCode:
    """Let the suites of the workspace NAME run commands: lint, unit, an interpreter of theirs."""
    from testops.cli import workspaces as page

    return page.allow(name, data, allowed=not refused, echo=click.echo)


@testops.command()
@_data_option
@click.option("--older-than", "days", type=click.FloatRange(0), metavar="DAYS", help="Runs go.")
@click.option("--keep", "count", type=click.IntRange(0), help="So many of each workspace stay.")
@click.option("--max-size", "megabytes", type=click.FloatRange(0), metavar="MB", help="So much.")
@click.option(
    "--events-older-than",
    "event_days",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Of older runs only the result and the last event stay.",
)
@click.option("--workspace", metavar="NAME", help="Only its runs.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
def retention(
    data: Path | None, workspace: str | None, dry_run: bool, as_json: bool, **limits: Any
) -> ExitCode:
    """Remove old runs and what was only theirs, and give the disk back.

    Limits that are not given come from TESTOPS_KEEP_DAYS, _COUNT, _MB and _EVENT_DAYS; without any,
    only garbage goes. Runs that are pinned or not ended always stay.
    """
    from testops.cli import retention as page
    from testops.cli.places import opened, places
    from testops.storage.blobs import artifact_shelf

    policy = page.policy_of(limits, os.environ)
    at = places(Path.cwd(), os.environ, data=data)
    with opened(at) as database:
        asked = page.Asked(policy, workspace, dry_run=dry_run, as_json=as_json)
        return page.answer(
            database, at.data, asked, shelf=artifact_shelf(os.environ), echo=click.echo
        )


testops.add_command(snapshot_commands.snapshot)
testops.add_command(gate_commands.gates)
testops.add_command(gate_commands.waivers)
testops.add_command(certificates.certificate)
testops.add_command(certificates.verify_certificate)
testops.add_command(versions.versions)
report_commands.report.add_command(report_import.import_)
report_commands.report.add_command(report_import.export)
report_commands.report.add_command(flaky.flaky)
testops.add_command(report_commands.report)
testops.add_command(access_commands.keys)
testops.add_command(access_commands.audit)
testops.add_command(access_commands.login_link)


@testops.command()
@click.argument("run_id", metavar="RUN")
@click.option("--url", help="The server; default: TESTOPS_URL, or this machine at port 8080.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
def watch(run_id: str, url: str | None, as_json: bool) -> ExitCode:
    """Watch RUN on a server until it is over; the exit code is the run's.

    TESTOPS_API_KEY is the key that is sent.
    """
    from testops.cli import watch as page

    asked = page.Asked(
        run_id=run_id,
        url=url or os.environ.get("TESTOPS_URL") or page.DEFAULT_URL,
        key=os.environ.get("TESTOPS_API_KEY") or None,
        as_json=as_json,
    )
    return page.watch(asked, draw=lambda: wiring.draw_seed() / 2**64)


for role in (
    serving_commands.serve,
    serving_commands.api,
    serving_commands.gateway,
    serving_commands.runner,
):
    testops.add_command(role)
