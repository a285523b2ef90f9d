"""SQLite lives on the simulated disk: commits last, the rest rolls back, locks and logs work."""

import ctypes.util
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.core.places import Places
from toron.world.boundary import sqlite_vfs
from toron.world.boundary.file_table import FileTable
from toron.world.boundary.refusals import Refusals

PATH = "/var/lib/bank.db"


def after_a_cut(
    pragmas: list[str], seeds: range, *, transactions: int = 6
) -> list[tuple[int, Any]]:
    """Commit, begin another change, cut the power: what was confirmed, what a restart reads."""

    async def kernel(world: toron.World) -> list[Any]:
        host = world.host("db")
        confirmed: list[int] = []
        read: list[Any] = []

        async def life() -> None:
            database = sqlite3.connect(PATH)
            if confirmed:
                try:
                    read.append(database.execute("pragma integrity_check").fetchone()[0])
                    read.append(
                        [n for (n,) in database.execute("select n from t order by n, rowid")]
                    )
                except sqlite3.DatabaseError as error:
                    read.append(f"{type(error).__name__}: {error}")
                return
            for pragma in pragmas:
                database.execute(f"pragma {pragma}").fetchall()
            database.execute("create table t(n, filler)")
            database.commit()
            for number in range(1, transactions + 1):
                for _ in range(3):
                    database.execute("insert into t values(?, ?)", (number, "x" * 900))
                database.commit()
                confirmed.append(number)
            database.execute("begin immediate")
            database.execute("update t set n = 1000")

        await host.spawn(life)
        host.crash()
        host.restart()
        await world.sleep(1)
        return [confirmed[-1], read]

    found = []
    for seed in seeds:
        outcome = toron.run(kernel, seed=1, chaos_seed=seed)
        assert outcome.verdict == "pass", outcome.failure
        found.append(tuple(outcome.outputs["result"]))
    return found


@pytest.mark.parametrize(
    "pragmas",
    [["synchronous=extra"], ["journal_mode=wal", "synchronous=full"], ["journal_mode=truncate"]],
    ids=["rollback journal", "write-ahead log", "truncated journal"],
)
def test_a_commit_survives_a_power_cut_and_what_was_not_committed_rolls_back(
    pragmas: list[str],
) -> None:
    for confirmed, read in after_a_cut(pragmas, range(15)):
        assert read == ["ok", [n for n in range(1, confirmed + 1) for _ in range(3)]]


def test_a_deleted_journal_may_come_back_and_take_the_last_commit_with_it() -> None:
    """As SQLite documents it: only ``synchronous=extra`` syncs the folder after the deletion."""
    found = after_a_cut([], range(15))
    kept = {len(read[1]) // 3 for confirmed, read in found}
    assert kept == {5, 6}
    for _, (integrity, numbers) in found:
        assert integrity == "ok"
        assert numbers == [n for n in range(1, len(numbers) // 3 + 1) for _ in range(3)]


def test_without_synchronous_a_power_cut_loses_commits_or_breaks_the_file() -> None:
    found = after_a_cut(["synchronous=off"], range(15))
    whole = ["ok", [n for n in range(1, 7) for _ in range(3)]]
    assert any(read != whole for _, read in found)


def test_a_hot_journal_is_rolled_back_by_whoever_opens_next() -> None:
    async def kernel(world: toron.World) -> list[Any]:
        host = world.host("db")
        seen: list[Any] = []

        async def life() -> None:
            database = sqlite3.connect(PATH, isolation_level=None)
            if seen:
                seen.append(database.execute("select sum(n) from t").fetchone()[0])
                seen.append(sorted(one.name for one in Path(PATH).parent.iterdir()))
                return
            database.execute("pragma cache_size = 2").fetchall()
            database.execute("create table t(n, filler)")
            database.execute("begin")
            for _ in range(200):
                database.execute("insert into t values(1, ?)", ("x" * 500,))
            database.execute("commit")
            database.execute("begin")
            database.execute("update t set n = 2")  # more pages than the cache: some are written
            seen.append(Path(f"{PATH}-journal").exists())

        await host.spawn(life)
        host.crash()
        host.restart()
        await world.sleep(1)
        return seen

    for chaos_seed in range(10):
        outcome = toron.run(kernel, seed=1, chaos_seed=chaos_seed)
        assert outcome.outputs["result"] == [True, 200, ["bank.db"]], outcome.failure


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_two_connections_lock_each_other_out(mode: str) -> None:
    async def kernel() -> list[Any]:
        first = sqlite3.connect(PATH, isolation_level=None)
        first.execute(f"pragma journal_mode={mode}").fetchall()
        first.execute("create table t(n)")
        second = sqlite3.connect(PATH, isolation_level=None, timeout=0)
        first.execute("begin immediate")
        first.execute("insert into t values(1)")
        out: list[Any] = [second.execute("select count(*) from t").fetchone()[0]]
        try:
            second.execute("begin immediate")
        except sqlite3.OperationalError as error:
            out.append(str(error))
        first.execute("commit")
        second.execute("begin immediate")
        second.execute("insert into t values(2)")
        second.execute("commit")
        return [*out, first.execute("select count(*) from t").fetchone()[0]]

    outcome = toron.run(kernel, seed=1)
    assert outcome.outputs["result"] == [0, "database is locked", 2], outcome.failure


def test_waiting_for_a_lock_costs_virtual_time() -> None:
    async def kernel() -> list[Any]:
        import time

        first = sqlite3.connect(PATH, isolation_level=None)
        first.execute("begin exclusive")
        second = sqlite3.connect(PATH, timeout=5)
        before = time.monotonic()
        try:
            second.execute("create table t(n)")
        except sqlite3.OperationalError as error:
            return [str(error), round(time.monotonic() - before)]
        return []

    assert toron.run(kernel, seed=1).outputs["result"] == ["database is locked", 5]


def test_a_full_disk_is_sqlites_own_error_and_the_file_stays_whole() -> None:
    async def kernel(world: toron.World) -> list[Any]:
        host = world.host("db")

        async def life() -> list[Any]:
            database = sqlite3.connect(PATH)
            database.execute("create table t(n)")
            database.commit()
            host.disk.capacity = 20_000
            out: list[Any] = []
            try:
                database.executemany("insert into t values(?)", [("x" * 1000,)] * 100)
                database.commit()
            except sqlite3.OperationalError as error:
                out.append(str(error))
            database.rollback()
            host.disk.heal()
            out += database.execute("pragma integrity_check").fetchone()
            return [*out, database.execute("select count(*) from t").fetchone()[0]]

        return await host.spawn(life)

    outcome = toron.run(kernel, seed=1)
    assert outcome.outputs["result"] == ["database or disk is full", "ok", 0], outcome.failure


PROGRAM = """
import asyncio, sqlite3

EARLY = sqlite3.connect(":memory:")

async def draws():
    database = sqlite3.connect("file:/tmp/d.db?mode=rwc", uri=True)
    database.execute("pragma journal_mode=wal").fetchall()
    database.execute("create table t(a, b, c)")
    for _ in range(5):
        database.execute("insert into t values(random(), datetime('now'), hex(randomblob(8)))")
        database.commit()
        await asyncio.sleep(1.5)
    return [
        database.execute("select * from t").fetchall(),
        EARLY.execute("select random(), strftime('%f', 'now')").fetchone(),
    ]
"""


def test_the_clock_and_chance_of_sqlite_are_those_of_the_run(
    program: Callable[..., Path],
) -> None:
    reference = toron.KernelRef(program(PROGRAM), "draws")
    verification = toron.verify(reference, seeds=range(3))
    assert verification.identical == 3, verification.first_divergence
    rows, _ = toron.run(reference, seed=1).outputs["result"]
    assert [row[1][-8:] for row in rows] == [
        "00:00:00",
        "00:00:01",
        "00:00:03",
        "00:00:04",
        "00:00:06",
    ]
    assert rows != toron.run(reference, seed=2).outputs["result"][0]


def test_a_database_of_the_project_can_be_read_and_is_never_changed(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "real.db") as real:
        real.execute("create table t(n)")
        real.execute("insert into t values(7)")
    real.close()
    before = (tmp_path / "real.db").read_bytes()
    path = program(
        """
        import sqlite3
        from pathlib import Path

        async def adds():
            database = sqlite3.connect(Path(__file__).with_name("real.db"))
            database.execute("insert into t values(8)")
            database.commit()
            return [n for (n,) in database.execute("select n from t")]
        """
    )
    outcome = toron.run(toron.KernelRef(path, "adds"), seed=1)
    assert outcome.outputs == {"result": [7, 8]}, outcome.failure
    assert (tmp_path / "real.db").read_bytes() == before


def test_a_python_that_hides_sqlites_functions_is_told_what_to_do() -> None:
    hidden = ctypes.util.find_library("m")
    reason = sqlite_vfs.install(FileTable(), hidden)
    assert "cannot be simulated; use ':memory:'" in reason
    refusals = Refusals(Places(Path.cwd()).of_frame, [])
    refusals.before_sqlite = lambda: reason
    refusals.active = True
    refusals.hook("sqlite3.connect", (":memory:",))
    with pytest.raises(toron.EscapeError, match="hides the functions of SQLite"):
        refusals.hook("sqlite3.connect", ("/tmp/a.db",))
