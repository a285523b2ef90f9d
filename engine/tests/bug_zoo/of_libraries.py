"""Bugs of pure asyncio libraries, which need no network."""

from __future__ import annotations

from catalogue import Bug, Side

IDNA = "idna==3.10"
TYPING = "typing_extensions==4.15.0"
SNIFFIO = "sniffio==1.3.1"

BUGS = [
    Bug(
        id="aiorwlock",
        library="aiorwlock 1.4.0",
        issue="aio-libs/aiorwlock#514",
        cause=(
            "A reader or writer that is cancelled while it waits still takes one off the state of "
            "the lock, which then counts a holder too few or too many, and nobody is let in again. "
            "What must meet: a cancellation while the lock is waited for."
        ),
        program="programs/aiorwlock_cancelled_reader.py",
        buggy=Side(("aiorwlock==1.4.0",)),
        fixed=Side(("aiorwlock==1.5.1",)),
        expects=("deadlock", "exception"),
    ),
    Bug(
        id="anyio-lock",
        library="anyio 4.13.0 Lock",
        issue="agronholm/anyio#1145",
        cause=(
            "A waiter that was cancelled is still in the queue until its task has run. When the "
            "owner releases in that moment nobody becomes the owner, and whoever asks before the "
            "cancelled one has left queues behind it and is never woken. What must meet, in one "
            "tick and in this order: a cancellation, the release, and a new acquirer."
        ),
        program="programs/anyio_lock.py",
        buggy=Side(("anyio==4.13.0", IDNA, TYPING)),
        fixed=Side(("anyio==4.14.2", IDNA, TYPING)),
        expects=("deadlock",),
    ),
]
