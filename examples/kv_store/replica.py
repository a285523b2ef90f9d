"""One of three replicas: leader election and log replication by terms (Raft, Ongaro 2014).

A term has at most one leader, because a replica votes once in it and remembers that through a power
cut. A leader's entry is committed once a majority has it on disk; a candidate without all committed
entries finds no majority. No step trusts a clock: timeouts decide only when to try, and a read is
answered after a majority has confirmed, since the read came in, that there is no newer leader.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from examples.kv_store.machine import Machine
from examples.kv_store.storage import Entry, Storage, StorageFailed
from examples.kv_store.wire import Address, Message, Peer, serve

HEARTBEAT_S = 0.25
ELECTION_S = (1.0, 2.0)
ANSWER_S = 0.4
REQUEST_S = 1.2
BATCH = 64


class Replica:
    """The replica called ``name``; ``addresses`` are those of all, itself included."""

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, Address],
        storage: Storage,
        machine: Machine | None = None,
    ) -> None:
        self.name = name
        self.storage = storage
        self.machine = machine or Machine()
        self.role: Literal["follower", "candidate", "leader"] = "follower"
        self.leader: str | None = None
        self.commit = 0
        self._port = addresses[name][1]
        self._majority = len(addresses) // 2 + 1
        self._peers = {
            peer: Peer(address, ANSWER_S) for peer, address in addresses.items() if peer != name
        }
        self._changed = asyncio.Event()
        self._heard_s = self._leader_heard_s = self._now()
        # Of a leader: the next entry for each peer, the last one that each replica has on disk, the
        # last round that each peer has confirmed, the current round, and its term's first entry.
        self._next: dict[str, int] = {}
        self._on_disk: dict[str, int] = {}
        self._confirmed: dict[str, int] = {}
        self._round = 0
        self._first = 0

    async def run(self, host: str | None = None) -> None:
        """Serve for ever; StorageFailed when the disk does."""
        server = await serve(self._port, self.answer, host)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hold_elections())
                group.create_task(self._sync_own_log())
                for peer in self._peers:
                    group.create_task(self._replicate(peer))
                await self.storage.failed
        finally:
            server.close()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    @property
    def _last(self) -> int:
        return len(self.storage.log)

    def _term_at(self, index: int) -> int:
        return self.storage.log[index - 1].term if index else 0

    def _leads(self, term: int) -> bool:
        return self.role == "leader" and self.storage.term == term

    def _stands(self, term: int) -> bool:
        return self.role == "candidate" and self.storage.term == term

    def _announce(self) -> None:
        """Wake whoever waits in `_until`."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True

    # Elections

    async def _hold_elections(self) -> None:
        while True:
            patience_s = random.uniform(*ELECTION_S)
            while self.role == "leader" or self._now() < self._heard_s + patience_s:
                await asyncio.sleep(max(HEARTBEAT_S, self._heard_s + patience_s - self._now()))
            await self._campaign()

    async def _campaign(self) -> None:
        self.role, self.leader = "candidate", None
        self._heard_s = self._now()
        self.storage.save_vote(self.storage.term + 1, self.name)
        term = self.storage.term
        question = {
            "kind": "vote",
            "term": term,
            "candidate": self.name,
            "last": self._last,
            "last_term": self.storage.last_term,
        }
        answers = await asyncio.gather(*[peer.ask(question) for peer in self._peers.values()])
        votes = 1
        for answer in answers:
            if answer is not None:
                self._see_term(answer["term"])
                votes += answer["granted"]
        if self._stands(term) and votes >= self._majority:
            self._lead()

    def _see_term(self, term: int) -> None:
        """A higher term ends whatever this replica thought it was."""
        if term > self.storage.term:
            self.storage.save_vote(term, None)
            self.role, self.leader = "follower", None
            self._announce()

    def _lead(self) -> None:
        self.role, self.leader = "leader", self.name
        self._next = dict.fromkeys(self._peers, self._last + 1)
        self._on_disk = dict.fromkeys([self.name, *self._peers], 0)
        self._confirmed = dict.fromkeys(self._peers, 0)
        # Entries of earlier terms count as committed only behind one of this term, so make one.
        self._first = self._append([])

    def _on_vote(self, question: Message) -> Message:
        # Who hears a leader does not help to depose it: a replica that was cut off and comes back
        # with a high term would otherwise stop everybody.
        hears_leader = self.role == "leader" or self._now() < self._leader_heard_s + ELECTION_S[0]
        if hears_leader or question["term"] < self.storage.term:
            return {"term": self.storage.term, "granted": False}
        self._see_term(question["term"])
        mine = (self.storage.last_term, self._last)
        granted = (
            self.storage.vote in (None, question["candidate"])
            and (question["last_term"], question["last"]) >= mine
        )
        if granted:
            self.storage.save_vote(question["term"], question["candidate"])
            self._heard_s = self._now()
        return {"term": self.storage.term, "granted": granted}

    # Replication: the leader's side

    def _append(self, command: list[Any]) -> int:
        index = self._last + 1
        self.storage.append(index, Entry(self.storage.term, command))
        self._announce()
        return index

    async def _sync_own_log(self) -> None:
        while True:
            await self._until(lambda: self.role == "leader" and self._lacks(self.name), None)
            term, last = self.storage.term, self._last
            await self.storage.synced()
            if self._leads(term):
                self._on_disk[self.name] = last
                self._count()

    def _lacks(self, name: str) -> bool:
        return self._on_disk[name] < self._last

    async def _replicate(self, peer: str) -> None:
        while True:
            term = self.storage.term
            if not self._leads(term):
                await self._changed.wait()
            elif not await self._send(peer, term):
                await asyncio.sleep(HEARTBEAT_S)
            else:
                await self._until(lambda: self._has_news(peer), HEARTBEAT_S)

    def _has_news(self, peer: str) -> bool:
        return self._next[peer] <= self._last or self._confirmed[peer] < self._round

    async def _send(self, peer: str, term: int) -> bool:
        """Send what ``peer`` lacks; whether it confirmed that this is still its leader."""
        current, first = self._round, self._next[peer]
        entries = self.storage.log[first - 1 : first - 1 + BATCH]
        answer = await self._peers[peer].ask(
            {
                "kind": "append",
                "term": term,
                "leader": self.name,
                "before": first - 1,
                "before_term": self._term_at(first - 1),
                "entries": entries,
                "commit": self.commit,
            }
        )
        if answer is None:
            return False
        self._see_term(answer["term"])
        if not self._leads(term) or answer["term"] != term:
            return False
        self._confirmed[peer] = current
        if answer["granted"]:
            self._on_disk[peer] = max(self._on_disk[peer], first - 1 + len(entries))
            self._next[peer] = first + len(entries)
            self._count()
        else:
            self._next[peer] = max(1, min(first - 1, answer["last"] + 1))
        self._announce()
        return True

    def _count(self) -> None:
        """Commit what a majority has on disk."""
        index = self._agreed()
        if index > self.commit and self._term_at(index) == self.storage.term:
            self._commit_to(index)

    def _agreed(self) -> int:
        """The last entry that a majority has on disk."""
        return sorted(self._on_disk.values(), reverse=True)[self._majority - 1]

    def _commit_to(self, index: int) -> None:
        for entry in self.storage.log[self.commit : index]:
            self.machine.apply(entry.command)
        self.commit = max(self.commit, index)
        self._announce()

    # Replication: the follower's side

    async def _on_append(self, question: Message) -> Message:
        term, before = question["term"], question["before"]
        self._see_term(term)
        refusal = {"term": self.storage.term, "granted": False, "last": self._last}
        if term < self.storage.term:
            return refusal
        self.role, self.leader = "follower", question["leader"]
        self._heard_s = self._leader_heard_s = self._now()
        if before > self._last or self._term_at(before) != question["before_term"]:
            return {**refusal, "last": min(self._last, before - 1)}
        for index, (entry_term, command) in enumerate(question["entries"], before + 1):
            if index > self._last or self._term_at(index) != entry_term:
                self.storage.append(index, Entry(entry_term, command))
        await self.storage.synced()
        if self.storage.term != term:
            return {**refusal, "term": self.storage.term}
        self._commit_to(min(question["commit"], before + len(question["entries"])))
        return {"term": term, "granted": True, "last": self._last}

    # Clients

    async def answer(self, question: Message) -> Message:
        """The answer to a question of a peer or a client."""
        if self.storage.failed.done():
            raise StorageFailed("nothing that was not saved may be said")
        match question["kind"]:
            case "vote":
                return self._on_vote(question)
            case "append":
                return await self._on_append(question)
            case "request":
                return await self._on_request(question)
            case _:
                raise ValueError(f"unknown question {question!r}")

    async def _on_request(self, question: Message) -> Message:
        term = self.storage.term
        if not self._leads(term):
            return {"leader": self.leader}
        if question["operation"] == "get":
            if await self._is_still_leader(term):
                return {"value": self.machine.values.get(question["key"], "")}
            return {"leader": self.leader}
        return await self._write(term, question)

    async def _is_still_leader(self, term: int) -> bool:
        """Whether a majority says so, asked now; then all that was acknowledged is applied here."""
        self._round += 1
        current = self._round
        self._announce()

        def is_confirmed() -> bool:
            confirming = sum(seen >= current for seen in self._confirmed.values())
            return 1 + confirming >= self._majority and self.commit >= self._first

        await self._until(lambda: is_confirmed() or not self._leads(term), REQUEST_S)
        return self._leads(term) and is_confirmed()

    async def _write(self, term: int, question: Message) -> Message:
        client, number = question["client"], question["number"]
        known = self.machine.known(client, number)
        if known is not None:
            return {"value": known}
        index = self._append([client, number, *map(question.get, ("operation", "key", "value"))])
        await self._until(lambda: self.commit >= index or not self._leads(term), REQUEST_S)
        if self.commit >= index and self._term_at(index) == term:
            return {"value": self.machine.applied[client][1]}
        return {"leader": None}
