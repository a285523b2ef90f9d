"""A small storm; `python -m tests.crash.storm` blows the whole one."""

import pytest
from tests.crash.storm import Wanted, blow, waiting_before_worse
from tests.support.postgres import Postgres


def test_out_of_order_starts_are_counted() -> None:
    assert waiting_before_worse([1, 1, 5, 9]) == 0
    assert waiting_before_worse([1, 5, 1, 1, 9]) == 2
    assert waiting_before_worse([9, 1, 5, 5]) == 3


@pytest.mark.timeout(400)
def test_every_run_finishes_although_its_runners_are_killed(postgres: Postgres) -> None:
    outcome = blow(Wanted(30, kill_every_s=5, kill_for_s=20, seed=7, limit_s=300), postgres)

    assert outcome.problems == []
    assert outcome.kills >= 2


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_five_hundred_runs_finish_although_a_runner_is_killed_every_ten_seconds(
    postgres: Postgres,
) -> None:
    outcome = blow(Wanted(500, kill_every_s=10, kill_for_s=120, seed=1, limit_s=1800), postgres)

    assert outcome.problems == []
    assert outcome.kills >= 7
