"""An explanation as lines for a terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from toron.search.explain.chain import why
from toron.search.explain.deviations import seconds, told
from toron.search.explain.explanation import Explanation
from toron.search.explain.neighbours import Passing
from toron.search.explain.sources import is_pythons, short_place
from toron.search.explain.steps import Account, Step
from toron.search.traces.events import Wait
from toron.search.traces.text import printable

WIDTH = 100
_MS = 1_000_000
_SIDE_BY_SIDE = 8
_SHOWN = frozenset(("send", "udp", "connect", "record", "broken", "unhandled"))
_WHO_MAX, _WHAT = 20, 34


def text_of(explanation: Explanation) -> Iterator[str]:
    """The whole explanation, line by line."""
    for part in (
        _head(explanation),
        _deviations(explanation),
        _interleaving(explanation),
        _chain(explanation),
        _deadlock(explanation),
        _passing(explanation),
        _reproduction(explanation),
    ):
        lines = list(part)
        if lines:
            yield from (
                printable(line) if " t2-" in line else _cut(printable(line), WIDTH)
                for line in lines
            )
            yield ""
    yield f"replay  toron replay {explanation.outcome.token}"


def _head(explanation: Explanation) -> Iterator[str]:
    outcome = explanation.outcome
    failure = outcome.failure
    assert failure is not None
    seeds = f"seed {outcome.sim_seed}, chaos seed {outcome.chaos_seed}"
    when = f"at {seconds(failure.virtual_ns)} virtual s"
    yield f"{failure.kind.upper()}  {outcome.kernel}  {seeds}  {when}"
    for line in failure.message.partition("; waiting: ")[0].splitlines():
        # The lines of a verdict on a history are laid out already.
        yield from _wrapped("  ", line) if len(line) > WIDTH - 2 else [f"  {line}"]
    if failure.where:
        yield f"  {failure.where}"
    yield from _wrapped("", explanation.legality.text)
    if explanation.legality.token is not None:
        yield f"  toron explain {explanation.legality.token}"


def _wrapped(indent: str, text: str, after: str | None = None) -> list[str]:
    rest = indent + "  " if after is None else after
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=rest) or [indent]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


# What deviated


def _deviations(explanation: Explanation) -> Iterator[str]:
    count = len(explanation.deviations)
    if not count:
        yield "What deviated from asyncio's own order: nothing"
        return
    shrunk = ", after shrinking" if explanation.is_shrunk else ""
    yield f"What deviated from asyncio's own order ({count}{shrunk})"
    for number, one in enumerate(explanation.deviations, 1):
        mark = "" if one.is_legal else "  [beyond]"
        head = f"  {number:>2}  {seconds(one.at_ns)}  "
        yield from _wrapped(head, one.text + mark, " " * len(head))


# What happened


def _interleaving(explanation: Explanation) -> Iterator[str]:
    yield "What happened (virtual time, task, what it did, the line of the program)"
    hosts = len(explanation.account.story.hosts) > 1
    stalls = {stall.tick: stall for stall in explanation.account.execution.stalls}
    relevant = [s for s in explanation.account.steps if s.number in explanation.relevant]
    width = max((len(_who(step, with_host=hosts)) for step in relevant), default=0)
    tick = 0
    hidden: list[Step] = []
    for step in explanation.account.steps:
        if step.number not in explanation.relevant:
            hidden.append(step)
            continue
        if hidden:
            yield _folded(hidden)
            hidden = []
        if step.wake.tick != tick:
            tick = step.wake.tick
            stall = stalls.get(tick)
            if stall is not None:
                lasted_ms = f"{stall.lasted_ns / _MS:.6g} ms"
                yield f"  {'-' * 10} the process stood still for {lasted_ms}, until tick {tick}"
        yield from _step_lines(explanation, step, _who(step, with_host=hosts).ljust(width))
    if hidden:
        yield _folded(hidden)


def _folded(steps: Sequence[Step]) -> str:
    tasks = len({step.lane.index for step in steps if step.is_task})
    count = sum(step.is_task for step in steps)
    other = f"of {tasks} task{'s' if tasks != 1 else ''}" if count else "of the loop"
    count = count or len(steps)
    return f"  …            {count} step{'s' if count != 1 else ''} {other}"


def _who(step: Step, *, with_host: bool) -> str:
    host = f"{step.event.host}/" if with_host else ""
    return _cut(host + (step.who or "loop"), _WHO_MAX)


def _step_lines(explanation: Explanation, step: Step, who: str) -> Iterator[str]:
    mark = "~" if step.event.was_moved else " "
    reason, _ = why(step)
    if not step.is_task:
        reason = told(step, with_place=False).replace(f" of {step.who}", "")
    place = step.event.where if step.is_task else step.wake.place
    yield _row(
        f"{mark} {seconds(step.event.at_ns)}", who, reason, explanation.sources.code(place), place
    )
    for effect, at in _effects(step):
        yield _row(
            "", " " * len(who), f"  {effect}", explanation.sources.code(at) if at else "", at
        )


def _row(time: str, who: str, what: str, code: str, place: str) -> str:
    at, code = short_place(place), "" if is_pythons(place) else code
    number = at.rpartition(":")[2] if code else at
    left = f"  {time:<10} {who}  {_cut(what, _WHAT):<{_WHAT}}"
    return f"{left} {number:>4} {code}".rstrip() if code else f"{left} {at}".rstrip()


def _effects(step: Step) -> Iterator[tuple[str, str]]:
    """What a step did that others notice: whom it woke, cancelled, started, what it sent."""
    done: dict[tuple[str, str], list[str]] = {}
    for other in sorted(step.led_to, key=lambda led: led.lane.spawned):
        if other.who == step.who or not other.is_task:
            continue
        if other.canceller is step:
            done.setdefault(("cancels", other.wake.cancelled_at), []).append(other.who)
        elif other.by is step:
            verb = "starts" if other.ordinal == 1 else "wakes"
            done.setdefault((verb, other.wake.place), []).append(other.who)
    for (verb, place), names in done.items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        yield f"{verb} {', '.join(names[:2])}{more}", place
    for event in step.inside:
        if event.kind in _SHOWN:
            yield f"{event.kind} {event.detail}", event.where
        elif event.kind == "end":
            yield f"ends: {event.detail.partition(' ')[2]}", ""
    if step.is_task and step.wake.then and not is_pythons(step.wake.then):
        yield f"waits in {step.wake.within}", step.wake.then


# How it came to it


def _chain(explanation: Explanation) -> Iterator[str]:
    if not explanation.chain:
        return
    yield "How it came to the failure, backwards"
    for link in explanation.chain:
        at = short_place(link.place)
        who = told(link.step, with_place=False)
        line = f"{who}: {link.why}" + (f" ({at})" if at else "")
        head = f"  {seconds(link.step.event.at_ns):<9}  "
        yield from _wrapped(head, line, " " * len(head))


def _deadlock(explanation: Explanation) -> Iterator[str]:
    account = explanation.account
    waits = account.story.waits
    if not waits:
        return
    yield "Who waits for whom"
    names = account.names
    for wait in waits:
        who = names.get(wait.lane, account.story.lanes[wait.lane].label)
        at, code = short_place(wait.where), explanation.sources.code(wait.where)
        yield f"  {_cut(who, _WHO_MAX):<{_WHO_MAX}}  waits for {_awaited(account, wait)}"
        if at:
            yield f"  {'':<{_WHO_MAX}}  {at}  {code}".rstrip()
    if explanation.cycle:
        ring = [names.get(lane, "?") for lane in explanation.cycle]
        yield "  a ring: " + " -> ".join([*ring, ring[0]])
    for lost in explanation.lost:
        text = f"nobody will wake {names.get(lost.waiter, '?')} in {lost.within}: {lost.text}"
        yield from _wrapped("  ", text, "    ")


def _awaited(account: Account, wait: Wait) -> str:
    held = ", ".join(account.names.get(lane, "?") for lane in wait.holders)
    if wait.what.startswith("the end of"):
        return f"the end of {held}" if held else wait.what
    return (wait.what or "nothing known") + (f", held by {held}" if held else "")


# The nearest run that passes


def _passing(explanation: Explanation) -> Iterator[str]:
    passing = explanation.passing
    if passing is None:
        yield "No run near it passes"
        return
    text = f"The nearest run that passes, {passing.change}, is the same for {passing.alike} events"
    yield from _wrapped("", f"{text}; then")
    yield from _side_by_side(explanation, passing)


def _side_by_side(explanation: Explanation, passing: Passing) -> Iterator[str]:
    half = (WIDTH - 5) // 2
    left = _after(explanation.account, passing.alike)
    right = _after(passing.account, passing.alike)
    pairs = enumerate(zip_longest(left, right))
    begin = next((at for at, (one, other) in pairs if one != other), None)
    if begin is None:
        yield "  the same steps of the same tasks; what differs is in the world (see toron trace)"
        return
    yield f"  {'fails':<{half}} | passes"
    if begin:
        yield f"  … {begin} more steps alike"
    for at in range(begin, min(begin + _SIDE_BY_SIDE, max(len(left), len(right)))):
        one = left[at] if at < len(left) else ""
        other = right[at] if at < len(right) else ""
        yield f"  {_cut(one, half):<{half}} | {_cut(other, half)}".rstrip()


def _after(account: Account, alike: int) -> list[str]:
    steps = [step for step in account.steps if step.number > alike and step.is_task]
    return [f"{seconds(step.event.at_ns)} {step.who}: {why(step)[0]}" for step in steps]


# The script


def _reproduction(explanation: Explanation) -> Iterator[str]:
    found = explanation.reproduction
    if found is None:
        return
    yield "On stock asyncio"
    yield from _wrapped("  ", found.text)
    if found.path is not None:
        yield f"  python {found.path}"
    elif found.script:
        yield "  --script FILE keeps the script"
