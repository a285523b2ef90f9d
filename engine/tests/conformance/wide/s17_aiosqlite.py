"""aiosqlite: its thread, a transaction that is rolled back, rows by iteration."""

import aiosqlite


async def main():
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER)")
        rows = [(f"key{n}", n) for n in range(5)]
        await database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        await database.commit()
        try:
            await database.execute("DELETE FROM t")
            await database.execute("INSERT INTO t VALUES ('x', 1), ('x', 2)")
        except aiosqlite.IntegrityError:
            await database.rollback()
        async with database.execute("SELECT k, v FROM t WHERE v > ? ORDER BY k", (1,)) as cursor:
            found = [list(row) async for row in cursor]
    assert found == [["key2", 2], ["key3", 3], ["key4", 4]]
    return found
