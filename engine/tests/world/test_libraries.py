"""A library with I/O of its own in C is refused by name, with what to use instead."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toron.search.pool import Request, Worker
from toron.world.boundary.libraries import DOORS

PROGRAM = """
import asyncio
{at_import}

async def main():
    {in_kernel}
    await asyncio.sleep(0)
    MySQLdb.connect("db")  # HERE
"""


@pytest.mark.parametrize("lazily", [False, True])
def test_a_library_of_c_is_refused_where_the_program_enters_it(
    program: Callable[..., Path], tmp_path: Path, lazily: bool
) -> None:
    (tmp_path / "MySQLdb.py").write_text("def connect(host):\n    return 'a real connection'\n")
    line = "import MySQLdb"
    text = PROGRAM.format(
        at_import="" if lazily else line, in_kernel=line if lazily else "del asyncio.unknown"
    ).replace("    del asyncio.unknown\n", "")
    path = program(text)
    with Worker(path, wall_limit_s=30) as worker:
        failure = worker.execute(Request("main", 1, 0)).outcome.failure
    assert failure is not None
    assert failure.kind == "escape"
    assert (
        "MySQLdb.connect(): mysqlclient (libmysqlclient) does its own I/O in C" in failure.message
    )
    assert "use aiomysql" in failure.message
    assert failure.where.endswith("in main")


def test_every_door_names_an_alternative() -> None:
    assert all(door.instead and door.library and door.names for door in DOORS)


def test_a_pipe_wakes_the_loop_and_its_ends_can_be_polled(program: Callable[..., Path]) -> None:
    path = program(
        """
        import asyncio, os, select

        async def main():
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            seen = asyncio.get_running_loop().create_future()
            loop = asyncio.get_running_loop()
            loop.add_reader(reader, lambda: seen.set_result(os.read(reader, 10).decode()))
            loop.call_later(2, os.write, writer, b"wake")
            first = await seen
            loop.remove_reader(reader)
            os.write(writer, b"x")
            polled = await asyncio.to_thread(select.select, [reader], [writer], [], 5)
            os.close(writer)
            os.close(reader)
            return [first, [len(part) for part in polled]]
        """
    )
    with Worker(path, wall_limit_s=30) as worker:
        outcomes = [worker.execute(Request("main", 1, 0)).outcome for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].outputs["result"] == ["wake", [1, 1, 0]]
    assert outcomes[0].virtual_ns > 2_000_000_000
