"""What a stage leaves is a file of its run, whatever its process says."""

from pathlib import Path

import pytest

from testops.domain.errors import BadInput
from testops.runner.worker_ports import Place
from testops.storage.blobs import blobs_of
from testops.storage.database import open_database
from testops.storage.places import LocalPlaces


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "project"
    # As `testops serve` does it: what a server keeps lies in the project.
    output = root / ".testops" / "runs" / "r" / "1"
    output.mkdir(parents=True)
    (root / ".testops" / "secret").write_text("of the server")
    return Place(root, output)


@pytest.fixture
def places(migrated_sqlite: Path, tmp_path: Path) -> LocalPlaces:
    (tmp_path / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    database = open_database(f"sqlite:///{tmp_path}/testops.db")
    data = tmp_path / "project" / ".testops"
    return LocalPlaces(
        data, blobs_of(database, data), lambda _: tmp_path, lambda *_: (), lambda *_: None
    )


def test_a_file_is_named_as_it_lies_in_the_output(places: LocalPlaces, place: Place) -> None:
    (place.output / "reports").mkdir()
    (place.output / "reports" / "lint.sarif").write_text("{}")
    (place.root / "log.txt").write_text("in the project")

    left = places.keep(place, [place.output / "reports" / "lint.sarif", place.root / "log.txt"])

    assert [(one.path, one.size) for one in left] == [("reports/lint.sarif", 2), ("log.txt", 14)]


def test_a_file_of_the_server_is_no_artifact(places: LocalPlaces, place: Place) -> None:
    (place.output / "report.json").symlink_to(place.output.parents[2] / "secret")

    for path in (
        place.output / "report.json",
        place.output / ".." / ".." / ".." / "secret",
        place.output.parents[2] / "secret",
    ):
        with pytest.raises(BadInput, match="neither in the project nor"):
            places.keep(place, [path])
