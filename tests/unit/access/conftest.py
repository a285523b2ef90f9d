"""Access over a real SQLite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.access import Access

from testops.storage.database import open_database


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    database = open_database(f"sqlite:///{tmp_path / 'testops.db'}")
    yield Access(database)
    database.close()
