"""Explores by forking at rare states: the half that asks, of which `rare` is the half that forks.

Of a budget of runs one part starts over, each with the next seed; the rest are copies made where
one of them came into a state that was new. Each is a run with an outcome and a token of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toron.errors import BadKernel, ToronError, WorkerDied
from toron.search.outcome import Execution
from toron.search.pool import Request, Worker, death_of, in_parallel

ENERGY = 24
"""Forks that one run started over, and all that comes of it, may make."""
FANOUT = 2
"""Forks at one state."""


@dataclass(frozen=True, slots=True)
class RareSearch:
    """A budget of runs, and how it is spent."""

    name: str
    seeds: Sequence[int]
    """As many runs as there are seeds; those that start over take them in order."""
    chaos_seed: int
    strategy: str
    jobs: int = 1
    energy: int = ENERGY
    fanout: int = FANOUT


def search_rare(search: RareSearch, worker_of: Callable[[int], Worker]) -> Iterator[Execution]:
    """Every run as it ends. Each of ``jobs`` groups has a worker, which remembers what was seen."""
    left, started = len(search.seeds), 0
    while left > 0:
        share = min(search.energy, max(0, left // search.jobs - 1))
        groups = range(min(search.jobs, left))
        seeds = [search.seeds[started + group] for group in groups]
        started += len(groups)

        def work(item: tuple[int, int], _lane: int, energy: int = share) -> list[Execution]:
            group, seed = item
            request = Request(search.name, seed, search.chaos_seed, strategy=search.strategy)
            return tree_of(worker_of(group), request, energy=energy, fanout=search.fanout)

        items = list(zip(groups, seeds, strict=True))
        for tree in in_parallel(items, work, jobs=search.jobs):
            yield from tree[: max(0, left)]
            left -= len(tree)


def tree_of(worker: Worker, base: Request, *, energy: int, fanout: int) -> list[Execution]:
    """One run and all that was forked from it, in the order in which they ended."""
    tree: list[Execution] = []
    unheard: dict[Request, None] = {base: None}  # runs that have begun and said nothing yet
    kind, text = "crash", death_of(0)
    try:
        for message in worker.converse(base, {"energy": energy, "fanout": fanout}):
            _hear(worker, base, message, tree, unheard)
    except (EOFError, TimeoutError, WorkerDied) as error:
        worker.stop()
        kind = "limit" if isinstance(error, TimeoutError) else "crash"
        text = str(error) or "no answer in time; the run was killed"
    return [*tree, *(worker.cut_short(request, kind, text) for request in unheard)]


def _hear(
    worker: Worker,
    base: Request,
    message: dict[str, Any],
    tree: list[Execution],
    unheard: dict[Request, None],
) -> None:
    match message["kind"]:
        case "forked":
            unheard[_branch(base, message)] = None
        case "outcome":
            request = _branch(base, message)
            unheard.pop(request, None)
            tree.append(worker.execution_from(message, request))
        case "died":
            request = _branch(base, message)
            unheard.pop(request, None)
            tree.append(worker.cut_short(request, "crash", death_of(message["status"])))
        case "refused":
            raise BadKernel(message["message"])
        case "error":
            raise ToronError(f"Toron failed inside the worker:\n{message['message']}")
        case "end" if message["status"]:
            raise WorkerDied(death_of(message["status"]))


def _branch(base: Request, message: dict[str, Any]) -> Request:
    return replace(base, reseeds=tuple((at_ns, salt) for at_ns, salt in message["reseeds"]))
