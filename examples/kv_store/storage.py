"""Keeps what a replica may not forget, its log and its vote, through power cuts.

The log is a series of segments, ``wal-000001`` and so on, each a run of records: length and CRC-32
of the payload, then the payload. Nothing is acknowledged before `synced` has returned. The vote is
one small file that is replaced as a whole.

What a power cut may leave is: a record cut short or garbled at the end of the last segment (it was
never synced, so nobody relies on it: cut it off), or an old file under the name of a new one (why
the folder is synced too). A bad record anywhere else is damage, and the replica refuses to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

FRAME = struct.Struct("<II")  # length and CRC-32 of the payload
SEGMENT_BYTES = 4096
COMMIT_DELAY_S = 0.002


class Entry(NamedTuple):
    """One entry of the replicated log."""

    term: int
    command: list[Any]


class StorageFailed(Exception):
    """The disk does not do its work; what is durable is unknown until the next start."""


class Storage:
    """The log and the vote of one replica in ``folder``."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.term = 0
        self.vote: str | None = None
        self.log: list[Entry] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._segment = 0
        self._file: BinaryIO
        self._dirty = False
        self._commit: asyncio.Task[None] | None = None
        with self._must_work():
            self._recover()

    @property
    def last_term(self) -> int:
        """The term of the last entry, 0 in an empty log."""
        return self.log[-1].term if self.log else 0

    # Start

    def _recover(self) -> None:
        self._make_folder()
        vote = self.folder / "vote"
        if vote.exists():
            raw = vote.read_bytes()
            if not raw:
                raise StorageFailed(f"{vote} is empty: it was renamed before it was synced")
            self.term, self.vote = json.loads(raw)
        segments, tail = sorted(self.folder.glob("wal-*")), b""
        for segment in segments:
            raw = segment.read_bytes()
            sound = sum(self._replay(payload) for payload in _records(raw))
            if sound < len(raw) and segment != segments[-1]:
                raise StorageFailed(f"{segment} is damaged at byte {sound}")
            tail = raw[:sound]
        # What was read need not be on the disk: the machine may have gone on where a process was
        # killed, or where a sync failed, after which Linux shows the lost bytes and calls them
        # clean. So what may not have been synced is written anew.
        self._segment = int(segments[-1].name.removeprefix("wal-")) if segments else 1
        self._replace(self._name, tail)
        self._file = self._name.open("ab")
        self.save_vote(self.term, self.vote)

    def _make_folder(self) -> None:
        made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        for folder in made or [self.folder]:
            self._sync_folder(folder.parent)

    def _replay(self, payload: bytes) -> int:
        index, term, command = json.loads(payload)
        self._put(index, Entry(term, command))
        return FRAME.size + len(payload)

    # The log

    def _put(self, index: int, entry: Entry) -> None:
        del self.log[index - 1 :]
        self.log.append(entry)

    def append(self, index: int, entry: Entry) -> None:
        """Make ``entry`` the last one, at ``index`` from 1; what stood there or behind is gone."""
        with self._must_work():
            if self._file.tell() >= SEGMENT_BYTES:
                self._sync_file(self._file)
                self._file.close()
                self._begin_segment()
            payload = json.dumps([index, *entry]).encode()
            self._file.write(FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
            self._file.flush()
        self._dirty = True
        self._put(index, entry)

    @property
    def _name(self) -> Path:
        return self.folder / f"wal-{self._segment:06}"

    def _begin_segment(self) -> None:
        self._segment += 1
        self._file = self._name.open("ab")
        self._sync_folder(self.folder)

    async def synced(self) -> None:
        """Return once everything appended so far survives a power cut."""
        if self._dirty and self._commit is None:
            self._commit = asyncio.create_task(self._group_commit())
        if self._commit is not None:
            await asyncio.shield(self._commit)

    async def _group_commit(self) -> None:
        """One sync for all that is appended within a moment: syncs are what a store waits for."""
        await asyncio.sleep(COMMIT_DELAY_S)
        self._commit = None
        with self._must_work():
            self._sync_file(self._file)
        self._dirty = False

    def close(self) -> None:
        """Let go of the files; what was not synced may be lost."""
        self._file.close()

    # The vote

    def save_vote(self, term: int, vote: str | None) -> None:
        """Remember the term, and for whom this replica has voted in it, before anybody hears it."""
        with self._must_work():
            self._replace(self.folder / "vote", json.dumps([term, vote]).encode())
        self.term, self.vote = term, vote

    # The disk

    def _replace(self, path: Path, content: bytes) -> None:
        """Make ``content`` all that is in ``path``: the old or the new after a power cut."""
        new = self.folder / "new"
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            self._sync_file(file)
        new.replace(path)
        self._sync_folder(self.folder)

    def _sync_file(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())

    def _sync_folder(self, folder: Path) -> None:
        """Make names durable: syncing a file does not sync the folder that lists it."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _must_work(self) -> Iterator[None]:
        """After a failed write or sync nobody knows what the disk holds: stop, never try again."""
        if self.failed.done():
            raise StorageFailed(f"the disk of {self.folder} has failed before")
        try:
            yield
        except OSError as error:
            failure = StorageFailed(f"the disk of {self.folder} failed: {error}")
            self.failed.set_exception(failure)
            self.failed.exception()  # whoever raised it is told by this one, too
            raise failure from error


def _records(raw: bytes) -> Iterator[bytes]:
    """The payloads of the sound records at the beginning of ``raw``."""
    at = 0
    while at + FRAME.size <= len(raw):
        length, checksum = FRAME.unpack_from(raw, at)
        at += FRAME.size
        payload = raw[at : at + length]
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield payload
        at += length
