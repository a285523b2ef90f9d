"""Bugs of asyncio itself: the fixed twin is a later CPython."""

from __future__ import annotations

from catalogue import Bug, Side

BEFORE_3_13 = Side(pythons=("3.12.1", "3.11.7"))
"""Exact: later patch releases of both got some of the fixes."""
SINCE_3_13 = Side(pythons=("3.13",))

BUGS = [
    Bug(
        id="asyncio-condition",
        library="asyncio.Condition (CPython 3.12.1)",
        issue="python/cpython#112202",
        cause=(
            "notify() wakes one waiter. When that waiter is cancelled before it has run again, it "
            "leaves with CancelledError and the notification is gone, although others wait for it. "
            "What must meet: a notification and the cancellation of the one it was given to."
        ),
        program="programs/asyncio_condition.py",
        buggy=BEFORE_3_13,
        fixed=SINCE_3_13,
        expects=("deadlock",),
    ),
    Bug(
        id="asyncio-condition-quick",
        library="asyncio.Condition (CPython 3.12.1)",
        issue="python/cpython#112202",
        cause=(
            "The same bug in a pool that holds the lock for no time: the deadline of the user who "
            "was notified must expire in the very tick of the notification."
        ),
        program="programs/asyncio_condition.py",
        kernel="quick",
        buggy=BEFORE_3_13,
        fixed=SINCE_3_13,
        expects=("deadlock",),
    ),
]
