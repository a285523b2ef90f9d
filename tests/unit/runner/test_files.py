"""Files on a disk that takes no more, and where no file is meant to be."""

import errno
import os
from pathlib import Path

import pytest

from testops.domain.errors import OutputNotWritable
from testops.runner.files import write_atomically
from testops.snapshots.atomic import folder_lock


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full here")
def test_a_full_disk_is_told_also_when_closing_the_file_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(*, prefix: str, dir: Path) -> tuple[int, str]:  # noqa: A002 - of mkstemp
        (dir / f"{prefix}x").touch()
        return os.open("/dev/full", os.O_WRONLY), str(dir / f"{prefix}x")

    monkeypatch.setattr("tempfile.mkstemp", on_a_full_disk)
    with pytest.raises(OutputNotWritable, match=r"key[.]pem: cannot be written: No space left"):
        write_atomically(tmp_path / "key.pem", b"small enough to wait in the buffer")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_and_a_link_to_one_are_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for target in (pipe, link):
        with pytest.raises(OutputNotWritable, match="would be replaced; name a file"):
            write_atomically(target, b"page")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_a_file_and_a_link_to_one_are_replaced_as_ever(tmp_path: Path) -> None:
    page, link = tmp_path / "page", tmp_path / "link"
    write_atomically(page, b"old")
    link.symlink_to(page)
    write_atomically(page, b"new")
    write_atomically(link, b"mine")
    assert (page.read_bytes(), link.read_bytes()) == (b"new", b"mine")


def test_a_lock_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("os.open", read_only)
    lock = r"[.]reviews.testops-lock: cannot be written [(]Read-only"
    with pytest.raises(OutputNotWritable, match=lock), folder_lock(tmp_path / "reviews"):
        pytest.fail("nobody holds it")
