"""Unix sockets belong to their host; a path outlives its process, as a file does."""

import asyncio
import errno
import os
import socket
import stat
from typing import Any

import pytest

import toron


def outputs(kernel: Any, seed: int = 1) -> dict[str, Any]:
    outcome = toron.run(kernel, seed=seed)
    assert outcome.verdict == "pass", outcome.failure
    return outcome.outputs


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
    writer.close()


async def ask(path: str) -> str:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"hello\n")
    answer = (await reader.readline()).decode()
    writer.close()
    await writer.wait_closed()
    return answer


def test_a_server_and_its_clients_meet_at_a_path() -> None:
    async def kernel(world: toron.World) -> None:
        async with await asyncio.start_unix_server(shout, "/run/app.sock") as server:
            world.record("answers", await asyncio.gather(*[ask("/run/app.sock") for _ in "abc"]))
            world.record("name", [one.getsockname() for one in server.sockets])
            is_socket = stat.S_ISSOCK(os.stat("/run/app.sock").st_mode)
            world.record("paths", [os.listdir("/run"), is_socket])

    assert outputs(kernel) == {
        "answers": ["HELLO\n"] * 3,
        "name": ["/run/app.sock"],
        "paths": [["app.sock"], True],
    }


def test_a_path_of_another_host_does_not_exist_here() -> None:
    async def kernel(world: toron.World) -> str:
        async def serve() -> None:
            await asyncio.start_unix_server(shout, "/run/app.sock")

        await world.host("db").spawn(serve)
        with pytest.raises(FileNotFoundError) as caught:
            await ask("/run/app.sock")
        return str(caught.value.strerror)

    assert outputs(kernel) == {"result": "No such file or directory"}


def test_a_path_left_by_a_killed_process_refuses_until_it_is_unlinked() -> None:
    async def kernel(world: toron.World) -> None:
        db, lives = world.host("db"), []

        def bind() -> str:
            with socket.socket(socket.AF_UNIX) as one:
                try:
                    one.bind("/run/app.sock")
                except OSError as error:
                    return errno.errorcode[error.errno or 0]
                return "bound"

        async def live() -> None:
            lives.append(True)
            if len(lives) == 1:
                await asyncio.start_unix_server(shout, "/run/app.sock")
                world.record("first", await ask("/run/app.sock"))
                await asyncio.sleep(100)
            try:
                await ask("/run/app.sock")
            except OSError as error:
                world.record("left behind", errno.errorcode[error.errno or 0])
            world.record("bound again", bind())
            os.unlink("/run/app.sock")
            world.record("unlinked", bind())
            # What `bind` left is a stale path once more, which asyncio's server removes by itself.
            await asyncio.start_unix_server(shout, "/run/app.sock")
            world.record("second", await ask("/run/app.sock"))

        db.spawn(live)
        await world.sleep(1)
        db.kill()
        db.restart()
        await world.sleep(1)

    assert outputs(kernel) == {
        "first": "HELLO\n",
        "left behind": "ECONNREFUSED",
        "bound again": "EADDRINUSE",
        "unlinked": "bound",
        "second": "HELLO\n",
    }


def test_an_abstract_name_is_free_again_when_its_host_restarts() -> None:
    async def kernel(world: toron.World) -> None:
        starts: list[bool] = []
        db = world.host("db")

        async def serve() -> None:
            await asyncio.start_unix_server(shout, "\0app")
            starts.append(True)

        db.spawn(serve)
        await world.sleep(1)
        db.restart()
        await world.sleep(1)
        world.record("starts", len(starts))

    assert outputs(kernel) == {"starts": 2}


def test_a_peer_that_closes_is_seen_at_once_and_writing_to_it_is_a_broken_pipe() -> None:
    async def kernel(world: toron.World) -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.close()
        world.record("read", left.recv(10))
        with pytest.raises(BrokenPipeError):
            left.send(b"x")
        left.close()

    assert outputs(kernel) == {"read": {"$bytes": ""}}


def test_drain_waits_for_the_reader_of_a_unix_stream() -> None:
    async def kernel(world: toron.World) -> None:
        reading = asyncio.Event()
        sizes: list[int] = []

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reading.wait()
            sizes.append(len(await reader.read(-1)))

        async with await asyncio.start_unix_server(slow, "\0slow"):
            _, writer = await asyncio.open_unix_connection("\0slow")
            writer.write(bytes(2_000_000))
            draining = asyncio.create_task(writer.drain())
            await world.sleep(10)
            world.record("drained early", draining.done())
            reading.set()
            await draining
            writer.close()
            await world.sleep(1)
        world.record("sizes", sizes)

    assert outputs(kernel) == {"drained early": False, "sizes": [2_000_000]}
