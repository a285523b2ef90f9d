"""Who holds which of SQLite's locks on a file, and the memory that a write-ahead log shares.

Both belong to processes: a power cut ends them, and the next connection recovers the log.
"""

from __future__ import annotations

import ctypes
from typing import Any

from toron.world.disk.opened import Opened

NONE, SHARED, RESERVED, PENDING, EXCLUSIVE = range(5)
UNLOCK, LOCK, SHARE = 1, 2, 4


class Handle:
    """One file that SQLite has open."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.level = NONE
        self.delete_path: str | None = None
        self.sync_folder = False
        self.slots: dict[int, bool] = {}
        """The slots of shared memory it has locked; True: exclusively."""
        self.shared: Shared | None = None


class Shared:
    """The memory that the connections of one process to one log share."""

    def __init__(self) -> None:
        self.regions: list[Any] = []
        self.users: list[Handle] = []

    def region(self, number: int, size: int, *, extend: bool) -> int | None:
        """The address of a region; None when it is not there and must not be made."""
        while extend and len(self.regions) <= number:
            self.regions.append(ctypes.create_string_buffer(size))
        return ctypes.addressof(self.regions[number]) if number < len(self.regions) else None

    def change(self, handle: Handle, first: int, count: int, flags: int) -> bool:
        """Lock or unlock some slots; False when another connection has one."""
        slots = range(first, first + count)
        if flags & UNLOCK:
            for slot in slots:
                handle.slots.pop(slot, None)
            return True
        exclusive = not flags & SHARE
        for other in self.users:
            if other is not handle and other.opened.process.alive:
                held = [other.slots[slot] for slot in slots if slot in other.slots]
                if held and (exclusive or any(held)):
                    return False
        for slot in slots:
            handle.slots[slot] = exclusive
        return True


def may_take(handle: Handle, level: int, others: list[Handle]) -> bool:
    """Whether the lock ``level`` can be had now; who waits for readers is left PENDING."""
    highest = max((other.level for other in others), default=NONE)
    if level == SHARED:
        return highest < PENDING
    if highest >= RESERVED:
        return False
    if level == EXCLUSIVE and highest == SHARED:
        handle.level = PENDING
        return False
    return True
