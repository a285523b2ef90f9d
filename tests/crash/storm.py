"""Many runs wait, three runners work, and one of them is killed every few seconds: all runs finish.

    python -m tests.crash.storm [--runs N] [--kill-every-s S] [--kill-for-s S] [--seed N]

The runs wait before the first runner comes, so in which order they start is the queue's decision
alone. A start is out of order when more runs of a better priority still waited than there are
places: a run that a place had already taken may start a moment after a worse one did.
"""

import argparse
import concurrent.futures
import http.client
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.crash.processes import KEY, System, insist
from tests.crash.workload import write_project
from tests.support.postgres import NoPostgres, Postgres, running_postgres

from testops.storage.database import open_database
from testops.storage.tables import attempt, run, run_event, stage_execution, stage_result

RUNNERS = ("runner-1", "runner-2", "runner-3")
PRIORITIES = (1, 5, 9)
CLIENTS = 8
_AWAY_S = (1.0, 6.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How hard it blows."""

    runs: int
    kill_every_s: float
    kill_for_s: float
    seed: int
    limit_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it; `problems` is empty when every promise was kept."""

    runs: int
    kills: int
    lost_executions: int
    takeovers: int
    seconds: float
    out_of_order_max: int
    places: int
    problems: Sequence[str]

    def text(self) -> str:
        said = "ok  " if not self.problems else "FAIL"
        return (
            f"{said} storm: {self.runs} runs, {self.kills} runners killed, {self.takeovers} runs "
            f"taken over, {self.lost_executions} executions lost and repeated, "
            f"{self.seconds:.0f} s; waiting before a start of worse priority: at most "
            f"{self.out_of_order_max} (places: {self.places})"
        )


def blow(wanted: Wanted, postgres: Postgres) -> Outcome:
    """One storm on a fresh database of `postgres`."""
    with tempfile.TemporaryDirectory(prefix="testops-storm-") as name:
        folder = Path(name)
        write_project(folder / "project")
        url = postgres.fresh_database()
        system = System("postgres", folder, folder / "project", url, postgres)
        system.start()
        try:
            _end_runners(system)
            ids = _ask(system, wanted)
            began = time.monotonic()
            kills = _kill(system, wanted)
            _wait(url, wanted, ids)
            seconds = time.monotonic() - began
        finally:
            system.stop()
        left = system.leftovers()
        outcome = _look(url, wanted, kills, seconds, left)
        postgres.drop(url)
        return outcome


def _end_runners(system: System) -> None:
    for name in RUNNERS:
        popen = system.roles[name].popen
        assert popen is not None
        popen.send_signal(signal.SIGTERM)
    for name in RUNNERS:
        popen = system.roles[name].popen
        assert popen is not None
        popen.wait(20)


def _ask(system: System, wanted: Wanted) -> list[str]:
    """Ask for every run, many at once, the priorities mixed by the seed."""
    draw = random.Random(wanted.seed)
    bodies = [
        {
            "suite": "tiny",
            "stages": ["lint"],
            "salt": f"{wanted.seed}-{number}",
            "priority": draw.choice(PRIORITIES),
        }
        for number in range(wanted.runs)
    ]

    def ask(part: Sequence[dict[str, Any]]) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", system.api.port, timeout=60)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        ids = []
        for body in part:
            connection.request("POST", "/v1/test-runs", json.dumps(body), headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
            assert answer.status == 202, said
            ids.append(said["run_id"])
        connection.close()
        return ids

    parts = [bodies[number::CLIENTS] for number in range(CLIENTS)]
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return [run_id for part in pool.map(ask, parts) for run_id in part]


def _kill(system: System, wanted: Wanted) -> int:
    """Start the runners, and kill one after the other for as long as is wanted."""
    draw = random.Random(wanted.seed)
    for name in RUNNERS:
        system.launch(name)
    end = time.monotonic() + wanted.kill_for_s
    kills = 0
    while (now := time.monotonic()) < end:
        victim = RUNNERS[kills % len(RUNNERS)]
        away_s = min(draw.uniform(*_AWAY_S), wanted.kill_every_s)
        time.sleep(min(wanted.kill_every_s - away_s, end - now))
        system.kill(victim)
        kills += 1
        time.sleep(away_s)
        system.launch(victim)
    return kills


def _wait(url: str, wanted: Wanted, ids: Sequence[str]) -> None:
    database = open_database(url)
    ended = sa.select(sa.func.count()).where(run.c.state.not_in(("queued", "running")))

    def all_ended() -> bool | None:
        with database.read() as connection:
            return connection.execute(ended).scalar_one() == len(ids) or None

    try:
        insist(all_ended, limit_s=wanted.limit_s)
    except AssertionError:
        # What did not end is a problem that `_look` names.
        return
    finally:
        database.close()


def _look(url: str, wanted: Wanted, kills: int, seconds: float, left: Sequence[str]) -> Outcome:
    database = open_database(url)
    with database.read() as connection:
        runs = connection.execute(sa.select(run)).all()
        problems = [
            f"run {one.run_id} is {one.state}, {one.verdict}: {one.reason}"
            for one in runs
            if (one.state, one.verdict) != ("finished", "pass")
        ]
        if len(runs) != wanted.runs:
            problems.append(f"{len(runs)} runs are kept, {wanted.runs} were asked for")
        problems += _results(connection, wanted)
        problems += _gaps(connection)
        starts = connection.execute(
            sa.select(run_event.c.at_ms, run.c.priority)
            .join(run, run.c.run_id == run_event.c.run_id)
            .where(run_event.c.type == "run.started")
            .order_by(run_event.c.at_ms)
        ).all()
        lost = connection.execute(
            sa.select(sa.func.count()).where(stage_execution.c.outcome == "lost")
        ).scalar_one()
    database.close()
    places = _places()
    most = waiting_before_worse([priority for _, priority in starts])
    if most > places:
        problems.append(f"{most} runs of a better priority waited while a worse one started")
    problems += [f"left over: {one}" for one in left]
    takeovers = sum(one.fence - 1 for one in runs)
    return Outcome(len(runs), kills, lost, takeovers, seconds, most, places, problems)


def _results(connection: sa.Connection, wanted: Wanted) -> list[str]:
    counted = Counter(connection.execute(sa.select(stage_result.c.run_id)).scalars())
    attempts = connection.execute(sa.select(sa.func.count()).select_from(attempt)).scalar_one()
    problems = [f"run {name} has {count} results" for name, count in counted.items() if count != 1]
    if len(counted) != wanted.runs or attempts != wanted.runs:
        problems.append(f"{len(counted)} results and {attempts} attempts of {wanted.runs} runs")
    return problems


def _gaps(connection: sa.Connection) -> list[str]:
    rows = connection.execute(
        sa.select(run.c.run_id, run.c.last_seq, sa.func.count(), sa.func.max(run_event.c.seq))
        .join(run_event, run_event.c.run_id == run.c.run_id)
        .group_by(run.c.run_id, run.c.last_seq)
    )
    return [
        f"the log of run {name} ends at {last} and has {count} events up to {most}"
        for name, last, count, most in rows
        if not last == count == most
    ]


def _places() -> int:
    """How many runs three runners of this machine hold at a time."""
    from testops.wiring import cpu_count

    return len(RUNNERS) * max(2, cpu_count())


def waiting_before_worse(starts: Sequence[int]) -> int:
    """The most runs of a better priority that start only after some run of a worse one."""
    most = 0
    for place, priority in enumerate(starts):
        better_later = sum(later < priority for later in starts[place + 1 :])
        most = max(most, better_later)
    return most


def main() -> int:
    """One storm as the arguments want it; 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--kill-every-s", type=float, default=10.0)
    parser.add_argument("--kill-for-s", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=1800.0)
    given = parser.parse_args()
    wanted = Wanted(given.runs, given.kill_every_s, given.kill_for_s, given.seed, given.limit_s)
    try:
        with running_postgres() as postgres:
            outcome = blow(wanted, postgres)
    except NoPostgres as why:
        sys.stdout.write(f"not run: {why}\n")
        return 4
    sys.stdout.write(outcome.text() + "\n")
    for problem in outcome.problems:
        sys.stdout.write(f"     {problem}\n")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
