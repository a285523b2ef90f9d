"""A project travels as one file: equal when its content is, and unable to reach outside."""

import gzip
import io
import os
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testops.domain.errors import BadInput
from testops.runner.archives import LIMITS, copy_tree, pack, require_path, unpack
from testops.snapshots.refusal import Refusal


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "suites").mkdir(parents=True)
    (root / "suites" / "core.yaml").write_text("schema: 1\n")
    (root / ".gitignore").write_text("*.log\nsecret/\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_git_would_commit_travels_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    (repository / "new file ü.py").write_text("x = 1\n")
    (repository / ("long" * 30 + ".txt")).write_text("long\n")
    (repository / "noise.log").write_text("ignored")
    (repository / "secret").mkdir()
    (repository / "secret" / "key").write_text("ignored")
    (repository / "suites" / "core.yaml").write_text("schema: 1\nname: core\n")
    packed = pack(repository, tmp_path / "a.tar.gz")
    unpack(packed.path, tmp_path / "unpacked")
    assert files_of(tmp_path / "unpacked") == {
        ".gitignore": b"*.log\nsecret/\n",
        "new file ü.py": b"x = 1\n",
        "long" * 30 + ".txt": b"long\n",
        "run.sh": b"#!/bin/sh\n",
        "suites/core.yaml": b"schema: 1\nname: core\n",
    }
    assert packed.files == 5
    assert os.access(tmp_path / "unpacked" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "unpacked" / ".gitignore", os.X_OK)


def test_equal_content_is_equal_bytes_whatever_time_or_place(
    repository: Path, tmp_path: Path
) -> None:
    first = pack(repository, tmp_path / "a.tar.gz")
    copy_tree(repository, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "run.sh", (1, 1))
    second = pack(tmp_path / "elsewhere", tmp_path / "b.tar.gz")
    assert second.sha256 == first.sha256
    (repository / "run.sh").chmod(0o644)
    assert pack(repository, tmp_path / "c.tar.gz").sha256 != first.sha256


def test_the_archive_is_one_that_tar_reads(repository: Path, tmp_path: Path) -> None:
    (repository / "ü").write_text("ü")
    packed = pack(repository, tmp_path / "a.tar.gz")
    with tarfile.open(packed.path) as tar:
        assert sorted(tar.getnames()) == [".gitignore", "run.sh", "suites/core.yaml", "ü"]


def test_a_removed_file_that_git_still_knows_is_not_there(repository: Path, tmp_path: Path) -> None:
    (repository / "run.sh").unlink()
    assert pack(repository, tmp_path / "a.tar.gz").files == 2


def test_a_link_inside_travels_as_its_content_and_one_outside_is_refused(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "inside").symlink_to("run.sh")
    packed = pack(repository, tmp_path / "a.tar.gz")
    unpack(packed.path, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked" / "inside").is_symlink()
    assert (tmp_path / "unpacked" / "inside").read_text() == "#!/bin/sh\n"
    (repository / "outside").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="leads out of the project"):
        pack(repository, tmp_path / "b.tar.gz")


def test_a_folder_outside_git_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="git"):
        pack(tmp_path, tmp_path / "a.tar.gz")


# --- what others made ---------------------------------------------------------------------------


def tar_with(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o777
    return info


def refused(tmp_path: Path, tar: bytes) -> str:
    path = tmp_path / "given.tar.gz"
    path.write_bytes(gzip.compress(tar))
    with pytest.raises(BadInput) as error:
        unpack(path, tmp_path / "cache" / "target")
    assert list((tmp_path / "cache").iterdir()) == []
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "../out",
        "/etc/cron.d/x",
        "a/../../out",
        "./a",
        "a//b",
        "a/",
        "",
        ".git/hooks/post-checkout",
        "sub/.GIT/config",
        "a\\b",
        "a\nb",
        "x" * 300,
        "/".join("abcdefghij" * 5),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(Refusal):
        require_path(name)
    refused(tmp_path, tar_with((member(name), b"x")))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE],
)
def test_only_plain_files_are_unpacked(tmp_path: Path, kind: bytes) -> None:
    message = refused(tmp_path, tar_with((member("a", kind, "/etc"), b"")))
    assert "not a plain file" in message


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    for names in (("a", "a/b"), ("a/b", "a")):
        refused(tmp_path, tar_with(*((member(name), b"x") for name in names)))


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "twice" in refused(tmp_path, tar_with((member("a"), b"1"), (member("a"), b"2")))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    message = refused(tmp_path, tar_with((member("a"), bytes(60 << 20))))
    assert "bomb" in message


def test_limits_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "given.tar.gz"
    members = [(member(str(number)), os.urandom(2000)) for number in range(9)]
    path.write_bytes(gzip.compress(tar_with(*members)))
    for limits in (
        replace(LIMITS, member_count_max=8),
        replace(LIMITS, member_bytes_max=1999),
        replace(LIMITS, tar_bytes_max=9000),
        replace(LIMITS, file_bytes_max=9000),
    ):
        with pytest.raises(BadInput):
            unpack(path, tmp_path / "target", limits=limits)
    unpack(path, tmp_path / "target")
    assert len(files_of(tmp_path / "target")) == 9


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(0, 400), flip=st.integers(0, 400), bit=st.integers(0, 7))
def test_damage_is_an_answer_and_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(gzip.compress(tar_with((member("a/b"), b"x" * 700)), mtime=0))
    content[flip % len(content)] ^= 1 << bit
    path = folder / "given.tar.gz"
    path.write_bytes(bytes(content[: len(content) - cut % 50]))
    try:
        unpack(path, folder / "target")
    except BadInput:
        assert sorted(entry.name for entry in folder.iterdir()) == ["given.tar.gz"]
    else:
        # Only what no reader looks at can have changed: gzip's own header has such bits.
        assert files_of(folder / "target") == {"a/b": b"x" * 700}


def test_a_copy_shares_nothing_with_its_source(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "run").write_text("old")
    (source / "deep" / "run").chmod(0o755)
    copy_tree(source, tmp_path / "copy")
    copied = tmp_path / "copy" / "deep" / "run"
    assert stat.S_IMODE(copied.stat().st_mode) == 0o755
    assert copied.stat().st_ino != (source / "deep" / "run").stat().st_ino
    copied.write_text("new")
    assert (source / "deep" / "run").read_text() == "old"


def test_whoever_comes_second_has_what_the_first_unpacked(repository: Path, tmp_path: Path) -> None:
    packed = pack(repository, tmp_path / "a.tar.gz")
    unpack(packed.path, tmp_path / "cache" / "one")
    unpack(packed.path, tmp_path / "cache" / "one")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["one"]
