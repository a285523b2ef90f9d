"""The store with one thing left out, five times over: what Toron must find.

Each twin is the correct code but for one method. None of them is forced: no sleep, no fault and no
schedule is arranged here, and with a friendly world each of them works.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

from examples.kv_store.machine import Machine
from examples.kv_store.replica import ELECTION_S, Replica
from examples.kv_store.storage import Storage

LEASE_S = 0.8 * ELECTION_S[0]


class WithoutFileSync(Storage):
    """Answers when the operating system has the bytes, which is not when the disk has them."""

    def _sync_file(self, file: BinaryIO) -> None:
        return None


class WithoutFolderSync(Storage):
    """Syncs files, but not the folders that hold their names."""

    def _sync_folder(self, folder: Path) -> None:
        return None


class AnswersBeforeQuorum(Replica):
    """Calls an entry committed once the leader's own disk has it."""

    def _agreed(self) -> int:
        return self._on_disk[self.name]


class LeaseOnTheWallClock(Replica):
    """Reads without asking while a lease lasts: shorter than any election, by `time.time`.

    Replicas refuse to elect another leader for so long, so the lease is right as long as a second
    of the wall clock takes a second.
    """

    _lease_ends: float = 0.0

    def _lead(self) -> None:
        self._lease_ends = 0.0
        super()._lead()

    async def _send(self, peer: str, term: int) -> bool:
        sent = time.time()
        confirmed = await super()._send(peer, term)
        if confirmed:
            self._lease_ends = max(self._lease_ends, sent + LEASE_S)
        return confirmed

    async def _is_still_leader(self, term: int) -> bool:
        if self.commit >= self._first and time.time() < self._lease_ends:
            return True
        return await super()._is_still_leader(term)


class CarriesOutRetries(Machine):
    """Has no memory for request numbers: what comes twice is done twice."""

    def known(self, client: str, number: int) -> str | None:
        return None
