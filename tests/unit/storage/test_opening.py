import os
import time
from pathlib import Path

import pytest

from testops.storage.database import open_database


def test_a_new_connection_does_not_wait_for_somebody_who_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/testops.db"
    writer, reader = open_database(url), open_database(url)
    with writer.write() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (n int)")
    with writer.write() as connection:
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
        begun = time.monotonic()
        with reader.read() as other:
            assert other.exec_driver_sql("SELECT count(*) FROM kept").scalar_one() == 0
        assert time.monotonic() - begun < 5
    with reader.read() as other:
        # 2: incremental.
        assert other.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
    writer.close()
    reader.close()


def test_the_name_of_a_new_data_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder that was made, and the parent of one that was there; Toron shows why."""
    synced: list[Path] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    url = f"sqlite:///{tmp_path}/var/data/testops.db"
    open_database(url).close()
    assert synced[-2:] == [tmp_path, tmp_path / "var"]
    synced.clear()
    open_database(url).close()
    assert synced == [tmp_path / "var"]
