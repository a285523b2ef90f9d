"""What must hold under concurrency holds on PostgreSQL too, where nothing waits for its turn."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.api import test_runs, test_schedules
from tests.api.conftest import World, make_world
from tests.conftest import prepare_database
from tests.support.postgres import Postgres

from testops.domain.idempotency import Standing


@pytest.fixture
def world(tmp_path: Path, postgres: Postgres) -> Iterator[World]:
    url = postgres.copy_of("migrated", prepare_database)
    yield from make_world(tmp_path, url)
    postgres.drop(url)


test_a_thousand_identical_requests_of_fifty_clients_make_one_run = (
    test_runs.test_a_thousand_identical_requests_of_fifty_clients_make_one_run
)
test_lists_are_filtered = test_runs.test_lists_are_filtered
test_a_key_makes_one_run_whatever_became_of_it = (
    test_runs.test_a_key_makes_one_run_whatever_became_of_it
)
test_many_runners_that_ask_at_once_make_one_run = (
    test_schedules.test_many_runners_that_ask_at_once_make_one_run
)
test_a_schedule_is_made_read_changed_and_removed = (
    test_schedules.test_a_schedule_is_made_read_changed_and_removed
)


def test_of_many_who_claim_a_key_at_once_one_is_the_first(world: World) -> None:
    together = threading.Barrier(20)

    def claim(_: int) -> Standing:
        together.wait(10)
        return world.services.idempotency.claim("key:1", "deploy", "f").standing

    with ThreadPoolExecutor(20) as pool:
        standings = list(pool.map(claim, range(20)))
    assert standings.count(Standing.FIRST) == 1
    assert standings.count(Standing.IN_FLIGHT) == 19
