"""A plan of faults is drawn from CHAOS_SEED only, and is over by its horizon."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import toron
from toron.core.agenda import Agenda
from toron.core.choices import SeededChoices
from toron.core.clock import Clock
from toron.core.places import Places
from toron.core.selector import Descriptors
from toron.core.trace import Trace
from toron.world.faults import FaultPlanner
from toron.world.network import Network

ALL: dict[str, Any] = {
    "partitions": True,
    "crashes": True,
    "loss": True,
    "slow": True,
    "resets": True,
}
LINE = re.compile(r"(\d+\.\d{3})-(\d+\.\d{3}) s (crash|partition|slow|lose|reset connections) ")


def plan_of(
    chaos_seed: int,
    *,
    sim_seed: int = 1,
    hosts: str = "abc",
    within: float = 30.0,
    kinds: Sequence[str] = tuple(ALL),
) -> list[str]:
    """The plan as the planner draws it, without a run around it."""
    clock, agenda = Clock(), Agenda()
    choices = SeededChoices(sim_seed, chaos_seed)
    trace = Trace(clock, "digest", Places(Path(__file__).parent))
    network = Network(
        clock=clock, agenda=agenda, choices=choices, trace=trace, descriptors=Descriptors()
    )
    named: list[Any] = [SimpleNamespace(name=name, crash=None) for name in hosts]
    return FaultPlanner(clock, agenda, choices, choices, network).draw(kinds, named, within)


def test_the_plan_that_a_kernel_gets_is_the_plan_of_its_outcome() -> None:
    async def kernel(world: toron.World) -> None:
        for name in "abc":
            world.host(name)
        world.record("plan", world.faults(**ALL))

    outcome = toron.run(kernel, seed=1, chaos_seed=4)
    assert outcome.faults == outcome.outputs["plan"] == plan_of(4)


def test_the_same_chaos_seed_draws_the_same_plan_under_any_schedule() -> None:
    assert plan_of(4, sim_seed=1) == plan_of(4, sim_seed=2) != plan_of(5)


def test_every_fault_begins_and_ends_within_the_horizon() -> None:
    for chaos_seed in range(50):
        plan = plan_of(chaos_seed, within=7.0)
        assert plan
        for line in plan:
            match = LINE.match(line)
            assert match, line
            assert 0 <= float(match[1]) <= float(match[2]) <= 7.0
        assert plan == sorted(plan, key=lambda line: float(line.split("-")[0]))


def test_runs_use_different_subsets_of_the_kinds() -> None:
    subsets = set()
    for chaos_seed in range(50):
        plan = plan_of(chaos_seed)
        subsets.add(frozenset(line.split()[2] for line in plan))
    assert len(subsets) > 5


@pytest.mark.parametrize("kind", sorted(ALL))
def test_only_the_allowed_kinds_are_drawn(kind: str) -> None:
    words = {
        "crashes": "crash",
        "loss": "lose",
        "partitions": "partition",
        "resets": "reset",
        "slow": "slow",
    }
    assert {line.split()[2] for line in plan_of(3, kinds=[kind])} == {words[kind]}


def test_only_the_named_hosts_suffer() -> None:
    async def kernel(world: toron.World) -> None:
        for name in "abc":
            world.host(name)
        world.faults(**ALL, hosts=["a", "b"])

    assert toron.run(kernel, seed=1, chaos_seed=3).faults == plan_of(3, hosts="ab")
    for chaos_seed in range(50):
        for line in plan_of(chaos_seed, hosts="ab"):
            assert not re.search(r"\bc\b", line.split(" s ", 1)[1]), line


@pytest.mark.parametrize("chaos_seed", range(6))
def test_after_the_horizon_the_network_is_whole_and_every_host_is_up(chaos_seed: int) -> None:
    async def kernel(world: toron.World) -> None:
        hosts = [world.host(name) for name in ("a", "b", "c")]
        world.faults(**ALL, within=10)
        seen_down = False
        for _ in range(100):
            await world.sleep(0.1)
            seen_down = seen_down or not all(host.up for host in hosts)
        await world.sleep(0.001)
        assert world.net._network.links.ailing() == []
        assert all(host.up for host in hosts)
        world.record("crashed", seen_down)

    outcome = toron.run(kernel, seed=1, chaos_seed=chaos_seed)
    assert outcome.verdict == "pass", outcome.failure
    assert outcome.outputs["crashed"] == any(" crash " in line for line in outcome.faults)


def test_faults_without_hosts_to_act_on_are_a_mistake() -> None:
    async def kernel(world: toron.World) -> None:
        world.faults(crashes=True)

    failure = toron.run(kernel, seed=1).failure
    assert failure is not None
    assert "faults() needs hosts to act on" in failure.message


def test_a_world_with_one_host_has_no_partitions_and_can_crash() -> None:
    async def kernel(world: toron.World) -> None:
        world.host("only")
        world.record("plan", world.faults(partitions=True, crashes=True))
        world.record("none", world.faults(partitions=True))

    outputs = toron.run(kernel, seed=1).outputs
    assert outputs["none"] == []
    assert all(" crash only" in line for line in outputs["plan"])


HOSTILE: dict[str, Any] = {
    **ALL,
    "kills": True,
    "pauses": True,
    "clock_drift": True,
    "disk": True,
    "corruption": True,
    "duplicates": True,
    "reorders": True,
}


async def _count_to_a_file(world: toron.World) -> None:
    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        async def write() -> None:
            while True:
                with contextlib.suppress(OSError), open("/var/lib/count", "a") as file:
                    file.write("x")
                await asyncio.sleep(0.5)

        background = asyncio.create_task(write())
        server = await asyncio.start_server(answer, "0.0.0.0", 9000)
        await asyncio.gather(background, server.serve_forever())

    hosts = [world.host(name) for name in ("a", "b", "c")]
    for host in hosts:
        host.spawn(serve)
    world.faults(**HOSTILE, within=20)
    await world.quiet()
    world.record("over", world.now >= 20)
    await world.sleep(1)
    for host in hosts:
        reader, writer = await asyncio.open_connection(host.name, 9000)
        writer.write(b"alive\n")
        world.record(host.name, (await reader.readline()).decode())
        writer.close()


def test_after_the_faults_comes_a_quiet_phase_in_which_every_host_answers() -> None:
    seen = set()
    for chaos_seed in range(25):
        outcome = toron.run(_count_to_a_file, seed=1, chaos_seed=chaos_seed)
        assert outcome.failure is None, (chaos_seed, outcome.failure)
        assert outcome.outputs == {"over": True, "a": "alive\n", "b": "alive\n", "c": "alive\n"}
        seen |= {line.split(" s ", 1)[1].split()[0] for line in outcome.faults}
        assert toron.run(_count_to_a_file, seed=1, chaos_seed=chaos_seed) == outcome
    assert seen >= {"crash", "kill", "pause", "set", "let", "disk", "lose", "duplicate", "reorder"}
