"""A writer that is alive keeps its temporary file, whoever tidies up beside it."""

from pathlib import Path

import pytest

from testops.snapshots import atomic


def test_a_file_that_took_the_name_of_a_finished_one_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / f".x.1-0{atomic.TEMPORARY}"
    temporary.write_text("of the first writer")
    lock = atomic._try_lock

    def finish_in_between(descriptor: int) -> bool:
        temporary.rename(tmp_path / "x")
        temporary.write_text("of the second writer")
        return lock(descriptor)

    monkeypatch.setattr(atomic, "_try_lock", finish_in_between)
    atomic.remove_stale_files(tmp_path)
    assert temporary.read_text() == "of the second writer"


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    temporary = tmp_path / f".x.1-0{atomic.TEMPORARY}"
    temporary.write_text("half")
    atomic.remove_stale_files(tmp_path)
    assert not temporary.exists()
