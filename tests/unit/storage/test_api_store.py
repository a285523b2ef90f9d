"""Keys of requests: the first acts, others learn how it stands, and a dead first gives way."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from testops.domain.idempotency import Claim, Standing
from testops.storage.api_store import CLAIM_MS_MAX, KEY_LIFETIME_MS, IdempotencyStore
from testops.storage.api_tables import idempotency_key
from testops.storage.database import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def age(database: Database, ms: int) -> None:
    """As if every claim had been made so much earlier."""
    with database.write() as connection:
        older = idempotency_key.c.claimed_ms - ms
        connection.execute(sa.update(idempotency_key).values(claimed_ms=older))


def test_the_first_acts_and_the_others_learn_how_it_stands(database: Database) -> None:
    store = IdempotencyStore(database)
    assert store.claim("a", "k", "f") == Claim(Standing.FIRST)
    assert store.claim("a", "k", "f") == Claim(Standing.IN_FLIGHT)
    assert store.claim("a", "k", "g") == Claim(Standing.OTHER_BODY)
    assert store.claim("b", "k", "g") == Claim(Standing.FIRST)
    store.finish("a", "k", "0123456789abcdef")
    assert store.claim("a", "k", "f") == Claim(Standing.DONE, "0123456789abcdef")
    store.release("a", "k")
    assert store.claim("a", "k", "f").standing is Standing.DONE
    store.release("b", "k")
    assert store.claim("b", "k", "h") == Claim(Standing.FIRST)


def test_a_first_that_was_killed_gives_way(database: Database) -> None:
    store = IdempotencyStore(database)
    store.claim("a", "k", "f")
    age(database, CLAIM_MS_MAX - 5_000)
    assert store.claim("a", "k", "f") == Claim(Standing.IN_FLIGHT)
    age(database, 5_001)
    assert store.claim("a", "k", "f") == Claim(Standing.FIRST)


def test_a_finished_key_is_kept_for_a_day(database: Database) -> None:
    store = IdempotencyStore(database)
    store.claim("a", "k", "f")
    store.finish("a", "k", "0123456789abcdef")
    age(database, KEY_LIFETIME_MS - 5_000)
    assert store.claim("a", "k", "f").standing is Standing.DONE
    age(database, 5_001)
    assert store.claim("a", "k", "f") == Claim(Standing.FIRST)
