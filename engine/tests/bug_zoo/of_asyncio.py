"""Bugs of asyncio itself: the fixed twin is a later CPython."""

from __future__ import annotations

from catalogue import Bug, Side

BEFORE_3_13 = Side(pythons=("3.12.1", "3.11.7"))
"""Exact: later patch releases of both got some of the fixes."""
SINCE_3_13 = Side(pythons=("3.13",))

BUGS = [
    Bug(
        id="asyncio-condition",
        library="asyncio.Condition of CPython 3.12.1",
        issue="python/cpython#112202",
        cause=(
            "notify() wakes one waiter. When that one is cancelled before it has the lock again, "
            "the notification goes with it, although others wait for it. What "
            "must meet: a deadline between the notification and the release of the lock."
        ),
        program="programs/asyncio_condition.py",
        buggy=BEFORE_3_13,
        fixed=SINCE_3_13,
        expects=("deadlock",),
        symptom="Condition.wait",
    ),
    Bug(
        id="asyncio-condition-quick",
        library="asyncio.Condition of CPython 3.12.1",
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
        symptom="Condition.wait",
    ),
    Bug(
        id="asyncio-taskgroup-shutdown",
        library="asyncio.TaskGroup of CPython 3.12.1",
        issue="python/cpython#116720",
        cause=(
            "A group that is cancelled from outside and also has a failed child raises the child's "
            "exception, and the cancellation is forgotten: a client that reconnects after errors "
            "goes on for ever. What must meet: the cancellation, and a group that is aborting."
        ),
        program="programs/asyncio_taskgroup_shutdown.py",
        buggy=BEFORE_3_13,
        fixed=SINCE_3_13,
        expects=("exception",),
        symptom="a cancelled client still runs",
    ),
    Bug(
        id="asyncio-taskgroup-nested",
        library="asyncio.TaskGroup of CPython 3.12.1",
        issue="python/cpython#116720",
        cause=(
            "Two nested groups have a failed child each at about the same time: the inner one "
            "swallows the cancellation with which the outer one wanted to end it, and its parent "
            "waits for ever. What must meet: two failures, one within the clean-up of the other."
        ),
        program="programs/asyncio_taskgroup_nested.py",
        buggy=BEFORE_3_13,
        fixed=SINCE_3_13,
        expects=("deadlock",),
        symptom="run_sensor waits for Event.wait",
    ),
    Bug(
        id="asyncio-wait-for",
        library="asyncio.wait_for of CPython 3.11.7",
        issue="python/cpython#86296",
        cause=(
            "Before 3.12, wait_for runs what it waits for in a task of its own, and a cancellation "
            "that comes after that task is done and before wait_for has noticed is swallowed: the "
            "result is returned as if nothing had happened. What must meet: a result and a "
            "cancellation, two iterations of the loop apart at most."
        ),
        program="programs/asyncio_wait_for_shutdown.py",
        buggy=Side(pythons=("3.11",)),
        fixed=Side(pythons=("3.12", "3.13")),
        expects=("exception",),
        symptom="workers go on",
    ),
]
