"""The in-process face: `toron.run` and its kin, called from a test or a script."""

import asyncio
import functools
import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron

HERE = Path(__file__)


@toron.kernel
async def in_this_file(world: toron.World) -> None:
    world.record("pid is not ours", __import__("os").getpid() != _PID)
    await world.sleep(1)


_PID = __import__("os").getpid()


@toron.kernel(seeds=3, time_limit=9)
async def with_options(world: toron.World) -> None:
    await world.sleep(1)


# Explored by the tests below, and not by the plugin of pytest.
in_this_file.__test__ = with_options.__test__ = False


async def plain() -> int:
    await asyncio.sleep(1)
    return 42


def test_a_plain_async_function_is_explored_as_it_is() -> None:
    outcome = toron.run(plain, seed=1)
    assert outcome.ok
    assert (outcome.kernel, outcome.outputs) == ("plain", {"result": 42})


def test_a_kernel_in_a_file_runs_in_a_process_of_its_own() -> None:
    outcome = toron.run(in_this_file, seed=1, chaos_seed=2)
    assert outcome.outputs == {"pid is not ours": True}
    assert (outcome.sim_seed, outcome.chaos_seed) == (1, 2)


def test_a_closure_sees_what_it_encloses_and_leaves_it_as_it_was() -> None:
    enclosed = [1]

    async def closure() -> list[int]:
        enclosed.append(2)
        return enclosed

    for _ in range(2):
        assert toron.run(closure, seed=1).outputs == {"result": [1, 2]}
    assert enclosed == [1]


def test_equal_seeds_are_equal_outcomes_and_other_seeds_are_not() -> None:
    async def racing() -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            order.append(number)

        await asyncio.gather(*[one(number) for number in range(6)])
        return order

    first, again, other = (toron.run(racing, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.outputs != other.outputs


def test_two_processes_give_one_digest(program: Callable[..., Path], tmp_path: Path) -> None:
    path = program(
        """
        import asyncio, random, sys
        import toron

        async def kernel():
            await asyncio.sleep(random.random())
            return random.random()

        if __name__ == "__main__":
            print(toron.run(kernel, seed=7).trace_digest)
        """
    )
    digests = {
        subprocess.run(
            [sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    digests.add(toron.run(toron.KernelRef(path, "kernel"), seed=7).trace_digest)
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_what_a_kernel_prints_stays_out_of_the_callers_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def closure() -> None:
        print("from a closure")
        print("to stderr", file=sys.stderr)

    execution = toron.execute(closure, seed=1)
    assert capfd.readouterr() == ("", "")
    assert sorted(execution.stderr.splitlines()) == ["from a closure", "to stderr"]
    assert "from a closure" not in str(toron.execute(in_this_file, seed=1))


def test_a_partial_function_is_a_kernel_too() -> None:
    async def closure(number: int, world: toron.World) -> None:
        world.record("number", number)

    assert toron.run(functools.partial(closure, 7), seed=1).outputs == {"number": 7}


def test_what_the_caller_has_printed_is_not_printed_again_by_the_fork(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    path = program(
        """
        import toron

        def main():
            async def closure():
                pass

            print("once", end="")
            toron.run(closure, seed=1)

        main()
        """
    )
    done = subprocess.run(
        [sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "once"


def test_the_callers_world_is_real_again_after_a_run() -> None:
    import random
    import socket
    import time

    before = (time.time, socket.socket, random.Random.seed, asyncio.as_completed)

    async def closure() -> None:
        await asyncio.sleep(10_000)

    begin = time.monotonic()
    toron.run(closure, seed=1)
    assert time.monotonic() - begin < 5
    assert time.time() > 1_770_000_000
    assert before == (time.time, socket.socket, random.Random.seed, asyncio.as_completed)


def test_exploring_uses_the_seeds_and_the_limit_that_a_kernel_asks_for() -> None:
    assert toron.explore(with_options).seeds_run == 3
    assert toron.explore(with_options, seeds=[5, 7]).seeds_run == 2


def test_a_replay_is_the_same_outcome() -> None:
    outcome = toron.run(in_this_file, seed=3)
    assert toron.replay(outcome.token) == outcome


def test_an_outcome_survives_json() -> None:
    async def closure(world: toron.World) -> None:
        world.record("x", {1: [b"\xff", 2**70]})
        world.unreachable("end")

    outcome = toron.run(closure, seed=1)
    assert toron.Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: toron.run(print, seed=1), "print is not an async function"),
        (lambda: toron.run(plain, seed=-1), "seed -1 must be a whole number"),
        (lambda: toron.run(plain, seed=1, chaos_seed=2**64), "chaos_seed .* must be"),
        (lambda: toron.kernel(seeds=0), "must be above 0"),
        (lambda: toron.kernel(lambda world: None), "is not an async function"),
        (lambda: toron.replay("nonsense"), "is not a replay token"),
    ],
)
def test_bad_input_is_one_kind_of_error(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(toron.BadKernel, match=message):
        call()


def test_a_closure_cannot_be_verified_and_the_error_says_why() -> None:
    async def closure() -> None: ...

    with pytest.raises(toron.BadKernel, match="does not stand in a file"):
        toron.verify(closure, seeds=[1])


def test_a_closure_that_kills_its_process_is_an_error_and_no_hang() -> None:
    async def closure() -> None:
        __import__("os")._exit(3)

    with pytest.raises(toron.ToronError, match="died"):
        toron.run(closure, seed=1)


def test_what_the_package_offers_can_be_imported() -> None:
    for name in toron.__all__:
        assert getattr(toron, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        toron.nothing  # noqa: B018


def test_a_proxy_in_a_module_that_refuses_every_question_stops_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Proxy:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError("not within a request")

    module = types.ModuleType("with_proxy")
    module.__dict__["request"] = Proxy()
    monkeypatch.setitem(sys.modules, "with_proxy", module)

    async def kernel() -> int:
        return 1

    assert toron.run(kernel, seed=1).outputs["result"] == 1
