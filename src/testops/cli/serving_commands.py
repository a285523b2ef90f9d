"""`testops serve`, `api`, `gateway` and `runner`: their options. What they do is in `serving`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from testops.domain.errors import BadInput
from testops.telemetry.clock import SystemClock

Command = TypeVar("Command", bound=Callable[..., Any])

HOST, PORT = "127.0.0.1", 8080


def _with(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data directory; default: TESTOPS_DATA, or .testops/ of the project.",
)
_address = (
    click.option("--host", help=f"Address to listen on; default: TESTOPS_HOST, or {HOST}."),
    click.option(
        "--port", type=click.IntRange(0, 65535), help=f"Default: TESTOPS_PORT, or {PORT}."
    ),
)
_capacity = (
    click.option("--cores", type=click.IntRange(1, 4096), help="Default: all that we may use."),
    click.option(
        "--runs-at-once",
        type=click.IntRange(1, 1000),
        help="Runs that are open here at a time; their stages share the cores.",
    ),
)


@click.command()
@_with(_data, *_address, *_capacity)
def serve(
    data: Path | None,
    host: str | None,
    port: int | None,
    cores: int | None,
    runs_at_once: int | None,
) -> None:
    """Everything in one: API, event streams and a runner. Prints a link that logs you in."""
    _server(data, host, port, cores=cores, runs_at_once=runs_at_once, with_runner=True)


@click.command()
@_with(_data, *_address)
def api(data: Path | None, host: str | None, port: int | None) -> None:
    """The API and its event streams, without a runner; any number of them on PostgreSQL."""
    _server(data, host, port)


@click.command()
@_with(_data, *_address)
def gateway(data: Path | None, host: str | None, port: int | None) -> None:
    """The event streams alone, for many viewers; any number of them on PostgreSQL."""
    _server(data, host, port, with_api=False)


@click.command()
@_with(_data, *_capacity)
def runner(data: Path | None, cores: int | None, runs_at_once: int | None) -> None:
    """Execute what is queued; any number of runners on PostgreSQL, on any number of machines."""
    from testops.cli.serving import serve_runner
    from testops.telemetry.logs import configure
    from testops.wiring.roles import settings_for

    configure(environment=os.environ, clock=SystemClock())
    settings = settings_for(
        Path.cwd(), os.environ, data=data, cores=cores, runs_at_once=runs_at_once
    )
    serve_runner(settings, os.environ, echo=_echo)


def _server(
    data: Path | None,
    host: str | None,
    port: int | None,
    *,
    cores: int | None = None,
    runs_at_once: int | None = None,
    with_api: bool = True,
    with_runner: bool = False,
) -> None:
    from testops.cli.serving import Wanted, serve_server
    from testops.telemetry.logs import configure
    from testops.wiring.roles import settings_for
    from testops.wiring.server import Address

    configure(environment=os.environ, clock=SystemClock())
    address = Address(
        host or os.environ.get("TESTOPS_HOST") or HOST,
        _port(os.environ.get("TESTOPS_PORT")) if port is None else port,
    )
    settings = settings_for(
        Path.cwd(), os.environ, data=data, cores=cores, runs_at_once=runs_at_once
    )
    wanted = Wanted(settings, address, dict(os.environ), with_api=with_api, with_runner=with_runner)
    serve_server(wanted, echo=_echo)


def _port(text: str | None) -> int:
    if not text:
        return PORT
    if not text.isdigit() or int(text) > 65535:
        raise BadInput(f"{text!r} is no port", where="TESTOPS_PORT", fix="give 0 to 65535")
    return int(text)


def _echo(line: str) -> None:
    click.echo(line)
