"""Options that act, IPv6, keep-alive, buffers, black holes and resets of simulated sockets."""

import asyncio
import contextlib
import errno
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable
from typing import Any

import pytest

import toron

_TCP_USER_TIMEOUT = 18


def outputs(kernel: Any, seed: int = 1) -> dict[str, Any]:
    outcome = toron.run(kernel, seed=seed)
    assert outcome.verdict == "pass", outcome.failure
    return outcome.outputs


async def hold(reader: Reader, writer: Writer) -> None:
    with contextlib.suppress(OSError):
        await reader.read()


async def serve(handler: Any = hold) -> None:
    server = await asyncio.start_server(handler, "0.0.0.0", 9000)
    async with server:
        await server.serve_forever()


def keep_alive(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def reader_that_waits(
    event: Callable[[toron.World], object], *, keeps: bool, wait: float = 600
) -> dict[str, Any]:
    """What a client that only reads learns, and when, after ``event`` at 5 s."""

    async def kernel(world: toron.World) -> None:
        async def wait_for_news() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            if keeps:
                keep_alive(writer.get_extra_info("socket"))
            try:
                async with asyncio.timeout(wait):
                    news: Any = (await reader.read()).decode()
            except OSError as error:
                news = errno.errorcode[error.errno] if error.errno else "nothing"
            world.record("news", [news, round(world.now)])
            writer.transport.abort()  # type: ignore[attr-defined]

        world.host("db").spawn(serve)
        await world.sleep(1)
        task = world.host("app").spawn(wait_for_news)
        await world.sleep(4)
        event(world)
        await task

    return outputs(kernel)


def crash(world: toron.World) -> None:
    world.host("db").crash()


def reboot(world: toron.World) -> None:
    world.host("db").restart()


def test_keep_alive_finds_a_peer_that_lost_power() -> None:
    # Idle for 10 s from 1 s on, then three probes, 5 s apart, that nobody answers.
    assert reader_that_waits(crash, keeps=True) == {"news": ["ETIMEDOUT", 26]}


def test_keep_alive_is_answered_with_a_reset_by_a_peer_that_has_booted_again() -> None:
    assert reader_that_waits(reboot, keeps=True) == {"news": ["ECONNRESET", 11]}


@pytest.mark.parametrize("event", [crash, reboot])
def test_without_keep_alive_a_reader_stays_half_open(event: Any) -> None:
    assert reader_that_waits(event, keeps=False) == {"news": ["nothing", 601]}


def test_keep_alive_gives_up_through_a_partition_and_holds_through_a_short_one() -> None:
    def cut(world: toron.World) -> None:
        world.net.partition("app", "db")

    def cut_briefly(world: toron.World) -> None:
        world.net.partition("app", "db")
        asyncio.get_running_loop().call_later(12, world.net.heal)

    assert reader_that_waits(cut, keeps=True) == {"news": ["ETIMEDOUT", 26]}
    assert reader_that_waits(cut_briefly, keeps=True) == {"news": ["nothing", 601]}


def test_keep_alive_finds_a_black_hole_and_nothing_else_does() -> None:
    def swallow(world: toron.World) -> None:
        world.net.blackhole("app", "db")

    assert reader_that_waits(swallow, keeps=True) == {"news": ["ETIMEDOUT", 26]}
    assert reader_that_waits(swallow, keeps=False) == {"news": ["nothing", 601]}


def test_a_reset_by_the_network_is_seen_at_once() -> None:
    def reset(world: toron.World) -> None:
        world.net.reset("app", "db")

    assert reader_that_waits(reset, keeps=False) == {"news": ["ECONNRESET", 5]}


def test_idle_connections_with_keep_alive_do_not_hide_a_deadlock() -> None:
    async def kernel(world: toron.World) -> None:
        world.host("db").spawn(serve)
        await world.sleep(1)
        reader, writer = await asyncio.open_connection("db", 9000)
        keep_alive(writer.get_extra_info("socket"))
        await reader.read()

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert failure.kind == "deadlock"


def test_a_user_timeout_ends_a_connection_whose_data_does_not_get_through() -> None:
    async def kernel(world: toron.World) -> None:
        async def talk() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            one = writer.get_extra_info("socket")
            one.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, 20_000)
            world.net.partition("app", "db")
            writer.write(b"x")
            with pytest.raises(TimeoutError):
                await reader.read()
            world.record("soon", 20 < world.now < 60)
            writer.transport.abort()  # type: ignore[attr-defined]

        world.host("db").spawn(serve)
        await world.sleep(1)
        await world.host("app").spawn(talk)

    assert outputs(kernel) == {"soon": True}


def test_a_black_hole_stops_open_connections_only_until_it_is_healed() -> None:
    async def kernel(world: toron.World) -> None:
        async def echo(reader: Reader, writer: Writer) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        async def talk() -> None:
            reader, writer = await asyncio.open_connection("db", 9000)
            world.net.blackhole("app", "db")
            writer.write(b"swallowed\n")
            answer = asyncio.create_task(reader.readline())
            await world.sleep(10)
            world.record("answered", answer.done())
            _, other = await asyncio.open_connection("db", 9000)
            world.record("a new connection", other.get_extra_info("peername")[1])
            other.close()
            world.net.heal("app", "db")
            world.record("answer", (await answer).decode())
            writer.close()

        world.host("db").spawn(serve, echo)
        await world.sleep(1)
        await world.host("app").spawn(talk)

    found = outputs(kernel)
    assert found == {"answered": False, "a new connection": 9000, "answer": "swallowed\n"}


@pytest.mark.parametrize("address", ["db", "fd00::2", "10.0.0.2", "fe80::2%eth0"])
def test_a_host_is_reached_by_each_of_its_addresses(address: str) -> None:
    async def kernel(world: toron.World) -> None:
        async def greet(reader: Reader, writer: Writer) -> None:
            names = [writer.get_extra_info(name)[0] for name in ("sockname", "peername")]
            writer.write(" ".join(names).encode())
            writer.close()

        async def listen() -> None:
            await asyncio.start_server(greet, None, 9000)

        async def ask() -> str:
            family = socket.AF_INET6 if ":" in address else 0
            reader, writer = await asyncio.open_connection(address, 9000, family=family)
            answer = (await reader.read()).decode()
            writer.close()
            return answer

        await world.host("db").spawn(listen)
        world.record("names", await world.host("app").spawn(ask))

    expected = {
        "db": "10.0.0.2 10.0.0.3",
        "10.0.0.2": "10.0.0.2 10.0.0.3",
        "fd00::2": "fd00::2 fd00::3",
        "fe80::2%eth0": "fe80::2 fe80::3",
    }
    assert outputs(kernel) == {"names": expected[address]}


def test_names_have_an_ipv6_address_when_it_is_asked_for() -> None:
    async def kernel(world: toron.World) -> None:
        world.host("db")
        stream = {"type": socket.SOCK_STREAM}
        for name in ("db", "localhost"):
            both = socket.getaddrinfo(name, 80, **stream)
            six = socket.getaddrinfo(name, 80, socket.AF_INET6, **stream)
            world.record(name, [one[4][0] for one in (*both, *six)])
        world.record("reverse", socket.getnameinfo(("fd00::2", 80), 0))
        world.record("by address", socket.gethostbyaddr("10.0.0.2"))
        world.record("ex", socket.gethostbyname_ex("db"))
        world.record("canon", socket.getaddrinfo("db", 1, flags=socket.AI_CANONNAME)[0][3])
        world.record("interfaces", socket.if_nameindex())
        world.record("service", [socket.getservbyname("https"), socket.getservbyport(5353)])

    assert outputs(kernel) == {
        "db": ["10.0.0.2", "fd00::2"],
        "localhost": ["127.0.0.1", "::1"],
        "reverse": ["db", "http"],
        "by address": ["db", [], ["10.0.0.2"]],
        "ex": ["db", [], ["10.0.0.2"]],
        "canon": "db",
        "interfaces": [[1, "lo"], [2, "eth0"]],
        "service": [443, "mdns"],
    }


def test_small_buffers_make_a_small_window() -> None:
    async def kernel(world: toron.World) -> None:
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 3_000)
        listener.bind(("127.0.0.1", 9000))
        listener.listen()
        listener.setblocking(False)
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5_000)
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", 9000))
        other, _ = await loop.sock_accept(listener)
        await world.sleep(1)
        world.record("taken", one.send(bytes(100_000)))
        for each in (one, other, listener):
            each.close()

    assert outputs(kernel) == {"taken": 8_000}


def test_listeners_that_share_a_port_share_its_connections() -> None:
    async def kernel(world: toron.World) -> None:
        counts = [0, 0]

        def counting(number: int) -> Any:
            async def count(reader: Reader, writer: Writer) -> None:
                counts[number] += 1
                writer.close()

            return count

        servers = [
            await asyncio.start_server(counting(number), "127.0.0.1", 9000, reuse_port=True)
            for number in range(2)
        ]
        for _ in range(40):
            reader, writer = await asyncio.open_connection("127.0.0.1", 9000)
            await reader.read()
            writer.close()
        for server in servers:
            server.close()
        world.record("each", all(5 < count < 35 for count in counts))

    assert outputs(kernel) == {"each": True}
