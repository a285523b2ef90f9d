"""`testops snapshot review|accept|reject|mask|approve`: people decide what moved, and say why."""

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import click

from testops.domain.review import Group, GroupState, Review, ReviewState
from testops.domain.verdict import ExitCode
from testops.snapshots.review import plain
from testops.wiring import reviewing
from testops.wiring.review_desk import desk_around

Command = TypeVar("Command", bound=Callable[..., Any])

_EXAMPLE_SHOWN_MAX = 300
_why = click.option("--why", required=True, metavar="REASON", help="Why; it is kept.")
_who = click.option("--who", metavar="NAME", help="Who decides; default: git's user, or yours.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no text.")
_target = click.argument("target", metavar="RUN|BUNDLE|REVIEW")


def _which(*, required: bool) -> Callable[[Command], Command]:
    def with_options(command: Command) -> Command:
        field = click.option(
            "--field", metavar="POINTER", required=required, help="As the review shows it."
        )
        kernel = click.option("--kernel", metavar="NAME", required=required, help="Of the suite.")
        return kernel(field(command))

    return with_options


@click.command()
@click.argument("target", metavar="[RUN|BUNDLE|REVIEW]", required=False)
@_json
def review(target: str | None, as_json: bool) -> None:
    """List the reviews that wait for somebody, or show one: what moved, and who decided what."""
    desk = desk_around(Path.cwd())
    if target is None:
        reviews = reviewing.open_reviews(desk)
        listed = {"reviews": [one.to_json() for one in reviews]}
        click.echo(_spelled(listed) if as_json else "\n".join(_list(reviews)))
        return
    shown = reviewing.review_called(desk, target)
    click.echo(_spelled(shown.to_json()) if as_json else "\n".join(_lines(shown)))


@click.command()
@_target
@_which(required=True)
@_why
@_who
@_json
def accept(target: str, kernel: str, field: str, as_json: bool, **options: Any) -> None:
    """Say that one change is meant. The baseline stays until the whole review is approved."""
    _decide(target, GroupState.ACCEPTED, kernel, field, as_json=as_json, **options)


@click.command()
@_target
@_which(required=False)
@_why
@_who
@_json
def reject(
    target: str, kernel: str | None, field: str | None, as_json: bool, **options: Any
) -> None:
    """Say that a change is wrong (without --kernel: all of it); nobody can approve it then."""
    _decide(target, GroupState.REJECTED, kernel, field, as_json=as_json, **options)


def _decide(
    target: str,
    state: GroupState,
    kernel: str | None,
    field: str | None,
    *,
    who: str | None,
    why: str,
    as_json: bool,
) -> None:
    desk = desk_around(Path.cwd())
    done = reviewing.decide(desk, target, state, kernel=kernel, field=field, who=who, why=why)
    click.echo(_spelled(done.to_json()) if as_json else "\n".join(_lines(done)))


@click.command()
@_target
@_which(required=True)
@_why
@_who
@_json
def mask(target: str, kernel: str, field: str, why: str, who: str | None, as_json: bool) -> None:
    """Stop comparing a field, for a reason, in the suite's file of masks; says what that hides."""
    desk = desk_around(Path.cwd())
    done = reviewing.mask(desk, target, kernel=kernel, field=field, who=who, why=why)
    if as_json:
        body = {"file": done.file, "hits": done.hits, "hid": done.hid}
        click.echo(_spelled({**body, "review": done.review.to_json()}))
        return
    for rule in done.rules:
        click.echo(f"masked {rule.files} {rule.pointer} in {done.file}")
    click.echo(f"it hides {_fields(done.hits)}, {done.hid} of them changed; commit {done.file}")
    click.echo("\n".join(_lines(done.review)))


@click.command()
@_target
@_why
@_who
@click.option("--allow-failing", is_flag=True, help="Approve executions that did not pass.")
@_json
def approve(target: str, why: str, who: str | None, allow_failing: bool, as_json: bool) -> ExitCode:
    """Accept all that is pending, and make the bundle the baseline of its suite and versions.

    Where more than one person has to approve, the first approval is recorded and the exit code is
    4: the baseline is not changed yet.
    """
    desk = desk_around(Path.cwd())
    done = reviewing.approve(desk, target, who=who, why=why, allow_failing=allow_failing)
    code = ExitCode.INCONCLUSIVE if done.baseline is None else ExitCode.HOLDS
    if as_json:
        body = {"source": done.source, "baseline": done.baseline, "exit_code": int(code)}
        click.echo(_spelled({**body, "review": done.review.to_json()}))
        return code
    if done.baseline is None:
        missing = done.review.approvals_missing
        click.echo(f"recorded: {done.who} approves {done.source}, {done.why}")
        click.echo(
            f"not the baseline yet: {missing} more {_plural(missing, 'approval')} by {done.needed}"
        )
        click.echo(
            f"commit {done.review_file}; then `testops snapshot approve "
            f"{done.review.target[:16]} --why REASON` as that person"
        )
        return code
    click.echo(f"approved {done.source} as the baseline {done.baseline}")
    click.echo(f"recorded: {', '.join(one.who for one in done.review.approvals)}, {done.why}")
    files = "both files" if done.review_file is None else f"both files and {done.review_file}"
    click.echo(f"commit {files}, so that everyone compares with the same")
    return code


def _spelled(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, indent=2)


def _list(reviews: Sequence[Review]) -> list[str]:
    if not reviews:
        return ["no review waits for anybody"]
    lines = [f"{len(reviews)} {_plural(len(reviews), 'review')} to decide"]
    for one in reviews:
        lines.append(f"  {one.target[:16]}  {one.state.upper()}  {_key(one)}")
        lines.append(f"    {_counts(one)}; {len(one.approvals)} of {_approvals(one)}")
    lines.append("next: testops snapshot review ID")
    return lines


def _lines(shown: Review) -> list[str]:
    base = "no baseline yet" if shown.base is None else f"baseline {shown.base[:16]}"
    by_run = "" if shown.opened_by_run is None else f" by run {shown.opened_by_run}"
    lines = [
        f"review {shown.target[:16]}: {shown.state.upper()}, {_key(shown)}",
        f"  against {base}, opened {shown.opened_at}{by_run}",
        f"  {_counts(shown)}",
    ]
    for kernel, groups in groupby(shown.groups, key=lambda group: group.kernel):
        lines.append(f"  {kernel}")
        for group in groups:
            times = f"{group.executions} {_plural(group.executions, 'execution')}"
            field = plain(group.field, _EXAMPLE_SHOWN_MAX) or "(whole execution)"
            lines.append(f"    {group.state.upper():8} {field}  {group.kind} in {times}")
            lines += _example(group)
            if group.cause.value != "unknown":
                lines.append(f"      cause: {group.cause}")
            if group.decision is not None:
                lines.append(f"      {group.decision.who}: {plain(group.decision.why, 500)}")
    lines += _masks(shown)
    for approval in shown.approvals:
        why = plain(approval.why, 500)
        lines.append(f"  approved by {approval.who} on {approval.at}: {why}")
    return [*lines, *_next(shown)]


def _example(group: Group) -> list[str]:
    """One delta of the group: the kernel's name was said, the command gets a line of its own."""
    what, separator, command = group.example.rpartition("; reproduce: ")
    what = (what if separator else group.example).removeprefix(f"kernel {group.kernel}, ")
    lines = [f"      {plain(what, _EXAMPLE_SHOWN_MAX)}"]
    return [*lines, f"      reproduce: {plain(command, 500)}"] if separator else lines


def _masks(shown: Review) -> list[str]:
    if not shown.masks:
        return []
    hits, hid = (sum(one.hits for one in shown.masks), sum(one.hid for one in shown.masks))
    lines = [f"  masks hid {_fields(hits)}, {hid} of them changed"]
    for one in shown.masks:
        said = f"hit {one.hits}, hid {one.hid}" if one.hits else "hits nothing: remove it"
        lines.append(f"    {one.files} {one.pointer}: {said} ({one.reason})")
    return lines


def _next(shown: Review) -> list[str]:
    name = shown.target[:16]
    match shown.state:
        case ReviewState.PENDING:
            approve = f"testops snapshot approve {name} --why REASON"
            lines = [f"  {_approvals(shown)} needed, {len(shown.approvals)} given"]
            if not any(group.state is GroupState.PENDING for group in shown.groups):
                return [*lines, f"next: {approve}"]
            pick = f"{name} --kernel K --field F --why REASON"
            return [
                *lines,
                f"next: testops snapshot accept|reject|mask {pick}",
                f"      {approve}   accepts all that is pending",
            ]
        case ReviewState.REJECTED:
            return ["next: mend what was rejected, and run the suite again"]
        case ReviewState.ACCEPTED:
            return ["nothing is left to decide"]
        case ReviewState.SUPERSEDED:
            if shown.superseded_by == shown.base:
                return ["nothing is left to decide: under the masks it behaves as the baseline"]
            return [f"a later run took its place: {shown.superseded_by}"]


def _key(shown: Review) -> str:
    key = shown.key
    return f"{key.suite}, {key.profile}, {key.engine_version}, Python {key.python}"


def _counts(shown: Review) -> str:
    counted = [
        f"{number} {state}"
        for state in GroupState
        if (number := sum(group.state is state for group in shown.groups))
    ]
    if not counted:
        return "no delta"
    groups = f"{len(shown.groups)} {_plural(len(shown.groups), 'group')} of deltas"
    return f"{groups}: {', '.join(counted)}"


def _approvals(shown: Review) -> str:
    return f"{shown.approvals_required} {_plural(shown.approvals_required, 'approval')}"


def _fields(number: int) -> str:
    return f"{number} {_plural(number, 'field')}"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


REVIEW_VERBS = (review, accept, reject, mask, approve)
