"""What a kernel may say to its world, and how a wrong word is refused."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import toron


def world_says(act: Callable[[toron.World], Any]) -> Any:
    """The outcome of a kernel that does only this."""

    async def kernel(world: toron.World) -> None:
        world.record("said", act(world))

    return toron.run(kernel, seed=1)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda w: w.host("DB"), "host name 'DB' must be a lower-case word"),
        (lambda w: w.host(""), "host name '' must be"),
        (lambda w: w.host("a.b"), "host name 'a.b' must be"),
        (lambda w: w.host("localhost"), "other than localhost"),
        (lambda w: w.net.link("a", "b", latency=(2, 1)), "latency (2, 1) must be"),
        (lambda w: w.net.link("a", "b", latency=-1), "latency -1 must be"),
        (lambda w: w.net.link("a", "b", loss=1), "loss 1 must be"),
        (lambda w: w.net.link("a", "b", bandwidth=0), "bandwidth 0 must be"),
        (lambda w: w.record("x", object()), "x is a object, which has no stable form"),
        (lambda w: w.host("a").spawn(print), "must be an async function"),
    ],
)
def test_a_wrong_word_is_refused_with_the_word(act: Any, message: str) -> None:
    failure = world_says(act).failure
    assert failure is not None
    assert failure.kind == "exception"
    assert message in failure.message


def test_names_resolve_in_both_directions_and_unknown_ones_do_not() -> None:
    async def kernel(world: toron.World) -> None:
        world.host("db")

        def ask(*arguments: Any, **more: Any) -> Any:
            return [answer[4] for answer in socket.getaddrinfo(*arguments, **more)]

        only_tcp = {"type": socket.SOCK_STREAM}
        world.record("db", ask("db", 80, **only_tcp))
        world.record("service", ask("db", "http", **only_tcp))
        world.record("literal", ask("10.9.9.9", 1, **only_tcp))
        world.record("v6", ask("::1", 1, **only_tcp))
        world.record("passive", ask(None, 1, flags=socket.AI_PASSIVE, **only_tcp))
        world.record("byname", socket.gethostbyname("db"))
        world.record("me", [socket.gethostname(), socket.getfqdn()])
        for name in ("nowhere", "db.example.com"):
            with pytest.raises(socket.gaierror) as caught:
                await asyncio.open_connection(name, 80)
            assert caught.value.errno == socket.EAI_NONAME
        with pytest.raises(socket.gaierror):
            ask("db", "no-such-service")

    outcome = toron.run(kernel, seed=1)
    assert outcome.verdict == "pass", outcome.failure
    assert outcome.outputs == {
        "db": [["10.0.0.2", 80]],
        "service": [["10.0.0.2", 80]],
        "literal": [["10.9.9.9", 1]],
        "v6": [["::1", 1, 0, 0]],
        "passive": [["0.0.0.0", 1], ["::", 1, 0, 0]],
        "byname": "10.0.0.2",
        "me": ["main", "main"],
    }


def test_a_host_keeps_its_name_for_everything_it_starts() -> None:
    async def kernel(world: toron.World) -> None:
        seen: list[str] = []

        async def deep() -> None:
            seen.append(socket.gethostname())

        async def main() -> None:
            await asyncio.gather(deep(), asyncio.create_task(deep()))
            asyncio.get_running_loop().call_later(1, lambda: seen.append(socket.gethostname()))

        await world.host("db").spawn(main)
        await world.sleep(2)
        world.record("seen", [*seen, socket.gethostname()])

    assert toron.run(kernel, seed=1).outputs == {"seen": ["db", "db", "db", "main"]}


def test_a_crash_runs_no_finally_and_fires_no_timer_of_the_host() -> None:
    async def kernel(world: toron.World) -> None:
        touched: list[str] = []

        async def generate() -> Any:
            try:
                yield 1
            finally:
                touched.append("generator")

        async def main() -> None:
            asyncio.get_running_loop().call_later(5, touched.append, "timer")
            try:
                async for _ in generate():
                    await asyncio.sleep(100)
            finally:
                touched.append("finally")

        host = world.host("db")
        host.spawn(main)
        await world.sleep(1)
        host.crash()
        host.crash()
        world.record("up", host.up)
        with pytest.raises(RuntimeError, match="host db is down"):
            host.spawn(main)
        await world.sleep(200)
        world.record("touched", touched)

    assert toron.run(kernel, seed=1).outputs == {"up": False, "touched": []}


def test_an_exception_on_a_host_that_nobody_awaits_fails_the_run_and_names_the_host() -> None:
    async def kernel(world: toron.World) -> None:
        async def main() -> None:
            await asyncio.sleep(1)
            raise RuntimeError("disk on fire")

        world.host("db").spawn(main)
        await world.sleep(5)

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert "disk on fire" in failure.message
    assert " on db, and nobody awaited it" in failure.message
    assert failure.virtual_ns == pytest.approx(1e9, rel=1e-4)


def test_a_later_output_replaces_an_earlier_one_and_both_are_in_the_trace() -> None:
    def kernel_with(first: int) -> Any:
        async def kernel(world: toron.World) -> None:
            world.record("x", first)
            world.record("x", 2)

        return kernel

    one, other = (toron.run(kernel_with(first), seed=1) for first in (0, 1))
    assert one.outputs == other.outputs == {"x": 2}
    assert one.trace_digest != other.trace_digest
