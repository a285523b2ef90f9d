"""Kills a part of the platform at every event of a run, and looks at what became of the run.

`make crash-sweep` does all of it: each part of each layout, at each event. A case is a layout, a
victim and a number: the victim is killed with SIGKILL when that event has been committed. Its
supervisor (here: the sweep) starts it again, a runner of several after a while that the seed draws,
so that another has to take over. Then everything that the platform promises is looked at. With
`CRASH_SWEEP_KEEP=1` the folder with the logs of all processes is kept.

    python -m tests.crash.sweep [--seed N] [--layout L] [--victim V] [--at N] [--sample N]
"""

import argparse
import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from tests.crash.processes import Layout, System
from tests.crash.streams import Follower, Viewer, read_in_pieces, read_straight
from tests.crash.workload import STAGES, write_project
from tests.support.postgres import Postgres, running_postgres

from testops.domain.errors import StoreUnavailable
from testops.domain.run import TERMINAL
from testops.storage.database import Database, open_database
from testops.storage.tables import lease, run, run_event, stage_result

# The promise: after any kill, a run ends or goes on within this.
SILENCE_S_MAX = 30.0
RUN_S_MAX = 150.0
PIECES = 50
_WATCH_S = 0.004
VICTIMS: dict[Layout, tuple[str, ...]] = {
    "sqlite": ("api", "gateway", "runner"),
    "serve": ("serve", "serve-runner"),
    "postgres": ("api", "gateway", "runner", "postgres"),
}


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """Kill `victim` of `layout` when event number `at` is committed; 0 is never."""

    layout: Layout
    victim: str
    at: int

    def line(self) -> str:
        """As it is printed."""
        return f"{self.layout:<8} {self.victim:<12} at event {self.at:>2}"


@dataclass(slots=True)
class Outcome:
    """What became of the run of a case."""

    case: Case
    run_id: str = ""
    events: int = 0
    seconds: float = 0.0
    silence_s: float = 0.0
    killed: bool = False
    reconnects: int = 0
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A line for the case, and one for each problem."""
        verdict = "ok  " if not self.problems else "FAIL"
        killed = "killed" if self.killed else "not killed: the run had ended"
        line = (
            f"{verdict} {self.case.line()}  run {self.run_id}: {self.events} events, "
            f"{self.seconds:.1f} s, silence {self.silence_s:.1f} s, {self.reconnects} reconnects, "
            f"{killed}"
        )
        return "\n".join([line, *(f"       {problem}" for problem in self.problems)])


class Sweep:
    """One layout, running, and the cases that are played on it."""

    def __init__(self, system: System, seed: int) -> None:
        self.system = system
        self._seed = seed
        self._database: Database = open_database(system.database_url)
        self._count = 0

    def play(self, case: Case) -> Outcome:
        """One run with one kill."""
        self._count += 1
        chance = random.Random(f"{self._seed}/{case.line()}")
        outcome = Outcome(case)
        begun = time.monotonic()
        killer = Killer(self.system, self._database, case, chance)
        try:
            self._play(case, chance, outcome, killer)
        except AssertionError as error:
            outcome.problems.append(str(error))
        finally:
            killer.finish()
            outcome.killed = killer.killed
            outcome.seconds = time.monotonic() - begun
            self.system.wait_ready()
        if outcome.problems:
            outcome.problems += [
                f"{name}: {self.system.said(name)[-600:]}" for name in self.system.roles
            ]
        return outcome

    def _play(self, case: Case, chance: random.Random, outcome: Outcome, killer: "Killer") -> None:
        salt = f"{self._seed}-{self._count}-{case.line()}-{os.getpid()}"
        killer.watch()
        outcome.run_id = self.system.ask(salt)
        follower = Follower(self.system, outcome.run_id)
        self._wait_for_end(outcome)
        killer.finish()
        self.system.wait_ready()
        followed = follower.finish(limit_s=SILENCE_S_MAX)
        outcome.reconnects = followed.connections - 1
        kept = self._look(outcome)
        self._compare(kept, followed, outcome, "a follower through the kill")
        self._compare(kept, read_straight(self.system, outcome.run_id), outcome, "one connection")
        pieces = read_in_pieces(self.system, outcome.run_id, chance, pieces=PIECES)
        self._compare(kept, pieces, outcome, f"{pieces.connections} connections")
        self._no_process_is_left(outcome)

    def _wait_for_end(self, outcome: Outcome) -> None:
        limit = time.monotonic() + RUN_S_MAX
        state = "unknown"
        while time.monotonic() < limit:
            with suppress(StoreUnavailable), self._database.read() as connection:
                wanted = sa.select(run.c.state).where(run.c.run_id == outcome.run_id)
                state = connection.execute(wanted).scalar_one()
                if state in TERMINAL:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the run is {state} after {RUN_S_MAX:.0f} s")

    def _look(self, outcome: Outcome) -> list[tuple[int, bytes]]:
        """Everything that the tables must say; the events as they are kept."""
        with self._database.read() as connection:
            here = run.c.run_id == outcome.run_id
            row = connection.execute(sa.select(run).where(here)).one()
            events = connection.execute(
                sa.select(run_event)
                .where(run_event.c.run_id == outcome.run_id)
                .order_by(run_event.c.seq)
            ).all()
            results = connection.execute(
                sa.select(stage_result.c.attempt, stage_result.c.stage).where(
                    stage_result.c.run_id == outcome.run_id
                )
            ).all()
        outcome.events = len(events)
        say = outcome.problems.append
        if (row.state, row.verdict, row.attempt) != ("finished", "pass", 1):
            say(f"it ended {row.state}, {row.verdict}, attempt {row.attempt}: {row.reason}")
        if sorted(results) != [(1, stage) for stage in sorted(STAGES)]:
            say(f"its results are {sorted(results)}")
        numbers = [event.seq for event in events]
        if numbers != list(range(1, row.last_seq + 1)):
            say(f"its events are numbered {numbers}, the newest is {row.last_seq}")
        for event in events:
            body = json.loads(event.body)
            if (body["seq"], body["run_id"], body["type"]) != (
                event.seq,
                outcome.run_id,
                event.type,
            ):
                say(f"event {event.seq} says {body}")
        self._once(outcome, [(event.type, json.loads(event.body)) for event in events])
        stamps = [event.at_ms for event in events]
        gaps = [later - before for before, later in itertools.pairwise(stamps)]
        outcome.silence_s = max(gaps, default=0) / 1000
        if outcome.silence_s > SILENCE_S_MAX:
            say(f"nothing happened for {outcome.silence_s:.1f} s")
        return [(event.seq, event.body.encode()) for event in events]

    def _once(self, outcome: Outcome, events: Sequence[tuple[str, Any]]) -> None:
        names = [kind for kind, _ in events]
        for name in ("run.queued", "run.started", "run.finished"):
            if names.count(name) != 1:
                outcome.problems.append(f"{name} is in its log {names.count(name)} times")
        if names and names[-1] != "run.finished":
            outcome.problems.append(f"its log ends with {names[-1]}")
        ended = Counter(body["stage"] for kind, body in events if kind == "stage.finished")
        if ended != Counter(STAGES):
            outcome.problems.append(f"stage.finished is in its log for {dict(ended)}")

    def _compare(
        self, kept: list[tuple[int, bytes]], seen: Viewer, outcome: Outcome, who: str
    ) -> None:
        if seen.frames != kept:
            numbers = [number for number, _ in seen.frames]
            outcome.problems.append(f"{who} saw {numbers} of {len(kept)} events ({seen.notes})")

    def _no_process_is_left(self, outcome: Outcome) -> None:
        limit = time.monotonic() + 10
        while (left := self.system.leftovers()) and time.monotonic() < limit:
            time.sleep(0.1)
        if left:
            outcome.problems.append(f"processes are left: {left[:5]}")

    def close(self) -> None:
        self._database.close()


class Killer:
    """Waits in a thread until event `at` of the next run is committed, kills, and starts again."""

    def __init__(
        self, system: System, database: Database, case: Case, chance: random.Random
    ) -> None:
        self.killed = False
        self._system = system
        self._database = database
        self._case = case
        # A runner of several stays away for longer than its lease in half of the cases.
        self._away_s = chance.choice((0.0, 8.0)) if system.layout == "postgres" else 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._after = 0
        self._error: BaseException | None = None

    def watch(self) -> None:
        """Watch the run that is created next: nobody else creates any."""
        self._after = self._newest_run_count()
        if self._case.at:
            self._thread.start()

    def finish(self) -> None:
        """Wait until what was killed has been started again."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(60)
        if self._error is not None:
            error, self._error = self._error, None
            raise AssertionError(f"the killer failed: {error!r}")

    def _newest_run_count(self) -> int:
        with self._database.read() as connection:
            counted = sa.select(sa.func.count()).select_from(run)
            return int(connection.execute(counted).scalar_one())

    def _work(self) -> None:
        try:
            with _watching(self._system.database_url) as newest:
                while not self._stop.is_set():
                    count, last_seq = newest()
                    if count > self._after and last_seq >= self._case.at:
                        break
                    time.sleep(_WATCH_S)
                else:
                    return
            self.killed = True
            self._kill()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for us
            self._error = error

    def _kill(self) -> None:
        system, victim = self._system, self._case.victim
        if victim == "postgres":
            assert system.postgres is not None
            system.postgres.kill()
            time.sleep(self._away_s / 4)
            system.postgres.start()
        elif victim == "serve-runner":
            pid = system.runner_child()
            assert pid is not None, "serve has no runner"
            os.kill(pid, 9)
        else:
            name = self._executor() if victim == "runner" else victim
            system.kill(name)
            if victim == "runner":
                time.sleep(self._away_s)
            system.launch(name)

    def _executor(self) -> str:
        """The runner that executes the newest run, or the first one while it waits."""
        with self._database.read() as connection:
            newest = sa.select(run.c.executor_id).order_by(run.c.created_ms.desc()).limit(1)
            holder = connection.execute(newest).scalar_one_or_none()
            pid = connection.execute(
                sa.select(lease.c.pid).where(lease.c.executor_id == holder)
            ).scalar_one_or_none()
        runners = [name for name in self._system.roles if name.startswith("runner")]
        return next((one for one in runners if self._system.roles[one].pid == pid), runners[0])


@contextmanager
def _watching(url: str) -> Iterator[Any]:
    """A quick look at how many runs there are, and how far the log of the newest goes."""
    sql = (
        "SELECT (SELECT count(*) FROM run),"
        " coalesce((SELECT last_seq FROM run ORDER BY created_ms DESC, run_id LIMIT 1), 0)"
    )
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        file.execute("PRAGMA query_only=ON")
        yield lambda: file.execute(sql).fetchone()
        file.close()
        return
    with psycopg.connect(url, autocommit=True) as server:
        yield lambda: server.execute(sql.encode()).fetchone()


@contextmanager
def running(layout: Layout, postgres: Postgres | None = None) -> Iterator[System]:
    """The processes of a layout, in a folder of their own."""
    folder = Path(tempfile.mkdtemp(prefix="testops-crash-"))
    write_project(folder / "project")
    url = f"sqlite:///{folder}/data/testops.db"
    if layout == "postgres":
        assert postgres is not None
        url = postgres.fresh_database()
    system = System(layout, folder, folder / "project", url, postgres)
    try:
        system.start()
        yield system
    finally:
        try:
            system.stop()
        finally:
            if os.environ.get("CRASH_SWEEP_KEEP"):
                print(f"kept: {folder}", flush=True)
            else:
                shutil.rmtree(folder, ignore_errors=True)


def cases_of(layout: Layout, event_count: int) -> list[Case]:
    """Every victim at every event."""
    return [
        Case(layout, victim, at) for at in range(1, event_count + 1) for victim in VICTIMS[layout]
    ]


def play_layout(
    layout: Layout, seed: int, wanted: argparse.Namespace, postgres: Postgres | None
) -> list[Outcome]:
    """Play what is wanted of one layout; a line for each case."""
    outcomes = []
    with running(layout, postgres) as system:
        sweep = Sweep(system, seed)
        try:
            whole = sweep.play(Case(layout, "nobody", 0))
            print(whole.text(), flush=True)
            outcomes.append(whole)
            for case in _chosen(cases_of(layout, whole.events), seed, wanted):
                outcomes.append(sweep.play(case))
                print(outcomes[-1].text(), flush=True)
        finally:
            sweep.close()
    return outcomes


def _chosen(cases: list[Case], seed: int, wanted: argparse.Namespace) -> list[Case]:
    kept = [
        case
        for case in cases
        if wanted.victim in (None, case.victim) and wanted.at in (None, case.at)
    ]
    if wanted.sample is None or wanted.sample >= len(kept):
        return kept
    # At least one of each victim, as far as the sample goes.
    chance = random.Random(f"{seed}/sample")
    chance.shuffle(kept)
    first = {case.victim: case for case in reversed(kept)}
    rest = [case for case in kept if case not in first.values()]
    return sorted([*first.values(), *rest][: wanted.sample])


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole sweep; 0 when every case holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SIM_SEED", "1")))
    parser.add_argument("--layout", choices=sorted(VICTIMS))
    parser.add_argument("--victim")
    parser.add_argument("--at", type=int)
    parser.add_argument("--sample", type=int, help="so many cases of each layout")
    wanted = parser.parse_args(arguments)
    outcomes = []
    for layout in VICTIMS if wanted.layout is None else [wanted.layout]:
        if layout == "postgres":
            with running_postgres() as server:
                outcomes += play_layout(layout, wanted.seed, wanted, server)
        else:
            outcomes += play_layout(layout, wanted.seed, wanted, None)
    broken = [one for one in outcomes if one.problems]
    print(
        f"crash sweep, seed {wanted.seed}: {len(outcomes)} runs, "
        f"{sum(one.killed for one in outcomes)} kills, {len(broken)} broken; longest silence "
        f"{max((one.silence_s for one in outcomes), default=0):.1f} s"
    )
    for one in broken:
        print(
            f"replay: python -m tests.crash.sweep --seed {wanted.seed} --layout "
            f"{one.case.layout} --victim {one.case.victim} --at {one.case.at}"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
