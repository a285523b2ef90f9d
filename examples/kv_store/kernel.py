"""Puts the store into a hostile world, and judges it by what its clients saw.

Faults come from two sides: the plan that `world.faults` draws, and a saboteur who aims: it isolates
whoever leads, sets the leader's clock back, and cuts the power of one replica or of all. Then the
world is quiet, and every request must be answered.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import toron
from examples.kv_store.broken import (
    AnswersBeforeQuorum,
    CarriesOutRetries,
    LeaseOnTheWallClock,
    WithoutFileSync,
    WithoutFolderSync,
)
from examples.kv_store.client import Client
from examples.kv_store.linearizable import Request, is_linearizable
from examples.kv_store.machine import Machine
from examples.kv_store.replica import Replica
from examples.kv_store.storage import Storage, StorageFailed

REPLICAS = ("ash", "birch", "cedar")
OPERATIONS = {
    "ink": ("append", "append", "put", "get"),
    "quill": ("append", "append", "put", "get"),
    "reed": ("get",),
    "vellum": ("get",),
}
ADDRESSES = {name: (name, 7000) for name in REPLICAS}
KEYS = ("x", "y")
FOLDER = "/var/lib/kv"
PAUSE_S = (0.0, 1.5)
FAULTS_S = 18.0
RECOVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Design:
    """Of what the store is built; a broken twin has one part of another make."""

    storage: type[Storage] = Storage
    replica: type[Replica] = Replica
    machine: type[Machine] = Machine


@dataclass(slots=True)
class Witness:
    """Who sees all clients and all replicas at once; nobody of them may look here."""

    replicas: dict[str, Replica] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    moments: int = 0
    retries: int = 0
    done: int = 0

    def moment(self) -> int:
        self.moments += 1
        return self.moments

    def leader(self) -> str | None:
        """Who leads by its own account, of several the one of the highest term."""
        leading = [name for name, one in self.replicas.items() if one.role == "leader"]
        return max(leading, key=lambda name: self.replicas[name].storage.term, default=None)

    def agree(self) -> bool:
        """Whether every request was answered and all replicas have carried out the same."""
        if self.done < len(OPERATIONS):
            return False
        known = {(one.commit, len(one.storage.log)) for one in self.replicas.values()}
        # All of them just started know of no commit, and that is no agreement.
        return len(self.replicas) == len(REPLICAS) and known == {(len(self.log()),) * 2} != {(0, 0)}

    def log(self) -> list[list[object]]:
        return [entry.command for entry in self.replicas[REPLICAS[0]].storage.log]


async def survive(world: toron.World, design: Design) -> None:
    """Four clients, three replicas, faults; then quiet, and the judgement."""
    witness = Witness()

    async def serve(name: str) -> None:
        witness.replicas.pop(name, None)
        try:
            replica = design.replica(name, ADDRESSES, design.storage(FOLDER), design.machine())
            witness.replicas[name] = replica
            await replica.run()
        except* StorageFailed:
            witness.replicas.pop(name, None)
            world.sometimes("a disk failed and its replica stopped", True)

    for name in REPLICAS:
        world.host(name).spawn(serve, name)
    clients = [world.host(name).spawn(use, name, world, witness) for name in OPERATIONS]
    world.faults(
        partitions=True,
        crashes=True,
        kills=True,
        pauses=True,
        clock_drift=True,
        disk=True,
        loss=True,
        slow=True,
        resets=True,
        hosts=list(REPLICAS),
        within=FAULTS_S,
    )
    await sabotage(world, witness)
    await world.quiet()
    for name in REPLICAS:  # an operator looks at the machine whose disk has failed
        if name not in witness.replicas:
            world.host(name).restart()
    await world.sleep(1.0)  # whatever was started again is known to the witness by now
    world.eventually("all are served and replicas agree", witness.agree, within=RECOVERY_S)
    while not witness.agree():
        await world.sleep(0.25)
    await asyncio.gather(*clients)
    judge(world, witness)


async def use(name: str, world: toron.World, witness: Witness) -> None:
    """Requests of one client over the time of the faults, each known to the witness."""
    client = Client(name, ADDRESSES)
    for number in itertools.count():
        await asyncio.sleep(random.uniform(*PAUSE_S))
        if world.now > FAULTS_S:
            break
        key, token = random.choice(KEYS), f"{name}{number};"
        operation = random.choice(OPERATIONS[name])
        value = "" if operation == "get" else token
        request = Request(name, operation, key, value, witness.moment())
        witness.requests.append(request)
        request.answer = await client.request(operation, key, value)
        request.answered = witness.moment()
    witness.retries += client.retries
    witness.done += 1


async def sabotage(world: toron.World, witness: Witness) -> None:
    """Aim a fault every second or two; whatever it was, it has ended when this returns."""
    acts: list[Callable[[toron.World, Witness], Awaitable[None]]] = [
        isolate_leader,
        isolate_leader_and_set_its_clock_back,
        cut_power_of_one,
        cut_power_of_all,
    ]
    while world.now < FAULTS_S:
        await world.sleep(random.uniform(0.5, 2.0))
        await random.choice(acts)(world, witness)


async def isolate_leader(world: toron.World, witness: Witness) -> None:
    """Clients still reach the leader, its peers do not: perhaps only one way."""
    leader = witness.leader() or random.choice(REPLICAS)
    one_way = random.random() < 0.25
    for peer in REPLICAS:
        if peer != leader:
            world.net.partition(leader, peer, one_way=one_way)
    await world.sleep(random.uniform(1.0, 6.0))
    for peer in REPLICAS:
        if peer != leader:
            world.net.heal(leader, peer)


async def isolate_leader_and_set_its_clock_back(world: toron.World, witness: Witness) -> None:
    """What a time server does to a machine whose clock ran ahead."""
    leader = witness.leader() or random.choice(REPLICAS)
    world.host(leader).clock.jump(-random.uniform(0.5, 8.0))
    await isolate_leader(world, witness)


async def cut_power_of_one(world: toron.World, witness: Witness) -> None:
    name = random.choice([witness.leader() or REPLICAS[0], *REPLICAS])
    world.host(name).crash()
    await world.sleep(random.uniform(0.1, 2.0))
    if not world.host(name).up:
        world.host(name).restart()


async def cut_power_of_all(world: toron.World, witness: Witness) -> None:
    for name in REPLICAS:
        world.host(name).crash()
    await world.sleep(random.uniform(0.1, 1.0))
    for name in REPLICAS:
        if not world.host(name).up:
            world.host(name).restart()


def judge(world: toron.World, witness: Witness) -> None:
    """What must be true of what the clients saw and of what the replicas hold."""
    replicas = [witness.replicas[name] for name in REPLICAS]
    logs = [one.storage.log for one in replicas]
    values = [one.machine.values for one in replicas]
    world.always(
        "replicas agree", all(log == logs[0] for log in logs) and values[1:] == values[:-1]
    )
    written = {command[4] for command in witness.log() if command}
    acknowledged = [one.value for one in witness.requests if one.value]
    world.always("no acknowledged write is lost", written.issuperset(acknowledged))
    seen = [*values[0].values(), *(one.answer or "" for one in witness.requests)]
    world.always("a request is carried out once", not any(map(has_twice, seen)))
    for key in KEYS:
        last = Request("", "get", key, "", witness.moment(), witness.moment())
        last.answer = values[0].get(key, "")
        history = [*(one for one in witness.requests if one.key == key), last]
        world.always("every answer is linearizable", is_linearizable(history))
    world.sometimes("a request was sent again", witness.retries > 0)
    world.record("values", values[0])
    world.record("retries", witness.retries)


def has_twice(value: str) -> bool:
    """Whether a request left its mark twice in ``value``."""
    tokens = value.split(";")
    return len(set(tokens)) < len(tokens)


@toron.kernel
async def kv_store(world: toron.World) -> None:
    await survive(world, Design())


@toron.kernel
async def without_file_sync(world: toron.World) -> None:
    await survive(world, Design(storage=WithoutFileSync))


@toron.kernel
async def without_folder_sync(world: toron.World) -> None:
    await survive(world, Design(storage=WithoutFolderSync))


@toron.kernel
async def answers_before_quorum(world: toron.World) -> None:
    await survive(world, Design(replica=AnswersBeforeQuorum))


@toron.kernel
async def lease_on_the_wall_clock(world: toron.World) -> None:
    await survive(world, Design(replica=LeaseOnTheWallClock))


@toron.kernel
async def carries_out_retries(world: toron.World) -> None:
    await survive(world, Design(machine=CarriesOutRetries))
