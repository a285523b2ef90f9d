"""A seeded sample of `make crash-sweep`; the whole of it takes about an hour."""

import argparse
import os

import pytest
from tests.crash.processes import Layout
from tests.crash.sweep import play_layout
from tests.support.postgres import Postgres

# Which cases: by the seed of the day's run, so that over time every case is played.
SEED = int(os.environ.get("SIM_SEED") or 1)


def _play(layout: Layout, sample: int, postgres: Postgres | None) -> None:
    wanted = argparse.Namespace(victim=None, at=None, sample=sample)
    outcomes = play_layout(layout, SEED, wanted, postgres)
    assert len(outcomes) == sample + 1
    assert any(one.killed for one in outcomes)
    broken = [one.text() for one in outcomes if one.problems]
    assert not broken, "\n".join(broken)


@pytest.mark.timeout(600)
def test_on_sqlite_every_run_survives_the_kill_of_any_process() -> None:
    _play("sqlite", 3, None)


@pytest.mark.timeout(600)
def test_a_server_that_is_one_tree_survives_the_kill_of_it_or_of_its_runner() -> None:
    _play("serve", 2, None)


@pytest.mark.timeout(900)
def test_on_postgresql_every_run_survives_the_kill_of_any_process(postgres: Postgres) -> None:
    _play("postgres", 4, postgres)
