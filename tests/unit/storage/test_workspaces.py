"""A workspace is a folder as it is, or a content that every runner can have and no run changes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import rows

from testops.domain.errors import BadInput
from testops.domain.run import Build
from testops.domain.workspace import WorkspaceKind
from testops.runner.builds import build_of
from testops.storage.blobs import blobs_of
from testops.storage.database import Database, open_database
from testops.storage.tables import attempt, run
from testops.storage.workspaces import WorkspaceStore, as_planned


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> WorkspaceStore:
    data = tmp_path / "data"
    return WorkspaceStore(database, blobs_of(database, data), data)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / "suites").mkdir(parents=True)
    (root / "suites" / "core.yaml").write_text("schema: 1\n")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def test_a_path_is_seen_as_it_is(store: WorkspaceStore, project: Path) -> None:
    added = store.add_path("shop", project, allow_commands=True, by="me")
    assert store.get("shop") == added
    assert list(store.all()) == [added]
    assert store.root_of(added) == store.root_for(added, "ab" * 8, 1) == project.resolve()
    assert store.get("other") is None


def test_an_archive_is_given_to_each_attempt_as_a_copy_of_its_own(
    database: Database, store: WorkspaceStore, project: Path
) -> None:
    added = store.add_archive("shop", project, allow_commands=False, by="me")
    assert (added.kind, len(added.place)) == (WorkspaceKind.ARCHIVE, 64)
    (project / "suites" / "core.yaml").write_text("changed later\n")
    shared = store.root_of(added)
    first, second = (store.root_for(added, "ab" * 8, attempt) for attempt in (1, 2))
    assert len({shared, first, second}) == 3
    (first / "suites" / "core.yaml").write_text("changed by a run\n")
    for root in (shared, second):
        assert (root / "suites" / "core.yaml").read_text() == "schema: 1\n"
    # The same attempt, taken over on this machine, goes on in its copy.
    assert store.root_for(added, "ab" * 8, 1) == first
    begin(database, "ab" * 8, {1: "errored", 2: "running"})
    store.sweep_copies()
    assert not first.exists()
    assert second.exists()
    assert shared.exists()
    with database.write() as connection:
        connection.execute(attempt.update().values(state="finished"))
    store.sweep_copies()
    assert not second.exists()


def begin(database: Database, run_id: str, states: dict[int, str]) -> None:
    with database.write() as connection:
        connection.execute(run.insert().values(rows.row_of(run, run_id=run_id)))
        for number, state in states.items():
            row = rows.row_of(attempt, run_id=run_id, attempt=number, state=state)
            connection.execute(attempt.insert().values(row))


def test_another_runner_that_shares_only_the_database_has_the_archive(
    database: Database, store: WorkspaceStore, project: Path, tmp_path: Path
) -> None:
    if database.is_sqlite:
        pytest.skip("with SQLite there is one machine")
    added = store.add_archive("shop", project, allow_commands=False, by="me")
    data = tmp_path / "another machine"
    other = WorkspaceStore(database, blobs_of(database, data), data)
    root = other.root_for(added, "ab" * 8, 1)
    assert root.is_relative_to(data)
    assert (root / "suites" / "core.yaml").is_file()


def test_the_build_of_an_archive_is_its_content_and_not_the_repository_around_it(
    database: Database, project: Path
) -> None:
    data = project / ".testops"
    store = WorkspaceStore(database, blobs_of(database, data), data)
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    (project / ".gitignore").write_text(".testops\n")
    added = store.add_archive("shop", project, allow_commands=False, by="me")
    assert build_of(store.root_of(added)) == Build(commit=None, dirty=added.place)


def test_a_file_that_is_no_archive_is_refused_and_not_registered(
    store: WorkspaceStore, tmp_path: Path
) -> None:
    (tmp_path / "given").write_bytes(b"not gzip")
    with pytest.raises(BadInput, match="gzip"):
        store.add_archive_file("shop", tmp_path / "given", allow_commands=False, by="me")
    assert store.all() == []


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", "-x", "x" * 65, "a/b"])
def test_a_name_that_is_none_is_refused(store: WorkspaceStore, project: Path, name: str) -> None:
    with pytest.raises(BadInput, match="name of a workspace"):
        store.add_path(name, project, allow_commands=False, by="me")
    with pytest.raises(BadInput, match="name of a workspace"):
        store.add_archive(name, project, allow_commands=False, by="me")


def test_commands_are_allowed_and_refused_by_name(store: WorkspaceStore, project: Path) -> None:
    store.add_path("shop", project, allow_commands=False, by="me")
    for allowed in (True, False):
        assert store.allow_commands("shop", allowed=allowed)
        found = store.get("shop")
        assert found is not None
        assert found.allow_commands is allowed
    assert not store.allow_commands("other", allowed=True)


def queue_a_run(database: Database) -> None:
    with database.write() as connection:
        connection.execute(run.insert().values(rows.row_of(run, workspace="shop", state="queued")))


def test_a_workspace_with_a_waiting_run_is_neither_removed_nor_replaced(
    database: Database, store: WorkspaceStore, project: Path
) -> None:
    store.add_archive("shop", project, allow_commands=False, by="me")
    queue_a_run(database)
    with pytest.raises(BadInput, match="has not ended"):
        store.remove("shop")
    store.add_archive("shop", project, allow_commands=True, by="me")
    (project / "new.py").touch()
    with pytest.raises(BadInput, match="has not ended"):
        store.add_archive("shop", project, allow_commands=True, by="me")
    with database.write() as connection:
        connection.execute(run.update().values(state="finished"))
    store.add_archive("shop", project, allow_commands=True, by="me")
    assert store.remove("shop")
    assert not store.remove("shop")
    assert store.all() == []


def test_a_name_keeps_its_kind(store: WorkspaceStore, project: Path) -> None:
    store.add_path("shop", project, allow_commands=False, by="me")
    with pytest.raises(BadInput, match="of the kind path"):
        store.add_archive("shop", project, allow_commands=False, by="me")


def test_a_run_has_the_archive_that_it_was_planned_for(
    store: WorkspaceStore, project: Path
) -> None:
    planned = store.add_archive("shop", project, allow_commands=False, by="me")
    build = build_of(store.root_of(planned))
    # Before the run is there that would keep it from being replaced.
    (project / "suites" / "core.yaml").write_text("replaced\n")
    newer = store.add_archive("shop", project, allow_commands=False, by="me")
    assert newer.place != planned.place

    root = store.root_for(as_planned(newer, build), "ab" * 8, 1)

    assert (root / "suites" / "core.yaml").read_text() == "schema: 1\n"
    stated = Build("c" * 40, None, stated=True)
    assert as_planned(newer, stated) == newer
