"""The store of examples/kv_store, on real files and real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from examples.kv_store.linearizable import Request, is_linearizable
from examples.kv_store.machine import Machine
from examples.kv_store.storage import SEGMENT_BYTES, Entry, Storage, StorageFailed
from tests.simulation.conftest import REPOSITORY


def test_the_demonstration_survives_the_killing_of_the_leader() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.kv_store"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "append fruit  -> apple,pear"
    assert "the leader" in lines[2]
    assert lines[-1] == "get    fruit  -> apple,pear,plum"


def fill(folder: Path, entries: int) -> None:
    async def write() -> None:
        storage = Storage(str(folder))
        storage.save_vote(3, "a")
        for index in range(1, entries + 1):
            storage.append(index, Entry(3, ["c", index, "put", "k", "v" * 40]))
        await storage.synced()
        storage.close()

    asyncio.run(write())


def reopened(folder: Path) -> Storage:
    async def read() -> Storage:
        storage = Storage(str(folder))
        storage.close()
        return storage

    return asyncio.run(read())


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("wal-*"))


def test_what_was_synced_is_there_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path / "deep" / "er", 200)
    storage = reopened(tmp_path / "deep" / "er")
    assert (storage.term, storage.vote, len(storage.log)) == (3, "a", 200)
    assert storage.log[-1] == Entry(3, ["c", 200, "put", "k", "v" * 40])
    assert len(segments(storage.folder)) > 200 * 60 // SEGMENT_BYTES


@pytest.mark.parametrize("damage", ["cut", "garbled", "zeros"])
def test_a_torn_tail_is_cut_off_and_written_over(tmp_path: Path, damage: str) -> None:
    fill(tmp_path, 5)
    last = segments(tmp_path)[-1]
    raw = last.read_bytes()
    torn = {"cut": raw[:-3], "garbled": raw[:-3] + b"???", "zeros": raw + bytes(64)}[damage]
    last.write_bytes(torn)
    kept = reopened(tmp_path)
    assert len(kept.log) == (5 if damage == "zeros" else 4)

    async def go_on() -> None:
        storage = Storage(str(tmp_path))
        storage.append(len(storage.log) + 1, Entry(4, []))
        await storage.synced()
        storage.close()

    asyncio.run(go_on())
    assert reopened(tmp_path).log == [*kept.log, Entry(4, [])]


def test_damage_before_the_last_segment_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    first = segments(tmp_path)[0]
    raw = bytearray(first.read_bytes())
    raw[len(raw) // 2] ^= 1
    first.write_bytes(raw)
    with pytest.raises(StorageFailed, match="wal-000001 is damaged at byte"):
        reopened(tmp_path)


def test_a_later_entry_at_an_index_replaces_what_stood_there_and_behind(tmp_path: Path) -> None:
    fill(tmp_path, 5)

    async def overwrite() -> None:
        storage = Storage(str(tmp_path))
        storage.append(3, Entry(4, ["other"]))
        await storage.synced()
        storage.close()

    asyncio.run(overwrite())
    log = reopened(tmp_path).log
    assert (len(log), log[2]) == (3, Entry(4, ["other"]))


def test_a_request_that_comes_twice_is_carried_out_once() -> None:
    machine = Machine()
    for _ in range(2):
        machine.apply(["c", 1, "append", "k", "a;"])
    machine.apply(["c", 2, "append", "k", "b;"])
    assert machine.values == {"k": "a;b;"}
    assert (machine.known("c", 2), machine.known("c", 3)) == ("a;b;", None)


def write(value: str, called: int, answered: float = 99.0) -> Request:
    return Request("w", "put", "k", value, called, answered, value if answered < 99 else None)


def read(value: str, called: int, answered: int) -> Request:
    return Request("r", "get", "k", "", called, answered, value)


@pytest.mark.parametrize(
    ("history", "holds"),
    [
        ([write("a", 1, 2), read("a", 3, 4)], True),
        ([write("a", 1, 2), read("", 3, 4)], False),
        ([write("a", 1, 4), read("", 2, 3)], True),
        ([write("a", 1, 4), read("a", 2, 3), read("", 5, 6)], False),
        ([write("a", 1), read("", 2, 3), read("a", 4, 5)], True),
        ([write("a", 1), read("a", 2, 3), read("", 4, 5)], False),
        ([write("a", 1, 2), write("b", 3, 4), read("a", 5, 6)], False),
    ],
)
def test_the_checker_knows_stale_and_phantom_reads(history: list[Request], holds: bool) -> None:
    assert is_linearizable(history) is holds
