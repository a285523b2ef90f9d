"""Real pipes within one process can be watched, as programs that wake themselves do."""

from collections.abc import Callable
from pathlib import Path

from toron.search.pool import Request, Worker


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
