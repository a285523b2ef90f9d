"""Runs a kernel under many seeds and groups what failed by cause."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from toron.search.clusters import Cluster, Clusters
from toron.search.outcome import Execution, Outcome
from toron.search.pool import FIXED, WALL_LIMIT_S, Conditions, Request, Worker, in_parallel
from toron.search.rare_search import RareSearch, search_rare
from toron.search.references import KernelRef
from toron.search.strategies import (
    DEFAULT_STRATEGY,
    DRIVERS,
    FORK,
    SWARM,
    Driver,
    chaos_seed_for,
)
from toron.world.world import REJECTED

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(slots=True)
class Exploration:
    """What many seeds came to."""

    kernel: str
    chaos_seed: int
    strategy: str = DEFAULT_STRATEGY
    seeds_run: int = 0
    failing_seeds: list[int] = field(default_factory=list)
    inconclusive_seeds: list[int] = field(default_factory=list)
    clusters: Clusters = field(default_factory=Clusters)
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    elapsed_s: float = 0.0
    interrupted: bool = False
    runs_to_first_failure: int | None = None
    """How many seeds, in order, until the first failed; None when none did."""
    bound: str | None = None
    """What a strategy that enumerates has covered, as a sentence."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure what happens inside; Ctrl-C ends it with what was learned so far."""
        begin = time.perf_counter()
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.elapsed_s += time.perf_counter() - begin

    def add(self, outcome: Outcome, seed: int | None = None) -> None:
        """Count one outcome, as that of ``seed``."""
        seed = outcome.sim_seed if seed is None else seed
        self.seeds_run += 1
        for name, counts in outcome.properties.items():
            known = self.properties.setdefault(
                name, {"kind": counts["kind"], "pass": 0, "fail": 0, "never_reached": True}
            )
            known["pass"] += counts["pass"]
            known["fail"] += counts["fail"]
            known["never_reached"] = known["never_reached"] and counts["never_reached"]
        if outcome.verdict == "inconclusive":
            self.inconclusive_seeds.append(seed)
        elif outcome.verdict == "fail":
            self.failing_seeds.append(seed)
            self.runs_to_first_failure = self.runs_to_first_failure or self.seeds_run
        if outcome.failure is not None:
            self.clusters.add(outcome, seed)

    @property
    def failures(self) -> list[Cluster]:
        """One failure for each cause."""
        return self.clusters.all()

    @property
    def never_reached(self) -> list[str]:
        """What should have been seen in some run and was seen in none: a warning, no failure.

        Such runs may be green because they never came near what they are about. `unreachable` is
        meant not to be reached.
        """
        return [
            name
            for name, counts in self.properties.items()
            if counts["never_reached"] and counts["kind"] != "unreachable"
        ]

    @property
    def rejected_runs(self) -> int:
        """How many runs ended because their data were not wanted; they count as passed."""
        return int(self.properties.get(REJECTED, {}).get("pass", 0))

    @property
    def learned_nothing(self) -> bool:
        """Whether every run was rejected, so that nothing was put to the test."""
        return self.seeds_run > 0 and self.rejected_runs == self.seeds_run

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        rate = self.seeds_run / self.elapsed_s if self.elapsed_s else 0.0
        return {
            "kernel": self.kernel,
            "chaos_seed": self.chaos_seed,
            "strategy": self.strategy,
            "bound": self.bound,
            "seeds_run": self.seeds_run,
            "failing_seeds": self.failing_seeds,
            "inconclusive_seeds": self.inconclusive_seeds,
            "runs_to_first_failure": self.runs_to_first_failure,
            "failures": [cluster.to_json() for cluster in self.failures],
            "distinct_failures": len(self.failures),
            "properties": self.properties,
            "never_reached": self.never_reached,
            "seeds_per_second": round(rate, 1),
            "interrupted": self.interrupted,
        }


class WorkerLanes:
    """The workers of each lane: one for each set of conditions, all for one file at a time.

    Work is ordered by file, so a lane that turns to another file is done with the one before, and
    its workers end: a suite of many kernels never holds more than a few processes.
    """

    def __init__(self, jobs: int = 1, *, wall_limit_s: float = WALL_LIMIT_S) -> None:
        self._jobs = max(1, jobs)
        self._wall_limit_s = wall_limit_s
        self._workers: dict[int, dict[tuple[str, Conditions], Worker]] = {}
        self._paths: dict[int, Path] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # After Ctrl-C, threads are still at work: none of them may start a process again.
        self._closed = True
        for lane in list(self._workers):
            self._empty(lane)

    def run(self, items: Sequence[_T], work: Callable[[_T, int], _R]) -> Iterator[_R]:
        """`in_parallel`, with as many jobs as there are lanes."""
        yield from in_parallel(items, work, jobs=self._jobs)

    def _empty(self, lane: int) -> None:
        for worker in self._workers.pop(lane, {}).values():
            worker.close()

    def get(self, lane: int, path: Path, role: str, conditions: Conditions = FIXED) -> Worker:
        """The worker of ``lane`` for ``path``; another ``role`` is another process."""
        if self._paths.get(lane) != path:
            self._empty(lane)
            self._paths[lane] = path
        workers = self._workers.setdefault(lane, {})
        worker = workers.get((role, conditions))
        if worker is None:
            worker = Worker(path, conditions, wall_limit_s=self._wall_limit_s)
            workers[role, conditions] = worker
        if self._closed:
            worker.close()
        return worker


_BATCH = 16
"""So many runs are handed out before the driver learns from them, however many go on at a time."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to explore, and how."""

    reference: KernelRef
    seeds: Sequence[int]
    chaos_seed: int
    jobs: int = 1
    strategy: str = DEFAULT_STRATEGY
    beyond: bool = False
    """Whether to search what stock asyncio would not do, where the strategy can."""
    varies_faults: bool = False
    """Whether the portfolio gives seeds plans of faults of their own, of a kernel that has any:
    when nobody has named a chaos seed."""


def run_many(search: Search) -> Generator[Execution]:
    """Execute every seed, results in the order of the seeds."""
    first, rest = list(search.seeds[:1]), list(search.seeds[1:])
    name = search.reference.name
    swarms = search.strategy == SWARM
    strategy = DEFAULT_STRATEGY if swarms else search.strategy

    def chaos_seed_of(seed: int) -> int:
        chaos_seed = search.chaos_seed
        return chaos_seed_for(seed, chaos_seed) if swarms and seed % 2 else chaos_seed

    def work(seed: int, lane: int) -> Execution:
        worker = lanes.get(lane, search.reference.path, "only")
        request = Request(name, seed, chaos_seed_of(seed), strategy=strategy)
        return worker.execute(request, forgives=False)

    with WorkerLanes(search.jobs) as lanes:
        for execution in lanes.run(first, work):
            # A portfolio has a share for the faults, of a kernel that has any.
            swarms = swarms or bool(
                search.varies_faults and strategy == DEFAULT_STRATEGY and execution.outcome.faults
            )
            if execution.outcome.chaos_seed == chaos_seed_of(first[0]):
                yield execution
            else:  # again, as it is among others: what a seed runs does not hang on which is first
                rest = [*first, *rest]
        yield from lanes.run(rest, work)


def drive(search: Search, driver: Driver) -> Generator[Execution]:
    """Execute what ``driver`` hands out, at most one run for each seed; the first seed counts."""

    def work(tape: tuple[tuple[str, int], ...], lane: int) -> Execution:
        worker = lanes.get(lane, search.reference.path, "only")
        return worker.execute(
            Request(
                search.reference.name,
                search.seeds[0],
                search.chaos_seed,
                strategy=search.strategy,
                tape=tape,
                surveys=driver.surveys,
            ),
            forgives=False,
        )

    left = len(search.seeds)
    with WorkerLanes(search.jobs) as lanes:
        while tapes := driver.next_tapes(min(left, _BATCH)):
            left -= len(tapes)
            for tape, execution in zip(tapes, lanes.run(tapes, work), strict=True):
                driver.learn(tape, execution)
                yield execution


def fork(search: Search) -> Generator[Execution]:
    """As many runs as there are seeds, most of them copies made at rare states; see `rare`."""
    plan = RareSearch(
        search.reference.name, search.seeds, search.chaos_seed, DEFAULT_STRATEGY, search.jobs
    )
    with WorkerLanes() as lanes:
        yield from search_rare(plan, lambda group: lanes.get(group, search.reference.path, FORK))


def explore(
    search: Search, on_execution: Callable[[Exploration, Execution], None] | None = None
) -> Exploration:
    """Execute every seed and group the failures. Ctrl-C ends early with what was learned.

    A strategy that enumerates takes as many runs as there are seeds, all under the first seed; its
    runs are counted from the first seed on.
    """
    exploration = Exploration(search.reference.name, search.chaos_seed, search.strategy)
    make_driver = DRIVERS.get(search.strategy)
    driver = None if make_driver is None else make_driver(search.beyond)
    if search.strategy == FORK:
        executions = fork(search)
    else:
        executions = run_many(search) if driver is None else drive(search, driver)
    with exploration.timed(), closing(executions):
        for number, execution in enumerate(executions):
            exploration.add(execution.outcome, search.seeds[number])
            if on_execution is not None:
                on_execution(exploration, execution)
    exploration.bound = driver.bound() if driver is not None else None
    return exploration


def kernels_of(path: Path) -> dict[str, int]:
    """The kernels of a file and how many seeds each asks for."""
    with Worker(path) as worker:
        return dict(worker.kernels)
