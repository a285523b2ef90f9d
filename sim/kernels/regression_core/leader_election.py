"""Three hosts elect a leader among themselves, by terms and votes (Raft, Ongaro 2014, section 3.4).

A term has at most one leader because a host gives one vote a term, remembers it through a power
cut, and a leader needs the votes of a majority: any two majorities share a host. The disk of a host
is a plain object that outlives its crashes.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import toron
from sim.kernels.messages import Channel, Message, answer_questions, ask_all

HOSTS = ("ash", "beech", "cedar")
FAULTS_S = 8.0
RECOVERY_S = 8.0
HEARTBEAT_S = 0.1
PATIENCE_S = (0.3, 0.6)
ANSWER_S = 0.15


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps the protocol safe. Tests break one rule at a time and Toron must notice."""

    one_vote_a_term: bool = True
    votes_outlive_a_crash: bool = True


@dataclass(slots=True)
class Disk:
    """What a host still knows after a power cut."""

    term: int = 0
    voted_for: str = ""


@dataclass(slots=True)
class Gallery:
    """What somebody sees who watches all hosts at once; no host may look here."""

    leaders: dict[int, list[str]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    elections: int = 0

    def crown(self, term: int, name: str) -> None:
        self.leaders.setdefault(term, []).append(name)

    def has_rivals(self) -> bool:
        return any(len(names) > 1 for names in self.leaders.values())

    def agreed_leader(self) -> str | None:
        """The host that all hosts follow in one term, itself included."""
        views = {(node.disk.term, node.leader) for node in self.nodes.values()}
        if len(views) != 1 or len(self.nodes) != len(HOSTS):
            return None
        _, leader = views.pop()
        return leader if leader is not None and self.nodes[leader].is_leader else None


class Node:
    """One host between two power cuts."""

    def __init__(self, name: str, disk: Disk, gallery: Gallery, rules: Rules) -> None:
        self.name = name
        self.disk = disk
        self.leader: str | None = None
        self._gallery = gallery
        self._rules = rules
        self._peers = [Channel(host, timeout_s=ANSWER_S) for host in HOSTS if host != name]
        self._heard_at = asyncio.get_running_loop().time()
        gallery.nodes[name] = self
        if not rules.votes_outlive_a_crash:
            disk.voted_for = ""

    @property
    def is_leader(self) -> bool:
        return self.leader == self.name

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(answer_questions(self.answer))
            group.create_task(self._watch())

    async def _watch(self) -> None:
        """Lead while leading; otherwise stand for election when the leader has fallen silent."""
        while True:
            if self.is_leader:
                await self._ask_all("follow", leader=self.name)
                await asyncio.sleep(HEARTBEAT_S)
                continue
            patience_s = random.uniform(*PATIENCE_S)
            await asyncio.sleep(patience_s)
            silence_s = asyncio.get_running_loop().time() - self._heard_at
            if silence_s >= patience_s and not self.is_leader:
                await self._stand()

    async def _stand(self) -> None:
        self._gallery.elections += 1
        self.disk.term += 1
        self.disk.voted_for = self.name
        self.leader = None
        term = self.disk.term
        answers = await self._ask_all("vote", candidate=self.name)
        votes = 1 + sum(answer["granted"] for answer in answers)
        if votes * 2 > len(HOSTS) and self._still_stands_in(term):
            self.leader = self.name
            self._gallery.crown(term, self.name)

    def _still_stands_in(self, term: int) -> bool:
        """False once this host, while answers came in, has heard of a leader or a later term."""
        return self.disk.term == term and self.leader is None

    async def _ask_all(self, kind: str, **facts: str) -> list[Message]:
        """What the reachable hosts answer; a later term in any answer ends our own."""
        answers = await ask_all(self._peers, kind, term=self.disk.term, **facts)
        for answer in answers:
            self._notice(answer["term"])
        return answers

    def _notice(self, term: int) -> None:
        if term > self.disk.term:
            self.disk.term, self.disk.voted_for, self.leader = term, "", None

    async def answer(self, question: Message) -> Message:
        """What this host says to a candidate or to a leader."""
        self._notice(question["term"])
        is_current = question["term"] == self.disk.term
        if question["kind"] == "vote":
            granted = is_current and self._may_vote_for(question["candidate"])
            if granted:
                self.disk.voted_for = question["candidate"]
                self._heard_at = asyncio.get_running_loop().time()
            return {"term": self.disk.term, "granted": granted}
        if is_current:
            self.leader = question["leader"]
            self._heard_at = asyncio.get_running_loop().time()
        return {"term": self.disk.term}

    def _may_vote_for(self, candidate: str) -> bool:
        return self.disk.voted_for in ("", candidate) or not self._rules.one_vote_a_term


async def elect(world: toron.World, rules: Rules) -> None:
    """Elections under faults, then quiet: at most one leader a term, and in the end one leader."""
    gallery = Gallery()
    disks = {name: Disk() for name in HOSTS}

    async def node(name: str) -> None:
        await Node(name, disks[name], gallery, rules).live()

    for name in HOSTS:
        world.host(name).spawn(node, name)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("a term has at most one leader", lambda: not gallery.has_rivals())
    await world.sleep(FAULTS_S)
    world.eventually(
        "all hosts follow one leader",
        lambda: gallery.agreed_leader() is not None,
        within=RECOVERY_S,
    )
    await world.sleep(RECOVERY_S)
    world.sometimes("leadership changed hands", len(set(_winners(gallery))) > 1)
    world.sometimes("an election had no winner", gallery.elections > len(gallery.leaders))
    world.record("leader", gallery.agreed_leader())
    world.record("term", max(disk.term for disk in disks.values()))
    world.record("leaders_by_term", {str(term): who for term, who in gallery.leaders.items()})
    world.record("elections", gallery.elections)


def _winners(gallery: Gallery) -> list[str]:
    return [name for names in gallery.leaders.values() for name in names]


@toron.kernel
async def leader_election(world: toron.World) -> None:
    await elect(world, Rules())
