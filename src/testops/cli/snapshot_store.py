"""`testops snapshot capture`, `list`, `show`, `materialise`, `pin`, `unpin`, `verify` and `gc`.

What they say and their exit codes; what they do belongs to `snapshots.store`.
"""

import json
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.snapshots.limits import size_text
from testops.snapshots.store.service import Shown
from testops.wiring.snapshot_store import GRACE_HOURS, ProjectStore, project_store

Command = TypeVar("Command", bound=Callable[..., Any])
_SHORT = 12
_GRACE_HOURS_MAX = 24.0 * 3650
_LAPSE_DAYS_MAX = 3650.0

_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and no text."
)
_who = click.option("--who", metavar="NAME", help="Who says so; default: git's user, or yours.")
_identity = click.argument("identity", metavar="IDENTITY")


def _opened() -> ProjectStore:
    return project_store(Path.cwd(), os.environ, told=lambda said: click.echo(said, err=True))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _tell(as_json: bool, body: dict[str, Any], lines: Sequence[str]) -> None:
    text = json.dumps(body, ensure_ascii=False, indent=2) if as_json else "\n".join(lines)
    click.echo(text)


@click.command()
@click.argument("sources", metavar="RUN|BUNDLE|FOLDER...", nargs=-1, required=True)
@click.option("--rewrite", is_flag=True, help="Write again what is kept already: mends damage.")
@_who
@_as_json
def capture(sources: Sequence[str], rewrite: bool, who: str | None, as_json: bool) -> None:
    """Keep bundles: each file once, however many bundles it is in."""
    store = _opened()
    done = [one for source in sources for one in store.capture(source, who=who, rewrite=rewrite)]
    if not done:
        raise BadInput("holds no bundle", where=", ".join(sources), fix="name a run or a bundle")
    new, shared = sum(one.bytes_new for one in done), sum(one.bytes_shared for one in done)
    lines = [
        f"{one.record.identity}  {'captured' if one.is_new else 'was kept already'}: "
        f"{size_text(one.bytes_new)} new in {_count(one.files_new, 'file')}, "
        f"{size_text(one.bytes_shared)} shared  ({one.source})"
        for one in done
    ]
    lines.append(f"{store.store.shelf.shown()}: {size_text(new)} new, {size_text(shared)} shared")
    body = {
        "store": store.store.shelf.shown(),
        "bundles": [one.to_json() for one in done],
        "bytes_new": new,
        "bytes_shared": shared,
    }
    _tell(as_json, body, lines)


@click.command(name="list")
@_as_json
def list_bundles(as_json: bool) -> None:
    """Every kept bundle."""
    store = _opened()
    found = store.list()
    place = store.store.shelf.shown()
    lines = [_line(one) for one in found]
    lines.append(
        f"{_count(len(found), 'bundle')} in {place}"
        if found
        else f"{place} keeps no bundle; add one: testops snapshot capture RUN"
    )
    _tell(as_json, {"store": place, "bundles": [one.to_json() for one in found]}, lines)


def _line(shown: Shown) -> str:
    record = shown.record
    key = record.key
    pinned = f"  pinned by {shown.pins[-1].who}" if shown.pins else ""
    return (
        f"{record.identity[:_SHORT]}  {key.suite} {key.profile} {key.engine_version} "
        f"py{key.python}  {_count(record.file_count, 'file')}, {size_text(record.size)}{pinned}"
    )


@click.command()
@_identity
@_as_json
def show(identity: str, as_json: bool) -> None:
    """One kept bundle: what it is, who captured it from where, who pinned it and why."""
    shown = _opened().show(identity)
    record = shown.record
    lines = [
        f"bundle {record.identity}",
        f"  {record.key.text()}",
        f"  seeds {record.sim_seed} and {record.chaos_seed}, {record.file_count} files, "
        f"{size_text(record.size)}",
    ]
    lines += [
        f"  captured {hold.at.isoformat(timespec='seconds')} by {hold.who} "
        f"from {hold.source} ({hold.project})"
        for hold in shown.holds
    ]
    lines += [
        f"  pinned {pin.at.isoformat(timespec='seconds')} by {pin.who}: {pin.why}"
        for pin in shown.pins
    ]
    _tell(as_json, shown.to_json(), lines)


@click.command()
@_identity
@click.argument("target", metavar="FILE.tar.gz|FOLDER", type=click.Path(path_type=Path))
@_as_json
def materialise(identity: str, target: Path, as_json: bool) -> None:
    """Make a kept bundle a file again, or an unpacked folder."""
    done = _opened().materialise(identity, target)
    same = {
        None: "",
        True: ", the very file that was captured",
        False: ", which another compressor had packed: the bundle is equal, the file is not",
    }[done.is_same_file]
    body = {
        "identity": done.record.identity,
        "path": str(done.path),
        "is_same_file": done.is_same_file,
    }
    _tell(as_json, body, [f"{done.path} is bundle {done.record.identity}{same}"])


@click.command()
@_identity
@click.option("--why", required=True, metavar="REASON", help="Why it must stay.")
@_who
@_as_json
def pin(identity: str, why: str, who: str | None, as_json: bool) -> None:
    """Keep a bundle until it is unpinned; no collection removes it."""
    found = _opened().pin(identity, who=who, why=why)
    _tell(as_json, {"identity": found, "pinned": True}, [f"pinned {found}"])


@click.command()
@_identity
@click.option("--why", required=True, metavar="REASON", help="Why it need not stay any more.")
@_who
@_as_json
def unpin(identity: str, why: str, who: str | None, as_json: bool) -> None:
    """End every pin of a bundle."""
    found = _opened().unpin(identity, who=who, why=why)
    _tell(as_json, {"identity": found, "pinned": False}, [f"unpinned {found}"])


@click.command()
@click.argument("paths", metavar="[BUNDLE|FOLDER...]", nargs=-1, type=click.Path(path_type=Path))
@_as_json
def verify(paths: Sequence[Path], as_json: bool) -> ExitCode:
    """Read everything the store keeps, or the bundles at some places, and name every damage.

    In an unpacked bundle it also finds an edit that kept size and times, which comparing, that
    reads a file once for each change of it, would not.
    """
    checked = _opened().verify(paths)
    code = ExitCode.FAILED if checked.damages else ExitCode.HOLDS
    lines = [f"damaged: {damage.text()}" for damage in checked.damages]
    lines.append(
        f"{checked.where}: {_count(checked.bundles, 'bundle')}, "
        f"{_count(checked.objects, 'file')}, {size_text(checked.bytes_read)} read, "
        f"{_count(len(checked.damages), 'damage')}"
    )
    if checked.unreferenced_objects:
        lines.append(
            f"{_count(checked.unreferenced_objects, 'file')} of no bundle "
            f"({size_text(checked.unreferenced_bytes)}): testops snapshot gc"
        )
    _tell(as_json, {**checked.to_json(), "exit_code": int(code)}, lines)
    return code


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option(
    "--grace-hours",
    type=float,
    default=GRACE_HOURS,
    show_default=True,
    help="What is younger stays, whatever refers to it.",
)
@click.option(
    "--lapse-days",
    type=float,
    help="What another project captured longer ago is not held by it any more; default: it is.",
)
@_as_json
def gc(dry_run: bool, grace_hours: float, lapse_days: float | None, as_json: bool) -> ExitCode:
    """Remove the bundles and files that nothing refers to any more.

    A bundle stays while it is pinned, while a baseline (or the history of one), a review or a run
    record names it, while it lies under snapshots/ as a bundle, and while another project that
    shares the store holds it.
    """
    grace = timedelta(hours=_within(grace_hours, _GRACE_HOURS_MAX, "--grace-hours"))
    lapse = None
    if lapse_days is not None:
        lapse = timedelta(days=_within(lapse_days, _LAPSE_DAYS_MAX, "--lapse-days"))
    store = _opened()
    done = store.collect(grace=grace, lapse=lapse, dry_run=dry_run)
    code = ExitCode.FAILED if done.problem else ExitCode.HOLDS
    would = "would remove" if dry_run else "removed"
    lines = [f"{would} bundle {identity}" for identity in done.removed]
    lines.append(
        f"{store.store.shelf.shown()}: {would} {_count(len(done.removed), 'bundle')} and "
        f"{_count(done.objects_removed, 'file')}, {size_text(done.bytes_freed)} freed; "
        f"{_count(len(done.kept), 'bundle')} and {size_text(done.bytes_kept)} stay"
    )
    if done.problem:
        lines.append(f"damaged: {done.problem}")
    _tell(as_json, {**done.to_json(), "exit_code": int(code)}, lines)
    return code


def _within(number: float, most: float, where: str) -> float:
    # Written so that nan is refused too.
    if not 0 <= number <= most:
        raise BadInput(f"{number} is no number from 0 to {most:g}", where=where, fix="give one")
    return number


COMMANDS = (capture, list_bundles, show, materialise, pin, unpin, verify, gc)
