"""`testops keys`, `testops audit` and `testops login-link`: access, on the store of this machine.

They open the database themselves, so they work before the first key and without a server. Whoever
can run them could read the database anyway.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from testops.domain.access import Principal, Role
from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode

if TYPE_CHECKING:
    from testops.access.keys import NewKey
    from testops.access.records import KeyRecord
    from testops.wiring.access import Access

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ROLES = click.Choice([role.value for role in Role])


def _duration(text: str) -> int | None:
    """Seconds; None for `never`."""
    if text == "never":
        return None
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no time; write 90d, 24h, 10m or 30s")
    return int(found[1]) * _UNITS_S[found[2]]


def _data_option(command: Command) -> Command:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="The data directory; default: TESTOPS_DATA, or .testops/ of the project.",
    )(command)


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def _workspace_option(command: Command) -> Command:
    return click.option(
        "--workspace", "workspaces", multiple=True, metavar="NAME",
        help="Only in this workspace (several times); default: in all.",
    )(command)  # fmt: skip


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.OPERATOR.value, show_default=True)
@_workspace_option
@click.option(
    "--expires",
    type=_duration,
    metavar="TIME",
    default="90d",
    show_default=True,
    help="Or `never`.",
)
@_json_option
@_data_option
def create(
    name: str,
    role: str,
    workspaces: tuple[str, ...],
    expires: int | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Make a key called NAME. It is printed once, and kept nowhere."""
    from testops.access.keys import WantedKey

    wanted = WantedKey(name, Role(role), frozenset(workspaces) or None, expires)
    with _opened(data) as (access, me):
        _show_new(access.keys.create(wanted, by=me), as_json=as_json)


@keys.command(name="list")
@_json_option
@_data_option
def list_keys(as_json: bool, data: Path | None) -> None:
    """List every key, with its state and when it was last used."""
    with _opened(data) as (access, me):
        shown = [_shown(record) for record in access.keys.listed(by=me)]
    if as_json:
        click.echo(json.dumps({"keys": shown}, indent=2))
        return
    for one in shown:
        scope = " ".join(one["workspaces"]) if one["workspaces"] is not None else "all workspaces"
        used = one["last_used_at"] or "never used"
        ends = one["expires_at"] or "never ends"
        click.echo(f"{one['id']}  {one['state']:8} {one['role']:10} {one['name']}")
        click.echo(f"    {scope}, until {ends}, used {used}, by {one['created_by']}")
    if not shown:
        click.echo("there is no key; make one: testops keys create NAME")


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap", type=_duration, metavar="TIME", default="24h", show_default=True, help="0s: none."
)
@_json_option
@_data_option
def rotate(key_id: str, overlap: int | None, as_json: bool, data: Path | None) -> None:
    """Replace key ID by a new one with the same rights; the old one works on for a while."""
    if overlap is None:
        raise BadInput("a key that is replaced must end", where="--overlap", fix="write 24h")
    with _opened(data) as (access, me):
        _show_new(access.keys.rotate(key_id, by=me, overlap_s=overlap), as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@_data_option
def revoke(key_id: str, data: Path | None) -> None:
    """End key ID, and every browser session that came from it."""
    with _opened(data) as (access, me):
        access.keys.revoke(key_id, by=me)
    click.echo(f"key {key_id} is revoked; servers notice within 15 seconds")


@click.group()
def audit() -> None:
    """Read and verify the audit log."""


@audit.command()
@click.option("--expect", "noted", multiple=True, metavar="SEQ:HASH", help="A head noted earlier.")
@_json_option
@_data_option
def verify(noted: tuple[str, ...], as_json: bool, data: Path | None) -> ExitCode:
    """Check that no row was changed, removed or inserted; exit 1 when one was.

    Note the head that it prints somewhere else: with --expect, a later check also finds a database
    that was put back to an older state as a whole.
    """
    from testops.access.verify import noted_head
    from testops.access.verify import verify as verify_log

    expected = dict(noted_head(text) for text in noted)
    with _opened(data) as (access, _):
        found = verify_log(access.store, access.signer, expected=expected)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return ExitCode.HOLDS if found.holds else ExitCode.FAILED
    for finding in found.findings:
        click.echo(f"FOUND: {finding}")
    for remark in found.remarks:
        click.echo(f"note: {remark}")
    click.echo(f"head: {found.head.text()}")
    click.echo(f"{found.count} rows: {'the chain holds' if found.holds else 'TAMPERED WITH'}")
    return ExitCode.HOLDS if found.holds else ExitCode.FAILED


@audit.command(name="list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@_json_option
@_data_option
def list_rows(limit: int, as_json: bool, data: Path | None) -> None:
    """List what was done last, newest first."""
    with _opened(data) as (access, _):
        rows = [row.to_json() for row in access.store.newest(before=None, limit=limit)]
    if as_json:
        click.echo(json.dumps({"rows": rows}, indent=2))
        return
    for row in rows:
        who = row["actor"]["name"] or row["actor"]["kind"]
        told = " ".join(f"{name}={value}" for name, value in row["detail"].items())
        parts = (row["at"], who, row["client"], row["action"], row["target"], told)
        click.echo(f"{row['seq']:>6}  " + "  ".join(part for part in parts if part))


@click.command(name="login-link")
@click.option("--name", help="Who logs in; default: you.")
@click.option("--role", type=_ROLES, default=Role.MAINTAINER.value, show_default=True)
@_workspace_option
@click.option(
    "--lasts", type=_duration, metavar="TIME", default="10m", show_default=True, help="Until used."
)
@_data_option
def login_link(
    name: str | None,
    role: str,
    workspaces: tuple[str, ...],
    lasts: int | None,
    data: Path | None,
) -> None:
    """Print a link that logs one browser in, once."""
    from testops.access.records import Holder
    from testops.cli.places import places
    from testops.wiring.access import known_url

    if lasts is None:
        raise BadInput("a login link must end", where="--lasts", fix="write 10m")
    with _opened(data) as (access, me):
        holder = Holder(name or me.name, Role(role), frozenset(workspaces) or None)
        link = access.sessions.link(holder, by=me, lifetime_s=lasts)
    at = places(Path.cwd(), os.environ, data=data)
    click.echo(f"{known_url(os.environ, at.data)}{link.path}")


@contextmanager
def _opened(data: Path | None) -> "Iterator[tuple[Access, Principal]]":
    """Access to the store of this machine, and who we are to it."""
    from testops.cli.places import opened, places
    from testops.storage.migrate import migrate, require_current
    from testops.wiring.access import access_over, local_operator

    at = places(Path.cwd(), os.environ, data=data)
    with opened(at) as database:
        if database.is_sqlite:
            migrate(database)
        else:
            require_current(database)
        yield access_over(database, at.data, os.environ), local_operator()


def _show_new(new: "NewKey", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**_shown(new.record), "key": new.token}, indent=2))
        return
    click.echo(
        f"key {new.record.key_id} ({new.record.holder.role}); it is shown only now:", err=True
    )
    click.echo(new.token)


def _shown(record: "KeyRecord") -> dict[str, Any]:
    from testops.access.records import ms_of
    from testops.telemetry.clock import SystemClock

    return record.to_json(ms_of(SystemClock().now()))
