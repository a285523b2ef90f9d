"""What `testops doctor` finds, on both databases; it must leave everything as it was."""

import fcntl
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.rows import row_of

from testops.cli.checks import Check
from testops.cli.doctor_platform import file_system_of, platform_checks
from testops.cli.places import places
from testops.storage.database import open_database
from testops.storage.migrate import VERSION_TABLE
from testops.storage.tables import lease, run


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir(mode=0o700)
    free = _free_port()
    return {
        "TESTOPS_DATABASE_URL": database_url,
        "TESTOPS_DATA": str(tmp_path / "data"),
        "TESTOPS_PORT": str(free),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(tmp_path: Path, environment: Mapping[str, str]) -> dict[str, Check]:
    checks = list(platform_checks(places(tmp_path, environment), environment))
    return {one.what: one for one in checks}


def test_a_sound_platform_has_nothing_to_mend(tmp_path: Path, environment: dict[str, str]) -> None:
    checks = found(tmp_path, environment)
    assert [one for one in checks.values() if one.needed and not one.ok] == []
    assert "is current" in checks["database"].found
    assert checks["clock"].ok
    assert checks["data folder"].ok
    assert checks["port"].ok
    assert checks["executors"].found == "none runs"
    assert checks["queue"].found == "empty"
    assert checks["stage sandbox"].found
    assert checks["dbos"].found.startswith("3.4")
    if environment["TESTOPS_DATABASE_URL"].startswith("sqlite"):
        assert checks["journal"].found == "wal"
        assert checks["space given back"].ok
    else:
        assert checks["PostgreSQL"].ok
        assert checks["fsync"].found == "on"
        assert checks["connection"].found == "by TCP to 127.0.0.1"


def test_it_makes_nothing(tmp_path: Path) -> None:
    environment = {"TESTOPS_DATA": str(tmp_path / "data")}
    checks = found(tmp_path, environment)
    assert checks["database"].found.endswith("is not there yet")
    assert checks["data folder"].ok
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_newer_version_is_to_be_mended(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    database = open_database(environment["TESTOPS_DATABASE_URL"])
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    database.close()
    check = found(tmp_path, environment)["database"]
    assert not check.ok
    assert "is ahead (revision 9999)" in check.found


@pytest.mark.parametrize(
    "url", ["postgresql://me:hush-hush@127.0.0.1:1/nowhere", "mysql://me:hush-hush@x/y", "what?"]
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    tmp_path: Path, url: str
) -> None:
    check = found(tmp_path, {"TESTOPS_DATABASE_URL": url})["database"]
    assert not check.ok
    assert check.needed
    assert "hush-hush" not in check.found + check.fix


def test_a_data_folder_that_others_may_read_is_told(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "data").chmod(0o755)
    check = found(tmp_path, environment)["data folder"]
    assert not check.ok
    assert "mode 755" in check.found


def test_who_holds_the_runner_lock_is_told_and_it_is_not_taken(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "data" / "runner.lock"
    path.touch()
    assert found(tmp_path, environment)["runner"].found == "none holds the data folder"
    ready, told = os.pipe()
    holder = os.fork()
    if holder == 0:
        descriptor = os.open(path, os.O_RDWR)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        os.write(told, b"x")
        signal.pause()
    os.read(ready, 1)
    try:
        held = found(tmp_path, environment)["runner"].found
        assert held == f"process {holder} holds the data folder"
    finally:
        os.kill(holder, 9)
        os.waitpid(holder, 0)
        os.close(ready)
        os.close(told)


def test_a_port_that_is_taken_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment["TESTOPS_PORT"] = str(taken.getsockname()[1])
        check = found(tmp_path, environment)["port"]
    assert not check.ok
    assert "cannot be taken" in check.found
    environment["TESTOPS_PORT"] = "many"
    assert not found(tmp_path, environment)["port"].ok


def test_a_queue_that_nobody_works_on_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    database = open_database(environment["TESTOPS_DATABASE_URL"])
    with database.write() as connection:
        waiting = row_of(run, state="queued", queued_at="2026-11-25T16:00:00.000Z")
        connection.execute(run.insert().values(waiting))
    assert not found(tmp_path, environment)["queue"].ok
    with database.write() as connection:
        beat = database.moment(connection).ms
        row = row_of(lease, executor_id="host-1", kind="runner", beat_ms=beat)
        connection.execute(sa.insert(lease).values(row))
    database.close()
    checks = found(tmp_path, environment)
    assert checks["queue"].ok
    assert checks["executors"].found == "host-1 (runner)"


def test_a_disk_of_another_machine_is_no_place_for_a_file_database(tmp_path: Path) -> None:
    mounts = (
        "/dev/sda1 / ext4 rw 0 0\n"
        f"server:/share {tmp_path} nfs4 rw 0 0\n"
        f"none {tmp_path}/with\\040space tmpfs rw 0 0\n"
    )
    assert file_system_of(tmp_path / "data", mounts) == "nfs4"
    assert file_system_of(tmp_path / "with space" / "x", mounts) == "tmpfs"
    assert file_system_of(Path("/usr"), mounts) == "ext4"
    assert file_system_of(tmp_path, "") == ""
