"""Workers lease jobs from a queue and write each job's effect to a store, exactly once.

A lease that runs out is given to somebody else, while its first holder may only be slow and still
about to write. Each lease therefore carries a fencing token, a number that grows with every lease
of the job, and the store refuses a token below the highest that it has seen (Kleppmann, "How to do
distributed locking", 2016). What the queue and the store know is on disk.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import toron
from sim.kernels.messages import Channel, Message, Unanswered, answer_questions

WORKERS = ("ant", "bee", "cat")
JOBS = 12
LEASE_S = 0.8
FAULTS_S = 8.0
RECOVERY_S = 12.0
ANSWER_S = 0.3
IDLE_S = 0.2
WORK_S = (0.05, 0.6)
SLOW_WORK_S = (0.7, 1.2)
SLOW_ONE_IN = 6


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps effects single and jobs moving. Tests break one rule at a time."""

    tokens_are_checked: bool = True
    leases_run_out: bool = True


@dataclass(slots=True)
class Job:
    """One job as the queue knows it. Token 0: never leased."""

    token: int = 0
    leased_until: float = 0.0
    done: bool = False


@dataclass(slots=True)
class Effect:
    """What the store knows of one job: the highest token seen, and each write that was applied."""

    highest_token: int = 0
    writes: list[int] = field(default_factory=list)


class Queue:
    """Hands out leases, longest waiting job first."""

    def __init__(self, jobs: dict[str, Job], rules: Rules) -> None:
        self._jobs = jobs
        self._rules = rules

    async def answer(self, question: Message) -> Message:
        if question["kind"] == "finish":
            return self._finish(question["job"])
        now = asyncio.get_running_loop().time()
        waiting = [name for name, job in self._jobs.items() if self._is_free(job, now)]
        if not waiting:
            return {"job": None}
        name = min(waiting, key=lambda name: self._jobs[name].leased_until)
        job = self._jobs[name]
        job.token += 1
        job.leased_until = now + LEASE_S
        return {"job": name, "token": job.token}

    def _is_free(self, job: Job, now: float) -> bool:
        if job.done:
            return False
        return job.token == 0 or (self._rules.leases_run_out and job.leased_until <= now)

    def _finish(self, name: str) -> Message:
        """The store has confirmed the effect, so whoever says so, the job is done."""
        self._jobs[name].done = True
        return {}


class Store:
    """Applies effects. Reading under a token already closes the door to lower ones."""

    def __init__(self, effects: dict[str, Effect], rules: Rules) -> None:
        self._effects = effects
        self._rules = rules

    async def answer(self, question: Message) -> Message:
        effect, token = self._effects[question["job"]], question["token"]
        if token in effect.writes:
            return {"state": "applied"}  # the same write again: its answer was lost
        if token < effect.highest_token and self._rules.tokens_are_checked:
            return {"state": "fenced"}
        effect.highest_token = max(token, effect.highest_token)
        if question["kind"] == "look":
            return {"state": "applied" if effect.writes else "open"}
        effect.writes.append(token)
        return {"state": "applied"}


@dataclass(slots=True)
class Tally:
    """What happened in the run, counted outside of the hosts."""

    retries: int = 0
    fenced: int = 0
    found_applied: int = 0
    finished: dict[str, int] = field(default_factory=dict)


class Worker:
    """One worker between two power cuts. It keeps nothing: the lease runs out by itself."""

    def __init__(self, name: str, tally: Tally) -> None:
        self._name = name
        self._tally = tally
        self._queue = Channel("queue", timeout_s=ANSWER_S)
        self._store = Channel("store", timeout_s=ANSWER_S)

    async def work(self) -> None:
        while True:
            try:
                lease = await self._queue.ask("lease")
                if lease["job"] is None:
                    await asyncio.sleep(IDLE_S)
                elif await self._perform(lease["job"], lease["token"]):
                    await self._queue.ask("finish", job=lease["job"])
                    self._tally.finished[self._name] = self._tally.finished.get(self._name, 0) + 1
            except Unanswered:
                # Another lease, perhaps of the same job: the store knows whether it was applied.
                self._tally.retries += 1
                await asyncio.sleep(random.uniform(0.5, 1.5) * IDLE_S)

    async def _perform(self, job: str, token: int) -> bool:
        """Whether the effect of ``job`` is in the store, by this lease or by an earlier one."""
        seen = await self._store.ask("look", job=job, token=token)
        if seen["state"] == "open":
            slow = random.randrange(SLOW_ONE_IN) == 0
            await asyncio.sleep(random.uniform(*(SLOW_WORK_S if slow else WORK_S)))
            seen = await self._store.ask("write", job=job, token=token)
        elif seen["state"] == "applied":
            self._tally.found_applied += 1
        if seen["state"] == "fenced":
            self._tally.fenced += 1
        return bool(seen["state"] == "applied")


async def drain_queue(world: toron.World, rules: Rules) -> None:
    """Workers crash and links fail; in the end every job is done, and none had two effects."""
    jobs = {f"job-{number:02}": Job() for number in range(JOBS)}
    effects = {name: Effect() for name in jobs}
    tally = Tally()

    async def queue() -> None:
        await answer_questions(Queue(jobs, rules).answer)

    async def store() -> None:
        await answer_questions(Store(effects, rules).answer)

    async def worker(name: str) -> None:
        await Worker(name, tally).work()

    def is_drained() -> bool:
        return all(job.done for job in jobs.values())

    world.host("queue").spawn(queue)
    world.host("store").spawn(store)
    for name in WORKERS:
        world.host(name).spawn(worker, name)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always(
        "an effect is applied once", lambda: all(len(one.writes) <= 1 for one in effects.values())
    )
    world.always(
        "a job that is done has its effect",
        lambda: all(effects[name].writes for name, job in jobs.items() if job.done),
    )
    world.eventually("every job is done", is_drained, within=FAULTS_S + RECOVERY_S)
    while not is_drained() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    world.sometimes("a late write was fenced", tally.fenced > 0)
    world.sometimes("an effect was there before its job was done", tally.found_applied > 0)
    world.record("leases", {name: job.token for name, job in jobs.items()})
    world.record("finished", {name: tally.finished.get(name, 0) for name in WORKERS})
    world.record("retries", tally.retries)
    world.record("fenced", tally.fenced)


@toron.kernel
async def work_queue(world: toron.World) -> None:
    await drain_queue(world, Rules())
