"""What a run did otherwise than asyncio does by itself, in words, and whether it may.

Orders and stalls are read from the run itself, everything else (latencies, faults, threads) from
its tape.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

from toron.core.clock import SECOND_NS
from toron.core.wakes import Stall
from toron.search.explain.order import is_promised
from toron.search.explain.sources import short_place
from toron.search.explain.steps import Account, Step
from toron.search.traces.events import short

_LISTED = 4
_MS = 1_000_000
CANCEL = "cancel "
_LATENCY = re.compile(r"net\.latency[.:](.*)")
SILENT = ("disk.order.", "disk.time.", "net.split", "net.reuseport")
"""Choices that are made in every run, and of which no other is asyncio's own."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing that was done otherwise."""

    kind: str
    """``order``, ``timers``, ``stall``, ``cancellation``, ``timeout``, ``network``, ...: see
    `legality`."""
    at_ns: int
    text: str
    broken_promise: str = ""
    """Why stock asyncio never does it; empty when it may."""
    keys: tuple[str, ...] = ()
    """Its keys on the tape, as far as they are known."""
    steps: tuple[Step, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_legal(self) -> bool:
        """Whether stock asyncio may do it."""
        return not self.broken_promise


def deviations_of(account: Account, cancelled: Container[str] = ()) -> list[Deviation]:
    """All of them, in the order of the run; ``cancelled`` are tasks that the program cancels."""
    found = [
        *_orders(account),
        *_stalls(account),
        *_cancellations(account, cancelled),
        *_of_the_tape(account),
    ]
    return sorted(found, key=lambda deviation: deviation.at_ns)


# Orders


def groups_of(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps of one tick among which a schedule chose, as they were taken."""
    group: list[Step] = []
    for step in steps:
        turn = step.event.turn
        if group and (turn is None or not _belongs(group[-1], step)):
            yield group
            group = []
        if turn is not None:
            group.append(step)
    if group:
        yield group


def _belongs(last: Step, step: Step) -> bool:
    one, other = last.event.turn, step.event.turn
    assert one is not None
    assert other is not None
    return last.wake.tick == step.wake.tick and one[1] == other[1] and one[0] < other[0]


def _orders(account: Account) -> Iterator[Deviation]:
    for group in groups_of(account.steps):
        own = [step.event.turn[2] for step in group if step.event.turn is not None]
        for moved in _moved(own):
            yield _moved_step(group, own, moved)


def _moved(own: Sequence[int]) -> list[int]:
    """The fewest positions that must be moved to give back asyncio's own order."""
    best: list[tuple[int, int]] = []  # length of the longest rising row that ends here, before it
    for at, value in enumerate(own):
        before = [(best[i][0], i) for i in range(at) if own[i] < value]
        length, previous = max(before, key=lambda known: (known[0], -known[1]), default=(0, -1))
        best.append((length + 1, previous))
    at = max(range(len(own)), key=lambda i: best[i][0])
    kept = set()
    while at >= 0:
        kept.add(at)
        at = best[at][1]
    return [at for at in range(len(own)) if at not in kept]


def _moved_step(group: list[Step], own: Sequence[int], at: int) -> Deviation:
    step = group[at]
    overtaken = [one for i, one in enumerate(group) if i > at and own[i] < own[at]]
    overtaking = [one for i, one in enumerate(group) if i < at and own[i] > own[at]]
    broken = next((_promise(one, step) for one in overtaken if is_promised(one, step)), "")
    broken = broken or next(
        (_promise(step, one) for one in overtaking if is_promised(step, one)), ""
    )
    kind = "timer of one tick" if step.way == "timer" else "step"
    if overtaken:
        text = f"{told(step)} ran before {_listed(overtaken)}"
        text += f" (asyncio would have run {told(overtaken[0], with_place=False)} first)"
    else:
        text = f"{told(step)} ran after {_listed(overtaking)}"
        text += f" (asyncio would have run {told(step, with_place=False)} first)"
    keys = tuple(one.key for one in (step, *overtaken, *overtaking) if one.is_task)
    involved = (step, *overtaken, *overtaking)
    return Deviation(
        "order" if kind == "step" else "timers", step.event.at_ns, text, broken, keys, involved
    )


def _promise(first: Step, second: Step) -> str:
    """Why asyncio always runs ``first`` before ``second``."""
    pair = f"{told(first)} before {told(second)}"
    if first.by is second.by and first.by is not None:
        place = short_place(first.wake.place)
        at = f" at {place}" if place else ""
        return f"{pair}: {told(first.by)} put both on the loop{at}, first in, first out"
    return f"{pair}: what put them on the loop has an order of its own"


def _listed(steps: Sequence[Step]) -> str:
    names = [told(step) for step in steps]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def told(step: Step, *, with_place: bool = True) -> str:
    """A step or a call, as a person would name it."""
    if step.is_task:
        return step.who
    name = step.event.detail
    if step.is_sleep:
        return f"the end of the sleep of {step.who}"
    if step.way == "timer":
        is_deadline = "timeout" in name.lower() or "deadline" in name.lower()
        what = "the timeout" if is_deadline else f"the timer {name.rpartition('.')[2]}"
        place = short_place(step.wake.place)
        return f"{what} of {step.who or 'the loop'}" + (
            f" ({place})" if place and with_place else ""
        )
    return f"the callback {name.rpartition('.')[2]}"


# Stalls


def _stalls(account: Account) -> Iterator[Deviation]:
    for stall in account.execution.stalls:
        met = met_in(account, stall)
        text = (
            f"the process stood still for {stall.lasted_ns / _MS:.6g} ms before tick {stall.tick}"
        )
        if len(met) > 1:
            names = list(dict.fromkeys(told(step) for step in met))
            rest = f", {len(names) - _LISTED} more" if len(names) > _LISTED + 1 else ""
            first = names[:_LISTED] if rest else names[:-1]
            text += f", so {', '.join(first)}{rest} and {names[-1]} came in one tick"
        elif met:
            text += f", until {told(met[0])}"
        yield Deviation("stall", stall.at_ns, text, steps=tuple(met))


def met_in(account: Account, stall: Stall) -> list[Step]:
    """What the loop met at once after a stall: timers, and bytes that had arrived."""
    return [
        step
        for step in account.steps
        if step.wake.tick == stall.tick and step.way in ("timer", "io", "")
    ]


# Cancellations


def _cancellations(account: Account, cancelled: Container[str]) -> Iterator[Deviation]:
    for key, value in account.execution.tape:
        if not key.startswith(CANCEL):
            continue
        who, _, ordinal = key.removeprefix(CANCEL).rpartition("/")
        as_it_woke, number = ordinal.endswith("+"), ordinal.rstrip("+")
        step = _step_of(account, who, int(number) if number.isdecimal() else 0)
        at = f" at {short_place(step.wake.then)}" if step and short_place(step.wake.then) else ""
        at_ns = step.event.at_ns if step is not None else 0
        involved = () if step is None else (step,)
        if value > 1:
            text = f"a timeout of {short(who)} expired while it waited{at}, as if that took so long"
            yield Deviation("timeout", at_ns, text, keys=(key,), steps=involved)
            continue
        when = "when it had its result and had not gone on yet" if as_it_woke else "while it waited"
        does = "does at another moment" if who in cancelled else "never does"
        broken = f"cancelled {short(who)} there, which the program {does}"
        text = f"{short(who)} was cancelled {when}{at}"
        yield Deviation("cancellation", at_ns, text, broken, (key,), involved)


def _step_of(account: Account, who: str, ordinal: int) -> Step | None:
    name = short(who)
    return next((one for one in account.steps if one.who == name and one.ordinal == ordinal), None)


# Everything else


def _of_the_tape(account: Account) -> Iterator[Deviation]:
    by_label: dict[str, list[tuple[str, int]]] = {}
    for key, value in account.execution.tape:
        label, _, which = key.rpartition(" ")
        if key.startswith(("schedule ", "schedule.timer ", "stall ", CANCEL, *SILENT)):
            continue
        by_label.setdefault(label, []).append((which, value))
    at_ns = account.execution.outcome.virtual_ns
    for label, chosen in by_label.items():
        keys = tuple(f"{label} {which}" for which, _ in chosen)
        if label.startswith("chaos.fault"):
            continue
        kind, text = _of_the_world(label, chosen)
        yield Deviation(kind, at_ns, text, keys=keys)
    yield from _faults(account)


def _faults(account: Account) -> Iterator[Deviation]:
    """The plan that took place, as a whole: its lines are ordered by time, its keys by kind."""
    keys = tuple(key for key, _ in account.execution.tape if key.startswith("chaos.fault "))
    plan = account.execution.outcome.faults
    if keys and plan:
        begins_ns = round(float(plan[0].partition("-")[0]) * SECOND_NS)
        yield Deviation("faults", begins_ns, f"faults took place: {'; '.join(plan)}", keys=keys)


def _of_the_world(label: str, chosen: list[tuple[str, int]]) -> tuple[str, str]:
    which = ", ".join(number for number, _ in chosen[:_LISTED])
    more = f" and {len(chosen) - _LISTED} more" if len(chosen) > _LISTED else ""
    which += more
    latency = _LATENCY.match(label)
    if latency is not None:
        return "network", f"packets {which} from {latency[1]} took longer"
    if label.startswith("net."):
        return "network", f"the network chose otherwise ({label} {which})"
    if label == "seeded":
        return "seeded", f"drawn from the seed, and not the harmless ones: {which}"
    if label == "schedule.thread":
        return "threads", f"another thread than the first went on (choices {which})"
    if label.startswith("schedule.io"):
        return "descriptors", f"descriptors were reported ready in another order ({which})"
    if label.startswith(("chaos", "fault")):
        return "faults", f"faults were injected ({label}: {which})"
    return "other", f"{label}: {which}"


def seconds(at_ns: int) -> str:
    """Virtual seconds with microseconds."""
    return f"{at_ns / SECOND_NS:.6f}"
