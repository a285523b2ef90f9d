"""Who lives is decided by the database's clock alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.platform import Stores

from testops.domain.execution import LEASE_MS, Executor
from testops.storage.database import open_database
from testops.storage.tables import lease

ONE = Executor("one", "runner", "host", 17, 2, "toron-v2.5H+.2")


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    database = open_database(database_url)
    yield Stores(database)
    database.close()


def silent_for(stores: Stores, ms: int) -> None:
    with stores.database.write() as connection:
        connection.execute(sa.update(lease).values(beat_ms=lease.c.beat_ms - ms))


def test_an_executor_lives_while_it_beats(stores: Stores) -> None:
    stores.leases.beat(ONE)
    (seen,) = stores.leases.all()
    assert (seen.executor, seen.alive) == (ONE, True)

    silent_for(stores, LEASE_MS + 1)
    assert not stores.leases.all()[0].alive

    stores.leases.beat(ONE)
    assert stores.leases.all()[0].alive


def test_one_that_leaves_is_dead_at_once(stores: Stores) -> None:
    stores.leases.beat(ONE)
    stores.leases.leave("one")

    assert not stores.leases.all()[0].alive


def test_only_the_dead_are_forgotten(stores: Stores) -> None:
    stores.leases.beat(ONE)
    stores.leases.beat(replace(ONE, executor_id="two"))
    stores.leases.leave("two")

    stores.leases.forget("one")
    stores.leases.forget("two")

    assert [seen.executor.executor_id for seen in stores.leases.all()] == ["one"]


def test_a_runner_that_was_started_anew_under_its_name_is_seen_as_it_is_now(
    stores: Stores,
) -> None:
    newer = replace(ONE, pid=18, cores=4, version="toron-v2.6H")
    stores.leases.beat(ONE)
    with stores.database.write() as connection:
        connection.execute(sa.update(lease).values(started_ms=1))
    stores.leases.beat(ONE)
    assert stores.leases.all()[0].started_ms == 1

    stores.leases.beat(newer)

    (seen,) = stores.leases.all()
    assert seen.executor == newer
    assert seen.started_ms > 1
