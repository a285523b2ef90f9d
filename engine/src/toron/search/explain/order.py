"""Whether asyncio promises the order of two steps.

Handles that are put on a loop run first-in first-out. So the order of two that are ready together
is the order in which they were put there, and it is promised as far back as that order is:

- put there in one step (`gather` starts tasks in order, `Event.set` wakes waiters in order):
  promised;
- put there by two steps whose own order is promised: promised, and so on backwards;
- put there, directly or by way of others, by two *timers*: promised only if the first was also set
  before the second, by steps whose order is promised, and for no longer a time. A machine may stand
  still before either is set, so nothing else is certain; what must pass between the settings (a
  sleep between them) counts for the second. Timers that are due at the very same instant have no
  order (the documentation of `loop.call_later` says so);
- by a timer, and by a step before which that timer had not been set: the step comes first;
- by bytes or connections that arrived, by a thread, on different hosts: open. Latency, the order
  in which the kernel reports descriptors and when a thread goes on are nobody's promise.

One that follows from the other comes after it, whatever the way.
"""

from __future__ import annotations

from toron.search.explain.steps import Step

_IN_TURN = (("soon", "soon"), ("soon", "timer"), ("timer", "timer"))
"""Ways, of the first and the second, by which the order may be one of what put them there."""


def is_promised(first: Step, second: Step) -> bool:
    """Whether asyncio always runs ``first`` before ``second``, given that it did here."""
    while True:
        if follows(second, first):
            return True
        if first.event.host != second.event.host or _was_other_way_round(first, second):
            return False
        known = _by_their_ways(first, second)
        if known is not None or first.by is None or second.by is None:
            return bool(known)
        first, second = first.by, second.by
        if first.number > second.number:
            return False


def _by_their_ways(first: Step, second: Step) -> bool | None:
    """Whether the order is promised, as far as the two themselves tell; None: ask their causes."""
    ways = first.way, second.way
    if ways not in _IN_TURN:
        return False
    if ways == ("timer", "timer") and not _is_surely_due_first(first, second):
        return False
    if first.by is second.by:
        return second.way == "soon" or first.way == "soon" or first.wake.timer < second.wake.timer
    if first.by is None or second.by is None:
        return first.by is None  # put there before the first step of all
    return None


def _is_surely_due_first(first: Step, second: Step) -> bool:
    """Whether one timer is due before another that is set with it or later, however late."""
    if first.wake.due_ns >= second.wake.due_ns:
        return False
    lag_ns = 0
    if first.by is not None and second.by is not None and follows(second.by, first.by):
        step = second.by
        while step is not first.by and step.by is not None:
            lag_ns += step.wake.delay_ns
            step = step.by
    return first.wake.delay_ns <= second.wake.delay_ns + lag_ns


def follows(later: Step, earlier: Step) -> bool:
    """Whether ``later`` was caused by ``earlier``, over whatever way."""
    step: Step | None = later
    while step is not None and step.number > earlier.number:
        step = step.by
    return step is earlier


def _was_other_way_round(first: Step, second: Step) -> bool:
    """Whether a deviation of the same tick has put ``first`` before ``second``."""
    mine, other = first.event.turn, second.event.turn
    if mine is None or other is None or first.wake.tick != second.wake.tick:
        return False
    return mine[1] == other[1] and mine[2] > other[2] and mine[0] < other[0]
