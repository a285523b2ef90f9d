"""Clients ask the platform's run store for runs, again and again, while its host loses power.

The store is the platform's own (`testops.storage.runs` on SQLite), called in threads as the API
calls it; the transport is a line of JSON. One question has one run, however often and at once it is
asked, and what was answered outlives a power cut. The durable queue is a table of this kernel: its
rows come in the transaction that creates an attempt, as the real one's do.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

import toron
from sim.kernels.messages import Channel, Message, Unanswered, answer_questions
from sim.kernels.platform import new_run, open_here, run_id_for
from testops.domain.errors import StoreUnavailable
from testops.domain.execution import Submission
from testops.domain.run_view import RunView
from testops.storage.database import Database
from testops.storage.runs import RunsStore
from testops.storage.tables import attempt, run, run_event

ASKERS = ("kim", "lea", "max")
ASKED_AT_ONCE = 3
QUESTIONS = ("red", "green", "blue", "white", "black", "grey")
ASKED_EACH = 8
CANCEL_ONE_IN = 5
FAULTS_S = 8.0
RECOVERY_S = 20.0
ANSWER_S = 0.5
BACKOFF_S = (0.05, 0.4)
EVERY_S = 0.8
# A disk so slow that creations wait for each other.
DISK_S = 0.01

queue = sa.Table(
    "kernel_queue",
    sa.MetaData(),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
)


def submit(connection: sa.Connection, submission: Submission) -> None:
    """Put an attempt into the queue of this kernel. No key keeps doubles out: none may come."""
    connection.execute(
        sa.insert(queue).values(run_id=submission.run_id, attempt=submission.attempt)
    )


@dataclass(slots=True)
class Tally:
    """What somebody knows who sees all hosts and forgets nothing."""

    # What was answered of each run: its newest attempt and event.
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    refused: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    looks: int = 0

    def note(self, run_id: str, outcome: str, number: int, last_seq: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.created[run_id] = self.created.get(run_id, 0) + (outcome == "created")
        before = self.answered.get(run_id, (0, 0))
        self.answered[run_id] = max(before[0], number), max(before[1], last_seq)


class Desk:
    """The serving host between two power cuts."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def live(self) -> None:
        self._database = await asyncio.to_thread(open_here, queue)
        self._runs = RunsStore(self._database, submit)
        self._tally.looks += 1
        self._tally.faults += await asyncio.to_thread(look_over, self._database, self._tally)
        await answer_questions(self._answer)

    async def _answer(self, question: Message) -> Message:
        act: Callable[[str], Message] = getattr(self, f"_{question['kind']}")
        try:
            return await asyncio.to_thread(act, question["name"])
        except StoreUnavailable as error:
            return {"busy": str(error)}
        except Exception as error:  # noqa: BLE001  (what the API would answer with 500)
            return {"refused": repr(error)}

    def _create(self, name: str) -> Message:
        created = self._runs.create(new_run(name, stages={"lint": {}}, labels={"name": name}))
        return {"outcome": created.outcome, **_shown(created.run)}

    def _cancel(self, name: str) -> Message:
        view = self._runs.request_cancel(run_id_for(name), "somebody")
        return {"outcome": "unknown" if view is None else "cancelled", **_shown(view)}


def _shown(view: RunView | None) -> Message:
    if view is None:
        return {"run_id": None}
    return {"run_id": view.run_id, "attempt": view.attempt, "last_seq": view.last_seq}


def look_over(database: Database, tally: Tally) -> list[str]:
    """What is wrong with all that is kept, in one look at everything."""
    # Before the look: what is answered during it may be newer than what is seen.
    answered = dict(tally.answered)
    with database.read() as connection:
        runs = {row.run_id: row for row in connection.execute(sa.select(run))}
        queued = _pairs(connection, sa.select(queue.c.run_id, queue.c.attempt))
        begun = _pairs(connection, sa.select(attempt.c.run_id, attempt.c.attempt))
        events = connection.execute(sa.select(run_event).order_by(run_event.c.seq)).all()
    faults = []
    if queued != begun:
        faults.append(f"queued {queued}, begun {begun}")
    for run_id, (number, last_seq) in answered.items():
        if run_id not in runs or (runs[run_id].attempt, runs[run_id].last_seq) < (number, last_seq):
            faults.append(f"{run_id} was answered with attempt {number}, event {last_seq}")
    for run_id, row in runs.items():
        own = [event for event in events if event.run_id == run_id]
        if [event.seq for event in own] != list(range(1, row.last_seq + 1)):
            faults.append(f"{run_id} has events {[event.seq for event in own]}")
        if any(json.loads(event.body)["seq"] != event.seq for event in own):
            faults.append(f"{run_id} has an event that names another number")
        starts = [event.attempt for event in own if event.type == "run.queued"]
        if starts != list(range(1, row.attempt + 1)):
            faults.append(f"{run_id} was queued for the attempts {starts}")
    return faults


def _pairs(connection: sa.Connection, wanted: sa.Select[Any]) -> list[tuple[str, int]]:
    return sorted((row.run_id, row.attempt) for row in connection.execute(wanted))


@dataclass(slots=True)
class Asker:
    """One client host; how far it came is on its disk."""

    tally: Tally
    # The same for all, and for one that starts again after a crash.
    wanted: list[str]
    done: int = 0

    async def live(self) -> None:
        desks = [Channel("desk", timeout_s=ANSWER_S) for _ in range(ASKED_AT_ONCE)]
        while self.done < len(self.wanted):
            name = self.wanted[self.done]
            asked = [self._insist(desk, "create", name) for desk in desks]
            for answer in await asyncio.gather(*asked):
                self._keep(answer)
            if random.randrange(CANCEL_ONE_IN) == 0:
                self._keep(await self._insist(desks[0], "cancel", name))
            self.done += 1
            # Everybody's timetable says the same.
            await asyncio.sleep(self.done * EVERY_S - asyncio.get_running_loop().time())

    async def _insist(self, desk: Channel, kind: str, name: str) -> Message:
        """The desk's answer, however often it takes to get one."""
        while True:
            try:
                answer = await desk.ask(kind, name=name)
            except Unanswered:
                answer = {"busy": "no answer"}
            if "busy" not in answer:
                return answer
            self.tally.retries += 1
            await asyncio.sleep(random.uniform(*BACKOFF_S))

    def _keep(self, answer: Message) -> None:
        if "refused" in answer:
            self.tally.refused.append(answer["refused"])
        elif answer["run_id"] is not None:
            self.tally.note(
                answer["run_id"], answer["outcome"], answer["attempt"], answer["last_seq"]
            )


async def ask_for_runs(world: toron.World) -> None:
    """The same few questions from everywhere, over and over; each has one run, and keeps it."""
    tally = Tally()
    wanted = random.choices(QUESTIONS, k=ASKED_EACH)
    askers = {name: Asker(tally, wanted) for name in ASKERS}

    def is_done() -> bool:
        return all(asker.done == ASKED_EACH for asker in askers.values())

    desk = world.host("desk")
    desk.disk.slow(DISK_S)
    desk.spawn(Desk(tally).live)
    for name, asker in askers.items():
        world.host(name).spawn(asker.live)
        world.net.link(name, "desk", latency=(0.001, 0.030), loss=0.02)
    world.faults(crashes=True, kills=True, pauses=True, hosts=["desk"], within=FAULTS_S)
    world.faults(partitions=True, loss=True, slow=True, resets=True, crashes=True, within=FAULTS_S)
    world.always("what is kept is whole", lambda: tally.faults == [])
    world.always("no request fails", lambda: tally.refused == [])
    world.always(
        "a run is created once", lambda: all(times <= 1 for times in tally.created.values())
    )
    world.eventually("every question is answered", is_done, within=FAULTS_S + RECOVERY_S)
    while not (is_done() and world.now >= FAULTS_S) and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    await world.quiet()
    desk.restart()
    await world.sleep(2)
    world.sometimes("a question was asked again for want of an answer", tally.retries > 0)
    world.sometimes("a question had its run already", tally.outcomes.get("existing", 0) > 0)
    world.sometimes("a question got another attempt", tally.outcomes.get("attempt", 0) > 0)
    world.sometimes("the store came up after more than one power cut", tally.looks > 3)
    world.record("outcomes", dict(sorted(tally.outcomes.items())))
    world.record(
        "answered", {name: list(tally.answered.get(run_id_for(name), ())) for name in QUESTIONS}
    )
    world.record("retries", tally.retries)
    world.record("looks", tally.looks)


@toron.kernel
async def idempotent_creation(world: toron.World) -> None:
    await ask_for_runs(world)
