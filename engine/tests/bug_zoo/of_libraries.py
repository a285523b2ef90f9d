"""Bugs of pure asyncio libraries, which need no network."""

from __future__ import annotations

from catalogue import Bug, Side

IDNA = "idna==3.10"
TYPING = "typing_extensions==4.15.0"
SNIFFIO = "sniffio==1.3.1"
ASYNC_TIMEOUT = "async-timeout==4.0.3"
LIMITS_NEEDS = ("deprecated==1.2.18", "packaging==25.0", "wrapt==1.17.2", TYPING)


def anyio(version: str) -> Side:
    """A version of anyio with what it imports."""
    return Side((f"anyio=={version}", IDNA, TYPING, SNIFFIO))


BUGS = [
    Bug(
        id="aiorwlock",
        library="aiorwlock 1.4.0",
        issue="aio-libs/aiorwlock#514",
        cause=(
            "A reader or writer that is cancelled while it waits still takes one off the state of "
            "the lock, which then counts a holder too few, and nobody is let in again. What must "
            "meet: a cancellation while the lock is waited for."
        ),
        program="programs/aiorwlock_cancelled_reader.py",
        buggy=Side(("aiorwlock==1.4.0",)),
        fixed=Side(("aiorwlock==1.5.1",)),
        expects=("deadlock",),
    ),
    Bug(
        id="anyio-lock",
        library="anyio 4.13.0, Lock",
        issue="agronholm/anyio#1145",
        cause=(
            "A waiter that was cancelled is in the queue until its task has run. When the owner "
            "releases in that moment nobody becomes the owner, and whoever asks before the "
            "cancelled one has left queues behind it and is never woken. What must meet in one "
            "tick: a deadline, a release and a new acquirer, before the cancelled task runs."
        ),
        program="programs/anyio_lock.py",
        buggy=anyio("4.13.0"),
        fixed=anyio("4.14.2"),
        expects=("deadlock",),
    ),
    Bug(
        id="anyio-semaphore",
        library="anyio 4.13.0, Semaphore",
        issue="agronholm/anyio#1145",
        cause=(
            "As in the Lock of the same version: a release that skips a cancelled waiter which is "
            "still queued, and an acquirer that queues behind it."
        ),
        program="programs/anyio_semaphore.py",
        buggy=anyio("4.13.0"),
        fixed=anyio("4.14.2"),
        expects=("deadlock",),
    ),
    Bug(
        id="anyio-condition",
        library="anyio 4.12.1, Condition",
        issue="agronholm/anyio@9369d80b",
        cause=(
            "Condition.wait() does not pass a notification on when its task was cancelled in the "
            "same tick, so that the next waiter sleeps on. What must meet in one tick: a "
            "notification, and the deadline of the one it was given to."
        ),
        program="programs/anyio_condition.py",
        buggy=anyio("4.12.1"),
        fixed=anyio("4.13.0"),
        expects=("deadlock",),
    ),
    Bug(
        id="anyio-limiter-lost-token",
        library="anyio 4.9.0, CapacityLimiter",
        issue="agronholm/anyio#947",
        cause=(
            "A waiter that was cancelled and is given a token before its task has run keeps it to "
            "itself: the next one in the queue is never told. What must meet in one tick: a "
            "deadline and a release, the release before the cancelled task runs."
        ),
        program="programs/anyio_limiter_lost_token.py",
        buggy=anyio("4.9.0"),
        fixed=anyio("4.10.0"),
        expects=("deadlock",),
    ),
    Bug(
        id="anyio-limiter-overgrant",
        library="anyio 4.14.1, CapacityLimiter",
        issue="agronholm/anyio#1170",
        cause=(
            "Between a release and the first step of the waiter that it woke, the token counts as "
            "free: acquire_nowait() takes it too, and there are more holders than tokens. What "
            "must meet: a release with a waiter, and a non-blocking acquire before it runs."
        ),
        program="programs/anyio_limiter_overgrant.py",
        buggy=anyio("4.14.1"),
        fixed=anyio("4.14.2"),
        expects=("property",),
        symptom="no more tokens than there are",
    ),
    Bug(
        id="anyio-memory-stream",
        library="anyio 4.3.0, memory object stream",
        issue="agronholm/anyio#728",
        cause=(
            "An item is handed to a waiting receiver whose cancellation is already under way, and "
            "is gone with it. What must meet in one tick: a send, and the deadline of the receiver."
        ),
        program="programs/anyio_memory_stream.py",
        buggy=anyio("4.3.0"),
        fixed=anyio("4.4.0"),
        expects=("exception",),
        symptom="orders were lost",
    ),
    Bug(
        id="fifolock",
        library="fifolock 0.0.18",
        issue="michalc/fifolock#7",
        cause=(
            "A waiter that was let in and is cancelled before it has run never gives its hold "
            "back. What must meet in one tick: a release, and the deadline of the next one."
        ),
        program="programs/fifolock_cancelled.py",
        buggy=Side(("fifolock==0.0.18",)),
        fixed=Side(("fifolock==0.0.20",)),
        expects=("deadlock",),
    ),
    Bug(
        id="aiojobs",
        library="aiojobs 1.0.0",
        issue="aio-libs/aiojobs#135",
        cause=(
            "spawn() that is cancelled while it waits for a place among the pending leaves its job "
            "in the scheduler, which counts it as active for ever: nothing starts any more "
            "once the limit is reached. What must meet: a cancellation while too many are pending."
        ),
        program="programs/aiojobs_pending.py",
        buggy=Side(("aiojobs==1.0.0", ASYNC_TIMEOUT)),
        fixed=Side(("aiojobs==1.1.0", ASYNC_TIMEOUT)),
        expects=("deadlock", "exception"),
    ),
    Bug(
        id="aiosqlite",
        library="aiosqlite 0.15.0",
        issue="omnilib/aiosqlite#80",
        cause=(
            "The thread of a connection sets the result of a future that was cancelled meanwhile; "
            "the event loop is told of an InvalidStateError. What must meet: a deadline while a "
            "query runs in the thread."
        ),
        program="programs/aiosqlite_cancelled.py",
        buggy=Side(("aiosqlite==0.15.0",)),
        fixed=Side(("aiosqlite==0.16.0",)),
        expects=("exception",),
        symptom="InvalidStateError",
    ),
    Bug(
        id="limits",
        library="limits 5.2.0, asynchronous MemoryStorage",
        issue="alisaifee/limits#277",
        cause=(
            "What has expired is counted in a thread without the lock; a request that is entered "
            "before the count is used makes it cut off one that has not expired, and more requests "
            "are allowed than there may be. What must meet: a request while the thread counts."
        ),
        program="programs/limits_moving_window.py",
        buggy=Side(("limits==5.2.0", *LIMITS_NEEDS)),
        fixed=Side(("limits==5.3.0", *LIMITS_NEEDS)),
        expects=("exception",),
        symptom="requests were allowed",
    ),
    Bug(
        id="asyncstdlib-tee",
        library="asyncstdlib 3.13.1, tee",
        issue="maxfischer2781/asyncstdlib#182",
        cause=(
            "Two readers of one tee that both wait for the next item each fetch one, and the later "
            "overwrites the earlier. What must meet: two readers at the end of the shared buffer."
        ),
        program="programs/asyncstdlib_tee.py",
        buggy=Side(("asyncstdlib==3.13.1",)),
        fixed=Side(("asyncstdlib==3.13.3",)),
        expects=("exception",),
        symptom="AssertionError",
    ),
]
