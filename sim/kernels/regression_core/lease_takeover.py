"""Three of the platform's own runners work on one store; dead and sleeping ones are taken over.

`testops.runner.worker` runs unmodified, with its threads, over the platform's store
(`testops.storage` on SQLite) on another host; only the stages themselves, which would be processes,
are a wait with an answer. A runner that was paused or cut off for longer than its lease finds its
runs in other hands when it wakes, and must not be able to write anything about them.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import toron
from sim.kernels.platform import new_run, open_here, run_id_for
from sim.kernels.remote_store import Remote, RemotePort, RemoteQueue, StoreServer, job
from testops.domain.errors import StoreUnavailable
from testops.domain.execution import Executor
from testops.domain.run import TERMINAL
from testops.domain.stage import Metric, StageName, StageReport, StageState
from testops.runner.budget import Budget
from testops.runner.stage_jobs import Result, StageCrashed, StageDone, StageJob, StageStopped
from testops.runner.worker import Worker
from testops.runner.worker_ports import Place, WorkerPorts
from testops.storage.database import Database
from testops.storage.tables import run, run_event, stage_execution, stage_result
from testops.telemetry.clock import Clock, SystemClock

RUNNERS = ("ann", "bob", "cid")
RUNS = ("r0", "r1", "r2", "r3", "r4")
STAGES: dict[str, Any] = {"lint": {"ruff": {}}, "unit": {}}
FAULTS_S = 14.0
# A lease of 4 s, as long until a runner dares to bury another, and all work anew.
RECOVERY_S = 30.0
ANSWER_S = 0.7
LOOK_S = 1.0
STAGE_S = (0.5, 4.0)
# Longer than a lease: whoever sleeps so long is taken for dead.
NAP_S = (4.5, 8.0)
CRASH_ONE_IN = 10


@dataclass(slots=True)
class Tally:
    """What somebody knows who sees all hosts and forgets nothing."""

    starts: int = 0
    fences: dict[str, list[int]] = field(default_factory=dict)
    # The runner that took a run last.
    busy: str = RUNNERS[0]
    faults: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    executions: dict[str, int] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    def see(self, kind: str, arguments: Any, value: Any) -> None:
        if kind == "executions.take" and value is not None:
            fences = self.fences.setdefault(value.run.run_id, [])
            if fences and fences[-1] >= value.fence:
                self.faults.append(f"fence {value.fence} after {fences}")
            fences.append(value.fence)
            self.busy = arguments[2].partition("-")[0]


class Store:
    """The storing host between two power cuts."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def live(self) -> None:
        database = await asyncio.to_thread(open_here, job)
        server = StoreServer(database, self._tally.see)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve())
            group.create_task(self._look_on(database))

    async def _look_on(self, database: Database) -> None:
        while True:
            self._tally.faults += await asyncio.to_thread(look_over, database, self._tally)
            await asyncio.sleep(LOOK_S)


def look_over(database: Database, tally: Tally) -> list[str]:
    """What is wrong with all that is kept, in one look at everything."""
    with database.read() as connection:
        runs = connection.execute(sa.select(run)).all()
        events = connection.execute(sa.select(run_event).order_by(run_event.c.seq)).all()
        results = connection.execute(sa.select(stage_result)).all()
        begun = connection.execute(
            sa.select(stage_execution).order_by(stage_execution.c.number)
        ).all()
    faults = []
    for row in runs:
        tally.states[row.run_id] = row.state
        own = [event for event in events if event.run_id == row.run_id]
        if [event.seq for event in own] != list(range(1, row.last_seq + 1)):
            faults.append(f"{row.run_id} has events {[event.seq for event in own]}")
        faults += _faults_of_attempt(row, own, [r.stage for r in results if r.run_id == row.run_id])
    for result in results:
        key = (result.run_id, result.stage)
        last = [one for one in begun if (one.run_id, one.stage) == key][-1]
        tally.executions["/".join(key)] = last.number
        (by,) = json.loads(result.report)["notes"]
        if by != last.executor_id or last.ended_at is None:
            faults.append(f"{key} was answered by {by} while {last.executor_id} executed it")
    return faults


def _faults_of_attempt(row: Any, own: list[Any], kept: list[str]) -> list[str]:
    """What the log of a run (each has one attempt here) says that cannot be."""
    told = [json.loads(event.body) for event in own]
    ends = [body["seq"] for body in told if body["type"] == "run.finished"]
    finished = sorted(body["stage"] for body in told if body["type"] == "stage.finished")
    faults = []
    if len(ends) != (row.state in TERMINAL) or any(seq != row.last_seq for seq in ends):
        faults.append(f"{row.run_id} is {row.state}, ended at {ends} of {row.last_seq}")
    if finished != sorted(kept):
        faults.append(f"{row.run_id} tells the results {finished} and keeps {sorted(kept)}")
    return faults


class Places:
    """The disk of a runner; the stages of this kernel leave nothing on it."""

    def prepare(self, _taken: object) -> Place:
        return Place(Path("/srv/project"), Path("/srv/output"))

    def keep(self, _place: Place, _left: object) -> tuple[()]:
        return ()

    def keep_chunk(self, path: Path) -> str:
        raise AssertionError(f"no run here is large enough to be divided: {path}")

    def fetch_chunk(self, sha256: str, place: Place) -> Path:
        raise AssertionError(f"no run here is large enough to be divided: {sha256} {place}")

    def baselines(self, _taken: object, _place: Place, identity: str) -> Path | None:
        raise AssertionError(f"no run here leaves a bundle: {identity}")


class Runner:
    """A runner host between two power cuts."""

    def __init__(self, name: str, tally: Tally) -> None:
        self._name = name
        self._tally = tally

    async def live(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._start)
            except StoreUnavailable:
                await asyncio.sleep(1.0)  # as whoever started it would, start it again
            else:
                await asyncio.Event().wait()

    def _start(self) -> None:
        self._tally.starts += 1
        self._me = f"{self._name}-{self._tally.starts}"
        remote = Remote("store", timeout_s=ANSWER_S)
        ports = WorkerPorts(
            executions=RemotePort(remote, "executions"),
            chunks=RemotePort(remote, "chunks"),
            leases=RemotePort(remote, "leases"),
            queue=RemoteQueue(remote, self._me),
            places=Places(),
            run_stage=self._run_stage,
            clock=SystemClock(),
            duties=[],
        )
        executor = Executor(self._me, "runner", self._name, 1, 2, "simulated")
        budget = Budget(cores=2, memory_mb=8000)
        Worker(executor, ports, budget, runs_at_once=2, chunks_at_once=1).start()

    def _run_stage(
        self,
        job: StageJob,
        *,
        on_event: Callable[[dict[str, object]], None],
        stop: Callable[[], str | None],
        clock: Clock,
    ) -> Result:
        """A stage that takes a while, tells how far it is, and now and then breaks."""
        ends = clock.elapsed_s() + random.uniform(*STAGE_S)
        done = 0
        while clock.elapsed_s() < ends:
            time.sleep(0.2)
            done += 1
            told = {"type": "stage.progress", "stage": job.stage, "key": job.stage, "done": done}
            if done % 3 == 0:
                on_event(told)
            if (why := stop()) is not None:
                self._tally.stopped[why] = self._tally.stopped.get(why, 0) + 1
                return StageStopped(why)
        if random.randrange(CRASH_ONE_IN) == 0:
            return StageCrashed("killed by signal 9", "signal")
        return StageDone(report=_report(job.stage, self._me))


def _report(stage: str, by: str) -> dict[str, Any]:
    wanted = {"lint": {"errors": 0}, "unit": {"failed": 0, "tests": 1, "outbound_attempts": 0}}
    metrics = {name: Metric(name, value, by) for name, value in wanted[stage].items()}
    report = StageReport(StageName(stage), StageState.RAN, metrics=metrics, notes=(by,))
    return report.to_full_json()


class User:
    """Asks for runs, and cancels one of them; what was answered is on its disk."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cancelled = False

    async def live(self) -> None:
        remote = Remote("store", timeout_s=ANSWER_S)
        for name in RUNS:
            if name not in self.asked:
                deadline_s = 9.0 if name == "r3" else None
                new = new_run(name, stages=STAGES, deadline_s=deadline_s)
                await self._insist(remote, "runs.create", new)
                self.asked.append(name)
                await asyncio.sleep(random.uniform(0.0, 2.5))
        if not self.cancelled:
            await self._insist(remote, "runs.request_cancel", run_id_for("r4"), "somebody")
            self.cancelled = True

    async def _insist(self, remote: Remote, *call: Any) -> None:
        while True:
            try:
                await asyncio.to_thread(remote.call, *call)
            except StoreUnavailable:
                await asyncio.sleep(0.5)
            else:
                return


async def execute_runs(world: toron.World) -> None:
    """Runners die, sleep and are cut off; each run ends once, with one result for each stage."""
    tally = Tally()
    user = User()
    runners = [world.host(name) for name in RUNNERS]
    world.host("store").spawn(Store(tally).live)
    world.host("user").spawn(user.live)
    for host in runners:
        host.spawn(Runner(host.name, tally).live)

    def is_done() -> bool:
        ended = [tally.states.get(run_id_for(name)) in TERMINAL for name in RUNS]
        return user.cancelled and all(ended)

    world.faults(
        partitions=True,
        crashes=True,
        kills=True,
        loss=True,
        slow=True,
        resets=True,
        within=FAULTS_S,
    )
    world.faults(crashes=True, pauses=True, clock_drift=True, hosts=[*RUNNERS], within=FAULTS_S)
    world.always("what is kept is whole", lambda: tally.faults == [])
    world.eventually("every run ends", is_done, within=FAULTS_S + RECOVERY_S)
    await world.sleep(random.uniform(2.0, 5.0))
    sleeper = world.host(tally.busy)
    sleeper.pause()
    await world.sleep(random.uniform(*NAP_S))
    sleeper.resume()
    while not (is_done() and world.now >= FAULTS_S) and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.5)
    await world.quiet()
    # Whoever slept wakes now, and tries to write.
    await world.sleep(3)
    taken = max((len(fences) for fences in tally.fences.values()), default=0)
    world.sometimes("a run was taken over", taken > 1)
    world.sometimes("a run was taken over twice", taken > 2)
    world.sometimes("a stage was executed again", max(tally.executions.values(), default=0) > 1)
    world.sometimes("an execution found itself fenced", tally.stopped.get("fenced", 0) > 0)
    world.sometimes("an execution was cancelled", tally.stopped.get("cancelled", 0) > 0)
    world.record("states", {name: tally.states.get(run_id_for(name)) for name in RUNS})
    world.record("fences", {name: tally.fences.get(run_id_for(name), []) for name in RUNS})
    world.record("starts", tally.starts)
    world.record("stopped", dict(sorted(tally.stopped.items())))


@toron.kernel
async def lease_takeover(world: toron.World) -> None:
    await execute_runs(world)
