"""TCP as a program meets it: flow control, half close, reset, loss as delay, and power cuts."""

import asyncio
import contextlib
import errno
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from typing import Any

import pytest

import toron
from toron.world.tcp import WINDOW_BYTES


def outputs(kernel: Any, seed: int = 1) -> dict[str, Any]:
    outcome = toron.run(kernel, seed=seed)
    assert outcome.verdict == "pass", outcome.failure
    return outcome.outputs


async def listen(handler: Any, port: int = 9000) -> asyncio.Server:
    return await asyncio.start_server(handler, "0.0.0.0", port)


async def serve(handler: Any) -> None:
    async with await listen(handler) as server:
        await server.serve_forever()


def test_drain_blocks_while_the_reader_does_not_read_and_ends_when_it_does() -> None:
    async def kernel(world: toron.World) -> None:
        reading = asyncio.Event()

        async def slow(reader: Reader, writer: Writer) -> None:
            await reading.wait()
            world.record("received", len(await reader.read(-1)))

        async def push() -> None:
            _, writer = await asyncio.open_connection("db", 9000)
            writer.write(bytes(4 * WINDOW_BYTES))
            await writer.drain()
            world.record("drained_at", world.now)
            writer.close()

        world.host("db").spawn(serve, slow)
        await world.sleep(1)
        task = world.host("app").spawn(push)
        await world.sleep(99)
        world.record("drained_early", task.done())
        reading.set()
        await world.sleep(10)

    found = outputs(kernel)
    assert found["drained_early"] is False
    assert found["received"] == 4 * WINDOW_BYTES
    assert 100 < found["drained_at"] < 101


def test_a_non_blocking_send_takes_what_the_window_holds_and_then_eagain() -> None:
    async def kernel(world: toron.World) -> None:
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        taken = left.send(bytes(10 * WINDOW_BYTES))
        with pytest.raises(BlockingIOError):
            left.send(b"x")
        await asyncio.sleep(0.1)
        world.record("taken", taken)
        world.record("read", len(right.recv(10 * WINDOW_BYTES)))
        await asyncio.sleep(0.1)
        world.record("taken again", left.send(bytes(10)))

    assert outputs(kernel) == {"taken": WINDOW_BYTES, "read": WINDOW_BYTES, "taken again": 10}


def test_a_half_closed_connection_still_carries_the_other_direction() -> None:
    async def kernel(world: toron.World) -> None:
        async def answer_after_the_end(reader: Reader, writer: Writer) -> None:
            asked = await reader.read(-1)
            writer.write(b"you said " + asked)
            writer.close()

        async def ask() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            writer.write(b"hello")
            writer.write_eof()
            world.record("answer", (await reader.read(-1)).decode())
            with pytest.raises(RuntimeError):
                writer.write(b"more")
            writer.close()

        world.host("db").spawn(serve, answer_after_the_end)
        await world.sleep(1)
        await world.host("app").spawn(ask)

    assert outputs(kernel) == {"answer": "you said hello"}


def test_unread_bytes_at_close_become_a_reset_as_on_linux() -> None:
    async def kernel(world: toron.World) -> None:
        async def leave(reader: Reader, writer: Writer) -> None:
            await world.sleep(1)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await world.sleep(1)
            writer.close()

        async def talk() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            await world.sleep(1.5)
            writer.write(b"never read")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            world.record("reset", True)
            writer.close()

        world.host("db").spawn(serve, leave)
        await world.sleep(1)
        await world.host("app").spawn(talk)

    assert outputs(kernel) == {"reset": True}


@pytest.mark.parametrize("lingers", [True, False])
def test_a_linger_of_0_resets_and_an_ordinary_close_ends_the_stream(lingers: bool) -> None:
    async def kernel(world: toron.World) -> None:
        async def leave(reader: Reader, writer: Writer) -> None:
            if lingers:
                option = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, option
                )
            writer.close()

        async def look() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            try:
                world.record("saw", (await reader.read()).decode())
            except ConnectionResetError as error:
                world.record("saw", errno.errorcode[error.errno or 0])
            writer.close()

        world.host("db").spawn(serve, leave)
        await world.sleep(1)
        await world.host("app").spawn(look)

    assert outputs(kernel) == {"saw": "ECONNRESET" if lingers else ""}


def test_writing_to_a_peer_that_has_closed_is_a_reset_and_then_a_broken_pipe() -> None:
    async def kernel(world: toron.World) -> None:
        async def leave(reader: Reader, writer: Writer) -> None:
            writer.close()

        async def talk() -> None:
            loop = asyncio.get_running_loop()
            one = socket.socket()
            one.setblocking(False)
            await loop.sock_connect(one, ("db", 9000))
            await world.sleep(1)
            seen = []
            for _ in range(3):
                try:
                    one.send(b"x")
                    seen.append("sent")
                except OSError as error:
                    seen.append(errno.errorcode[error.errno or 0])
                await world.sleep(1)
            world.record("seen", seen)
            one.close()

        world.host("db").spawn(serve, leave)
        await world.sleep(1)
        await world.host("app").spawn(talk)

    assert outputs(kernel) == {"seen": ["sent", "ECONNRESET", "EPIPE"]}


def test_a_closed_port_refuses_with_the_text_of_the_system() -> None:
    async def kernel(world: toron.World) -> str:
        world.host("db")
        try:
            await asyncio.open_connection("db", 81)
        except ConnectionRefusedError as error:
            return str(error)
        return ""

    assert outputs(kernel) == {"result": "[Errno 111] Connect call failed ('10.0.0.2', 81)"}


def test_a_port_is_taken_once() -> None:
    async def kernel(world: toron.World) -> None:
        async def nothing(reader: Reader, writer: Writer) -> None:
            writer.close()

        first = await listen(nothing)
        with pytest.raises(OSError, match="address already in use") as caught:
            await listen(nothing)
        world.record("errno", errno.errorcode[caught.value.errno or 0])
        with pytest.raises(OSError, match="address already in use"):
            await asyncio.start_server(nothing, "127.0.0.1", 9000)
        first.close()
        await first.wait_closed()
        (await listen(nothing)).close()
        world.host("other").spawn(serve, nothing)  # another host has ports of its own
        await world.sleep(1)

    assert outputs(kernel) == {"errno": "EADDRINUSE"}


def test_port_0_is_a_free_port_that_can_be_reached() -> None:
    async def kernel(world: toron.World) -> None:
        async def greet(reader: Reader, writer: Writer) -> None:
            writer.write(b"hi")
            writer.close()

        servers = [await asyncio.start_server(greet, "127.0.0.1", 0) for _ in range(3)]
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        for port in ports:
            reader, writer = await asyncio.open_connection("localhost", port)
            assert await reader.read() == b"hi"
            assert writer.get_extra_info("peername") == ("127.0.0.1", port)
            writer.close()
        world.record("distinct", len(set(ports)))
        world.record("free", all(32_768 <= port <= 60_999 for port in ports))

    assert outputs(kernel) == {"distinct": 3, "free": True}


def test_a_full_backlog_makes_the_next_connection_wait_for_a_place() -> None:
    async def kernel(world: toron.World) -> None:
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 9000))
        listener.listen(2)
        connected: list[float] = []

        async def connect() -> None:
            one = socket.socket()
            one.setblocking(False)
            await loop.sock_connect(one, ("127.0.0.1", 9000))
            connected.append(world.now)
            await world.sleep(100)
            one.close()

        tasks = [asyncio.create_task(connect()) for _ in range(3)]
        await world.sleep(0.5)
        world.record("before", len(connected))
        accepted, _ = await loop.sock_accept(listener)
        await world.sleep(5)
        world.record("after", len(connected))
        world.record("retried", connected[2] >= 1)
        await asyncio.gather(*tasks)
        accepted.close()
        listener.close()

    assert outputs(kernel) == {"before": 2, "after": 3, "retried": True}


def echo_across(world: toron.World, count: int) -> "asyncio.Task[list[tuple[int, float]]]":
    """A client on ``app`` that counts aloud once a second to ``db``, and when it was echoed."""

    async def answer(reader: Reader, writer: Writer) -> None:
        while line := await reader.readline():
            writer.write(line)

    async def count_aloud() -> list[tuple[int, float]]:
        reader, writer = await asyncio.open_connection("db", 9000)
        heard: list[tuple[int, float]] = []

        async def listen_to_it() -> None:
            while line := await reader.readline():
                heard.append((int(line), world.now))

        listening = asyncio.create_task(listen_to_it())
        for number in range(count):
            writer.write(f"{number}\n".encode())
            await world.sleep(1)
        await world.sleep(60)
        writer.close()
        await listening
        return heard

    world.host("db").spawn(serve, answer)
    return world.host("app").spawn(count_aloud)


@pytest.mark.parametrize("one_way", [False, True])
def test_a_healed_partition_delivers_everything_in_send_order(one_way: bool) -> None:
    async def kernel(world: toron.World) -> None:
        world.host("db").spawn(asyncio.sleep, 0)
        await world.sleep(0)
        task = echo_across(world, 20)
        await world.sleep(5.5)
        world.net.partition("app", "db", one_way=one_way)
        await world.sleep(10)
        world.net.heal("app", "db")
        heard = await task
        world.record("numbers", [number for number, _ in heard])
        world.record("during", [number for number, at in heard if 5.6 < at < 15.5])

    found = outputs(kernel)
    assert found == {"numbers": list(range(20)), "during": []}


def test_a_connection_through_a_partition_waits_for_the_retry_of_the_syn() -> None:
    async def kernel(world: toron.World) -> None:
        async def nothing(reader: Reader, writer: Writer) -> None:
            writer.close()

        world.host("db").spawn(serve, nothing)
        world.host("app")
        world.net.partition("app", "db")

        async def connect() -> None:
            await asyncio.open_connection("db", 9000)
            world.record("at", round(world.now, 1))

        task = world.host("app").spawn(connect)
        await world.sleep(2)
        world.net.heal()
        await task

    assert outputs(kernel) == {"at": 3.0}  # SYN at 0, 1 and 3 s


def test_a_connection_attempt_that_nobody_answers_times_out_after_linuxs_retries() -> None:
    async def kernel(world: toron.World) -> None:
        world.host("db")
        world.host("app")
        world.net.partition("app", "db")

        async def connect() -> None:
            with pytest.raises(TimeoutError) as caught:
                await asyncio.open_connection("db", 9000)
            world.record("error", errno.errorcode[caught.value.errno or 0])
            world.record("after", round(world.now))

        await world.host("app").spawn(connect)

    assert outputs(kernel) == {"error": "ETIMEDOUT", "after": 127}


def test_data_that_never_gets_through_ends_the_connection_with_etimedout() -> None:
    async def kernel(world: toron.World) -> None:
        async def hold(reader: Reader, writer: Writer) -> None:
            await reader.read()

        async def talk() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            await world.sleep(1)
            world.net.partition("app", "db")
            writer.write(b"x")
            with pytest.raises(TimeoutError) as caught:
                await reader.read()
            world.record("error", errno.errorcode[caught.value.errno or 0])
            world.record("after a quarter of an hour", 900 < world.now < 1_100)
            writer.close()

        world.host("db").spawn(serve, hold)
        await world.sleep(1)
        await world.host("app").spawn(talk)

    assert outputs(kernel) == {"error": "ETIMEDOUT", "after a quarter of an hour": True}


def test_a_crash_leaves_the_peer_half_open_and_the_restarted_host_resets_it() -> None:
    async def kernel(world: toron.World) -> None:
        async def hold(reader: Reader, writer: Writer) -> None:
            try:
                await reader.read()
            finally:
                world.unreachable("a finally block ran on a host without power")

        async def talk() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            waiting = asyncio.create_task(reader.read())
            await world.sleep(10)
            world.record("told of the crash", waiting.done())
            writer.write(b"are you there?")
            await world.sleep(10)
            world.record("told while down", waiting.done())
            await world.sleep(40)
            world.record("after the restart", type(waiting.exception()).__name__)
            writer.close()

        db = world.host("db")
        db.spawn(serve, hold)
        await world.sleep(1)
        task = world.host("app").spawn(talk)
        await world.sleep(5)
        db.crash()
        await world.sleep(20)
        db.restart()
        await task

    assert outputs(kernel) == {
        "told of the crash": False,
        "told while down": False,
        "after the restart": "ConnectionResetError",
    }


def test_a_restarted_host_serves_again_and_remembers_nothing() -> None:
    async def kernel(world: toron.World) -> None:
        async def serve_a_counter() -> None:
            served = 0

            async def count(reader: Reader, writer: Writer) -> None:
                nonlocal served
                served += 1
                writer.write(str(served).encode())
                writer.close()

            await serve(count)

        async def ask() -> str:
            reader, _ = await asyncio.open_connection("db", 9000)
            return (await reader.read()).decode()

        db, app = world.host("db"), world.host("app")
        db.spawn(serve_a_counter)
        await world.sleep(1)
        before = [await app.spawn(ask), await app.spawn(ask)]
        db.restart()
        await world.sleep(1)
        world.record("answers", [*before, await app.spawn(ask)])

    assert outputs(kernel) == {"answers": ["1", "2", "1"]}


@pytest.mark.parametrize("seed", range(8))
def test_bytes_arrive_in_order_and_whole_however_they_are_split_and_delayed(seed: int) -> None:
    async def kernel(world: toron.World) -> None:
        pieces: list[bytes] = []

        async def collect(reader: Reader, writer: Writer) -> None:
            while piece := await reader.read(65_536):
                pieces.append(piece)

        async def send() -> None:
            _, writer = await asyncio.open_connection("db", 9000)
            for number in range(200):
                writer.write(f"{number:04}".encode() * 3)
                if number % 7 == 0:
                    await world.sleep(0.01)
            writer.close()

        world.host("db").spawn(serve, collect)
        await world.sleep(1)
        app = world.host("app")
        world.net.link(app, "db", latency=(0.001, 0.2), loss=0.2, bandwidth=100_000)
        await app.spawn(send)
        await world.sleep(300)
        expected = b"".join(f"{number:04}".encode() * 3 for number in range(200))
        world.record("whole", b"".join(pieces) == expected)

    assert outputs(kernel, seed) == {"whole": True}


def test_small_writes_are_now_and_then_split() -> None:
    async def kernel(world: toron.World) -> None:
        sizes: list[int] = []

        async def collect(reader: Reader, writer: Writer) -> None:
            while piece := await reader.read(100):
                sizes.append(len(piece))

        async def send() -> None:
            _, writer = await asyncio.open_connection("db", 9000)
            for _ in range(200):
                writer.write(b"ab")
                await world.sleep(1)
            writer.close()

        world.host("db").spawn(serve, collect)
        await world.sleep(1)
        await world.host("app").spawn(send)
        await world.sleep(9)
        world.record("ones", sizes.count(1))
        world.record("sum", sum(sizes))

    found = outputs(kernel)
    assert found["sum"] == 400
    assert 20 < found["ones"] < 90


def test_a_reset_fault_ends_both_ends() -> None:
    async def kernel(world: toron.World) -> None:
        ends: list[str] = []

        async def hold(reader: Reader, writer: Writer) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
                return
            ends.append("server")

        async def talk() -> None:
            reader, _ = await asyncio.open_connection("db", 9000)
            with contextlib.suppress(ConnectionError):
                await reader.read()
                return
            ends.append("client")

        world.host("db").spawn(serve, hold)
        await world.sleep(1)
        world.host("app").spawn(talk)
        await world.sleep(1)
        world.faults(resets=True, within=10)
        await world.sleep(11)
        world.record("ends", sorted(ends))

    assert outputs(kernel) == {"ends": ["client", "server"]}


def test_a_connection_to_oneself_works_by_name_by_address_and_by_loopback() -> None:
    async def kernel(world: toron.World) -> None:
        async def run() -> None:
            async def greet(reader: Reader, writer: Writer) -> None:
                peer = writer.get_extra_info("peername")[0]
                writer.write(peer.encode())
                writer.close()

            async with await listen(greet):
                seen = []
                for name in ("db", "localhost", "127.0.0.1", "10.0.0.2"):
                    reader, writer = await asyncio.open_connection(name, 9000)
                    seen.append((await reader.read()).decode())
                    writer.close()
                world.record("seen", seen)

        await world.host("db").spawn(run)

    assert outputs(kernel) == {"seen": ["10.0.0.2", "127.0.0.1", "127.0.0.1", "10.0.0.2"]}


def test_loopback_of_another_host_is_not_reached() -> None:
    async def kernel(world: toron.World) -> str:
        async def nothing(reader: Reader, writer: Writer) -> None:
            writer.close()

        async def local() -> None:
            async with await asyncio.start_server(nothing, "127.0.0.1", 9000) as server:
                await server.serve_forever()

        world.host("db").spawn(local)
        await world.sleep(1)
        for name in ("127.0.0.1", "db"):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(name, 9000)
        return "refused"

    assert outputs(kernel) == {"result": "refused"}


def test_what_was_in_flight_when_the_sender_lost_power_is_lost() -> None:
    async def kernel(world: toron.World) -> None:
        received: list[bytes] = []

        async def collect(reader: Reader, writer: Writer) -> None:
            while piece := await reader.read(100):
                received.append(piece)

        async def send() -> None:
            _, writer = await asyncio.open_connection("db", 9000)
            writer.write(b"early")
            await world.sleep(3)
            writer.write(b"late")
            app.crash()

        world.host("db").spawn(serve, collect)
        app = world.host("app")
        world.net.link("app", "db", latency=0.5)
        await world.sleep(1)
        app.spawn(send)
        await world.sleep(20)
        world.record("received", received)

    assert outputs(kernel) == {"received": [{"$bytes": b"early".hex()}]}
