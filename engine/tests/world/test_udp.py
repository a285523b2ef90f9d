"""UDP across hosts: loss, duplicates, order, full buffers, refusals, broadcast and groups."""

import asyncio
import errno
import itertools
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.core.choices import SeededChoices
from toron.world.links import Link, Links

PROGRAM = Path(__file__).parents[1] / "programs" / "hostile_network.py"


def outputs(kernel: Any, seed: int = 1) -> dict[str, Any]:
    outcome = toron.run(kernel, seed=seed)
    assert outcome.verdict == "pass", outcome.failure
    return outcome.outputs


class Inbox(asyncio.DatagramProtocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.errors: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append((data.decode(), addr))

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self.errors.append(errno.errorcode[exc.errno or 0])


async def open_inbox(port: int, host: str = "0.0.0.0", **options: Any) -> Inbox:
    loop = asyncio.get_running_loop()
    _, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=(host, port), **options)
    return inbox


async def count_to_db(count: int, pause: float = 0.0) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Inbox, remote_addr=("db", 9000))
    for number in range(count):
        transport.sendto(str(number).encode())
        if pause:
            await asyncio.sleep(pause)
    await asyncio.sleep(5)
    transport.close()


def numbers_heard(seed: int = 1, pause: float = 0.0, **link: Any) -> list[int]:
    async def kernel(world: toron.World) -> list[int]:
        inboxes: list[Inbox] = []

        async def listen() -> None:
            inboxes.append(await open_inbox(9000))

        await world.host("db").spawn(listen)
        if link:
            world.net.link("app", "db", **link)
        await world.host("app").spawn(count_to_db, 200, pause)
        return [int(text) for text, _ in inboxes[0].heard]

    heard: list[int] = outputs(kernel, seed)["result"]
    return heard


def test_an_ordinary_link_delivers_every_datagram_once_and_in_order() -> None:
    assert numbers_heard() == list(range(200))


def test_a_lossy_link_loses_about_its_share_for_ever() -> None:
    heard = numbers_heard(loss=0.2)
    assert heard == sorted(heard)
    assert 135 < len(heard) < 185


def test_a_duplicating_link_doubles_about_its_share() -> None:
    heard = numbers_heard(duplicate=0.3)
    assert set(heard) == set(range(200))
    assert 235 < len(heard) < 290


def test_a_reordering_link_lets_datagrams_be_overtaken() -> None:
    heard = numbers_heard(reorder=0.2, pause=0.0005)
    assert sorted(heard) == list(range(200))
    late = sum(1 for one, other in itertools.pairwise(heard) if other < one)
    assert 10 < late < 60


def test_what_a_fault_adds_to_a_link_can_be_taken_back() -> None:
    links = Links(SeededChoices(1, 0))
    links.set("a", "b", Link(latency=(1, 1)))
    links.duplicate("a", "b", 1.0)
    assert len(links.datagram_ns("a", "b", 10, 0)) == 2
    links.duplicate("a", "b", None)
    links.reorder("a", "b", 1.0)
    assert links.datagram_ns("a", "b", 10, 0) == [5_000_000_000]
    assert links.ailing() == ["a>b"]
    links.reorder("a", "b", None)
    assert links.datagram_ns("a", "b", 10, 0) == [1_000_000_000]
    assert links.ailing() == []


def test_a_partition_drops_datagrams_silently_and_healing_brings_none_back() -> None:
    async def kernel(world: toron.World) -> None:
        inboxes: list[Inbox] = []

        async def listen() -> None:
            inboxes.append(await open_inbox(9000))

        await world.host("db").spawn(listen)
        task = world.host("app").spawn(count_to_db, 10, 1.0)
        await world.sleep(2.5)
        world.net.partition("app", "db")
        await world.sleep(3)
        world.net.heal("app", "db")
        await task
        world.record("heard", [int(text) for text, _ in inboxes[0].heard])

    assert outputs(kernel) == {"heard": [0, 1, 2, 6, 7, 8, 9]}


def test_a_connected_socket_is_refused_by_a_host_that_is_up_and_never_by_one_that_is_down() -> None:
    async def kernel(world: toron.World) -> None:
        async def ask() -> list[str]:
            loop = asyncio.get_running_loop()
            transport, inbox = await loop.create_datagram_endpoint(Inbox, remote_addr=("db", 9000))
            transport.sendto(b"anybody?")
            await asyncio.sleep(1)
            transport.close()
            return inbox.errors

        db, app = world.host("db"), world.host("app")
        world.record("up", await app.spawn(ask))
        db.crash()
        world.record("down", await app.spawn(ask))

    assert outputs(kernel) == {"up": ["ECONNREFUSED"], "down": []}


def test_a_full_receive_buffer_drops_the_newest() -> None:
    async def kernel(world: toron.World) -> None:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5_000)
        receiver.bind(("127.0.0.1", 9000))
        receiver.setblocking(False)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range(100):
            sender.sendto(bytes([number]) * 1_000, ("127.0.0.1", 9000))
        await world.sleep(1)
        seen = []
        while True:
            try:
                seen.append(receiver.recv(2_000)[0])
            except BlockingIOError:
                break
        world.record("seen", seen)
        receiver.close()
        sender.close()

    assert outputs(kernel) == {"seen": list(range(7))}


def test_a_broadcast_reaches_every_host_that_listens_and_needs_permission() -> None:
    async def kernel(world: toron.World) -> None:
        inboxes: dict[str, Inbox] = {}

        async def listen(name: str) -> None:
            inboxes[name] = await open_inbox(9000)

        async def shout() -> None:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with pytest.raises(PermissionError):
                one.sendto(b"hello", ("255.255.255.255", 9000))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            one.sendto(b"hello", ("<broadcast>", 9000))
            await asyncio.sleep(1)
            one.close()

        for name in ("a", "b"):
            await world.host(name).spawn(listen, name)
        world.host("deaf")
        await world.host("b").spawn(shout)
        world.record("heard", {name: inbox.heard for name, inbox in inboxes.items()})

    heard = outputs(kernel)["heard"]
    assert [[text for text, _ in heard[name]] for name in ("a", "b")] == [["hello"], ["hello"]]
    assert heard["a"][0][1][0] == "10.0.0.3"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_group_is_heard_by_the_hosts_that_joined_it(family: int) -> None:
    is_v6 = family == socket.AF_INET6
    group = "ff02::fb" if is_v6 else "224.0.0.251"

    def mdns_socket(joins: bool) -> socket.socket:
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("", 5353))
        if joins and is_v6:
            index = socket.if_nametoindex("eth0")
            request = socket.inet_pton(family, group) + struct.pack("I", index)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        elif joins:
            request = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")
            one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        return one

    async def kernel(world: toron.World) -> None:
        heard: dict[str, list[Any]] = {}
        loop = asyncio.get_running_loop()

        async def listen(name: str, joins: bool, sockets: int) -> None:
            heard[name] = []
            for _ in range(sockets):
                _, inbox = await loop.create_datagram_endpoint(Inbox, sock=mdns_socket(joins))
                heard[name].append(inbox.heard)

        async def announce() -> None:
            one = socket.socket(family, socket.SOCK_DGRAM)
            one.sendto(b"here", (group, 5353))
            await asyncio.sleep(1)
            one.close()

        await world.host("a").spawn(listen, "a", True, 2)
        await world.host("b").spawn(listen, "b", False, 1)
        await world.host("c").spawn(announce)
        world.record("counts", {name: [len(each) for each in all_] for name, all_ in heard.items()})
        world.record("from", list(heard["a"][0][0][1]))

    found = outputs(kernel)
    assert found["counts"] == {"a": [1, 1], "b": [0]}
    sender = found["from"]
    assert sender[:1] + sender[2:] == (["fe80::4", 0, 2] if is_v6 else ["10.0.0.4"])


def test_sockets_of_one_port_by_reuseport_share_its_datagrams_and_each_gets_some() -> None:
    async def kernel(world: toron.World) -> None:
        inboxes = [await open_inbox(9000, "127.0.0.1", reuse_port=True) for _ in range(2)]
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(40):
            one.sendto(b"x", ("127.0.0.1", 9000))
        await world.sleep(1)
        counts = [len(inbox.heard) for inbox in inboxes]
        world.record("each", all(5 < count < 35 for count in counts))
        world.record("all", sum(counts))
        one.close()

    assert outputs(kernel) == {"each": True, "all": 40}


def test_link_local_addresses_carry_their_zone() -> None:
    async def kernel(world: toron.World) -> None:
        inboxes: list[Inbox] = []

        async def listen() -> None:
            loop = asyncio.get_running_loop()
            _, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=("::", 9000))
            inboxes.append(inbox)

        async def send() -> None:
            target = socket.getaddrinfo("fe80::2%eth0", 9000, type=socket.SOCK_DGRAM)[0][4]
            world.record("target", list(target))
            one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            one.sendto(b"near", target)
            await asyncio.sleep(1)
            one.close()

        await world.host("db").spawn(listen)
        await world.host("app").spawn(send)
        text, sender = inboxes[0].heard[0]
        world.record("heard", [text, sender[0], sender[3]])

    found = outputs(kernel)
    assert found == {"target": ["fe80::2", 9000, 0, 2], "heard": ["near", "fe80::3", 2]}


def test_two_processes_see_the_same_datagrams_in_the_same_order() -> None:
    reference = toron.KernelRef(PROGRAM, "datagrams_over_a_bad_link")
    verification = toron.verify(reference, seeds=range(3), hash_seeds="varied")
    assert verification.first_divergence is None
    assert verification.identical == 3
    heard = [toron.run(reference, seed=seed).outputs["heard"] for seed in range(2)]
    assert heard[0] != heard[1]
