"""Forks at rare states: what is new is copied, within its energy, and each copy replays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from toron.search.outcome import Execution
from toron.search.pool import Request, Worker
from toron.search.rare_search import RareSearch, search_rare, tree_of
from toron.search.references import Token
from toron.testing import replay

PROGRAMS = Path(__file__).parents[1] / "programs"


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker(PROGRAMS / "branching.py", wall_limit_s=30) as started:
        yield started


def tree(worker: Worker, kernel: str, seed: int, energy: int) -> list[Execution]:
    return tree_of(worker, Request(kernel, seed, 0), energy=energy, fanout=2)


def test_the_first_run_only_learns_and_the_next_ones_are_forked(worker: Worker) -> None:
    assert len(tree(worker, "over_the_network", 0, energy=6)) == 1
    forked = [tree(worker, "over_the_network", seed, energy=6) for seed in range(1, 4)]
    assert max(map(len, forked)) > 1
    assert all(len(runs) <= 7 for runs in forked)
    states = [runs[-1].states for runs in forked]
    assert states == sorted(states)


def test_every_run_of_a_tree_replays_and_they_differ(worker: Worker) -> None:
    tree(worker, "over_the_network", 0, energy=0)
    runs = [run for seed in (1, 2) for run in tree(worker, "over_the_network", seed, energy=5)]
    reseeds = [Token.decode(run.outcome.token).reseeds for run in runs]
    assert len(set(reseeds[: len(runs)])) >= len(runs) - 1  # two runs started over
    assert any(len(each) > 1 for each in reseeds) or len(runs) > 3
    assert len({run.outcome.trace_digest for run in runs}) == len(runs)
    for run in runs:
        assert replay(run.outcome.token).trace_digest == run.outcome.trace_digest


def test_a_run_that_is_not_forked_is_the_plain_run(worker: Worker) -> None:
    plain = worker.execute(Request("over_the_network", 3, 0)).outcome
    (run,) = tree(worker, "over_the_network", 3, energy=0)
    assert not run.outcome.differs_from(plain)
    assert run.outcome.token == plain.token


@pytest.mark.long
def test_the_budget_of_runs_is_kept_whatever_is_forked(worker: Worker) -> None:
    search = RareSearch("over_the_network", range(17), 0, "portfolio", energy=5)
    assert len(list(search_rare(search, lambda _: worker))) == 17


def test_a_copy_that_dies_is_a_crash_with_its_token(worker: Worker) -> None:
    runs = [
        run
        for seed in range(6)
        for run in tree(worker, "that_dies_in_one_branch", seed, energy=4)
        if run.outcome.verdict == "inconclusive"
    ]
    assert runs
    for run in runs:
        assert run.outcome.failure is not None
        assert run.outcome.failure.kind == "crash"
