"""Three replicas agree on one log, one slot at a time (Paxos, Lamport 2001), with no fixed leader.

A slot is decided once a majority has accepted the same ballot for it. A proposer first collects
promises from a majority, and must propose again whatever the highest ballot among them has already
accepted: so a decision that only one living replica remembers still stands. Clients send their
command again, perhaps to another replica, until one says in which slot it is; a command can thus
stand in the log twice, and whoever applies the log skips the second.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import toron
from sim.kernels.messages import Channel, Message, Unanswered, answer_questions, ask_all

REPLICAS = ("larch", "maple", "oak")
CLIENTS = ("ink", "quill")
MAJORITY = len(REPLICAS) // 2 + 1
COMMANDS_EACH = 6
FAULTS_S = 8.0
RECOVERY_S = 12.0
ANSWER_S = 0.15
CLIENT_PATIENCE_S = 1.0
GOSSIP_S = 0.5
PACE_S = 0.8


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps the protocol safe. Tests break one rule at a time and Toron must notice."""

    accepts_needed: int = MAJORITY
    keeps_what_was_accepted: bool = True


@dataclass(slots=True)
class Slot:
    """What an acceptor has said about one slot. Ballot 0 is none."""

    promised: int = 0
    accepted_ballot: int = 0
    accepted: str = ""


@dataclass(slots=True)
class Disk:
    """What a replica still knows after a power cut."""

    slots: dict[int, Slot] = field(default_factory=dict)
    log: dict[int, str] = field(default_factory=dict)
    round: int = 0

    def first_gap(self) -> int:
        """The first slot whose decision this replica does not know."""
        return next(number for number in range(len(self.log) + 1) if number not in self.log)

    def commands(self) -> list[str]:
        """The known log up to the first gap, each command once, as a state machine applies it."""
        return list(dict.fromkeys(self.log[number] for number in range(self.first_gap())))


@dataclass(slots=True)
class Gallery:
    """What somebody sees who watches all replicas at once; no replica may look here."""

    decided: dict[int, str] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    ballots: int = 0
    ballots_lost: int = 0

    def decide(self, slot: int, command: str, by: str) -> None:
        known = self.decided.setdefault(slot, command)
        if known != command:
            self.contradictions.append(f"slot {slot} was {known}, {by} says {command}")


class Replica:
    """One replica between two power cuts: acceptor, proposer and learner at once."""

    def __init__(self, name: str, disk: Disk, gallery: Gallery, rules: Rules) -> None:
        self.name = name
        self.disk = disk
        self._gallery = gallery
        self._rules = rules
        self._peers = [Channel(host, timeout_s=ANSWER_S) for host in REPLICAS if host != name]

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer_questions(self.answer))
            group.create_task(self._gossip())

    async def answer(self, question: Message) -> Message:
        match question["kind"]:
            case "append":
                return {"slot": await self._append(question["command"])}
            case "prepare":
                return self._prepare(question["slot"], question["ballot"])
            case "accept":
                return self._accept(question["slot"], question["ballot"], question["command"])
            case "learn":
                self._learn(question["slot"], question["command"])
                return {}
            case "since":
                first = question["slot"]
                return {"log": [[n, c] for n, c in sorted(self.disk.log.items()) if n >= first]}
            case _:
                raise ValueError(f"no replica understands {question!r}")

    # Acceptor: promises and acceptances, both on disk before they are said

    def _prepare(self, number: int, ballot: int) -> Message:
        if number in self.disk.log:
            return {"decided": self.disk.log[number]}
        slot = self.disk.slots.setdefault(number, Slot())
        if ballot <= slot.promised:
            return {"granted": False, "promised": slot.promised}
        slot.promised = ballot
        return {"granted": True, "ballot": slot.accepted_ballot, "command": slot.accepted}

    def _accept(self, number: int, ballot: int, command: str) -> Message:
        slot = self.disk.slots.setdefault(number, Slot())
        if ballot < slot.promised:
            return {"granted": False, "promised": slot.promised}
        slot.promised = slot.accepted_ballot = ballot
        slot.accepted = command
        return {"granted": True}

    # Proposer

    async def _append(self, command: str) -> int:
        """Get ``command`` decided, in whichever slot is free; return the slot."""
        while True:
            for number, known in sorted(self.disk.log.items()):
                if known == command:
                    return number
            number = self.disk.first_gap()
            if not await self._propose(number, command):
                # Two proposers that always retry at once can outbid each other for ever.
                self._gallery.ballots_lost += 1
                await asyncio.sleep(random.uniform(0.02, 0.25))

    async def _propose(self, number: int, command: str) -> bool:
        """One ballot for one slot; whether the slot is now decided (perhaps for another)."""
        self.disk.round += 1
        ballot = self.disk.round * len(REPLICAS) + REPLICAS.index(self.name)
        self._gallery.ballots += 1
        answers = await self._ask_all("prepare", slot=number, ballot=ballot)
        for answer in answers:
            if "decided" in answer:
                self._learn(number, answer["decided"])
                return True
        promises = self._granted(answers)
        if len(promises) < MAJORITY:
            return False
        latest = max(promises, key=lambda promise: int(promise["ballot"]))
        if latest["ballot"] and self._rules.keeps_what_was_accepted:
            command = latest["command"]
        answers = await self._ask_all("accept", slot=number, ballot=ballot, command=command)
        if len(self._granted(answers)) < self._rules.accepts_needed:
            return False
        self._gallery.decide(number, command, self.name)
        await self._ask_all("learn", slot=number, command=command)
        return True

    def _granted(self, answers: list[Message]) -> list[Message]:
        """The answers that say yes; from the others, learn how high the next ballot must be."""
        for answer in answers:
            self.disk.round = max(self.disk.round, answer.get("promised", 0) // len(REPLICAS))
        return [answer for answer in answers if answer.get("granted")]

    async def _ask_all(self, kind: str, **facts: object) -> list[Message]:
        """The answers of this replica itself and of those that can be reached."""
        mine = await self.answer({"kind": kind, **facts})
        return [mine, *await ask_all(self._peers, kind, **facts)]

    # Learner

    def _learn(self, number: int, command: str) -> None:
        self._gallery.decide(number, command, self.name)
        self.disk.log[number] = command

    async def _gossip(self) -> None:
        """Ask the others for decisions that did not get through to this replica."""
        while True:
            for peer in self._peers:
                await asyncio.sleep(GOSSIP_S)
                answer = await peer.ask_if_reachable("since", slot=self.disk.first_gap())
                for number, command in answer["log"] if answer is not None else []:
                    self._learn(number, command)


@dataclass(slots=True)
class Notebook:
    """What a client still knows after a power cut: in which slot each command stands."""

    slots: dict[str, int] = field(default_factory=dict)
    retries: int = 0


async def write_commands(name: str, notebook: Notebook) -> None:
    """Append the commands of one client in order, each until a replica confirms it."""
    replicas = [Channel(host, timeout_s=CLIENT_PATIENCE_S) for host in REPLICAS]
    for number in range(COMMANDS_EACH):
        command = f"{name}-{number}"
        while command not in notebook.slots:
            try:
                answer = await random.choice(replicas).ask("append", command=command)
            except Unanswered:
                notebook.retries += 1
                await asyncio.sleep(random.uniform(0.05, 0.2))
            else:
                notebook.slots[command] = answer["slot"]
        await asyncio.sleep(random.uniform(0.0, 2 * PACE_S))


async def replicate(world: toron.World, rules: Rules) -> None:
    """Two clients write through faults; the log never changes its past, and replicas converge."""
    gallery = Gallery()
    disks = {name: Disk() for name in REPLICAS}
    notebooks = {name: Notebook() for name in CLIENTS}

    async def replica(name: str) -> None:
        await Replica(name, disks[name], gallery, rules).live()

    def confirmed() -> dict[str, int]:
        return {key: slot for book in notebooks.values() for key, slot in book.slots.items()}

    def converged() -> bool:
        logs = [disk.log for disk in disks.values()]
        is_whole = len(confirmed()) == COMMANDS_EACH * len(CLIENTS)
        return is_whole and all(log == logs[0] for log in logs)

    for name in REPLICAS:
        world.host(name).spawn(replica, name)
        for other in REPLICAS[: REPLICAS.index(name)]:
            world.net.link(name, other, latency=(0.001, 0.020), loss=0.05)
    for name in CLIENTS:
        world.host(name).spawn(write_commands, name, notebooks[name])
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("a decided entry never changes", lambda: not gallery.contradictions)
    world.eventually("replicas converge on all commands", converged, within=FAULTS_S + RECOVERY_S)
    while not converged() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    log = disks[REPLICAS[0]].log
    world.always(
        "a confirmed command stands where it was confirmed",
        all(log[slot] == command for command, slot in confirmed().items()),
    )
    applied = disks[REPLICAS[0]].commands()
    for name in CLIENTS:
        own = [command for command in applied if command.startswith(name)]
        world.always("commands of a client keep their order", own == sorted(own))
    world.sometimes("two proposers met", gallery.ballots_lost > 0)
    world.record("log", [log[number] for number in sorted(log)])
    world.record("ballots", {"held": gallery.ballots, "lost": gallery.ballots_lost})
    world.record("retries", {name: book.retries for name, book in notebooks.items()})


@toron.kernel
async def replicated_log(world: toron.World) -> None:
    await replicate(world, Rules())
