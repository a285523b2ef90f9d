"""A place is the same text on every machine, and the program's line before a library's."""

import asyncio
import json
import sys
from pathlib import Path
from types import FrameType

import pytest

from toron.core.places import Places

HERE = Path(__file__)


def frame_of(function: object) -> FrameType:
    """The frame in which ``json`` calls back, with frames of a library around."""
    found: list[FrameType] = []

    class Probe(dict):  # type: ignore[type-arg]
        pass

    def hook(_: object) -> object:
        found.append(sys._getframe())
        return None

    json.loads("{}", object_hook=hook)
    return found[0]


def test_a_file_of_the_project_is_named_from_its_root() -> None:
    places = Places(HERE.parent.parent)
    name, _, rest = places.of_frame(sys._getframe()).partition(":")
    assert name == "core/test_places.py"
    assert rest.endswith(" in test_a_file_of_the_project_is_named_from_its_root")


def test_the_programs_frame_is_preferred_over_pythons_own() -> None:
    where = Places(HERE.parent).of_frame(frame_of(None).f_back)
    assert where.startswith("test_places.py:")
    assert where.endswith("in frame_of")


def test_names_of_libraries_and_of_python_hold_no_folder_of_the_machine() -> None:
    places = Places(HERE.parent)
    assert places.name_of(asyncio.__file__) == "python/asyncio/__init__.py"
    installed = "/home/somebody/.venv/lib/python3.11/site-packages/anyio/abc.py"
    assert places.name_of(installed) == "site-packages/anyio/abc.py"
    assert places.name_of("/somewhere/else/x.py") == "x.py"


def test_a_library_installed_below_the_project_is_not_the_program() -> None:
    places = Places(Path("/project"))
    assert places.is_program("/project/app.py")
    assert not places.is_program("/project/.venv/lib/python3.11/site-packages/anyio/abc.py")
    assert not places.is_program("/project-two/app.py")


def test_toron_itself_is_never_the_place() -> None:
    import toron.core.places as own

    places = Places(Path(own.__file__).parents[2])
    assert not places.is_program(own.__file__)
    assert not places.is_followed(own.__file__)


def test_a_traceback_is_told_by_its_innermost_own_line() -> None:
    def fails() -> None:
        json.loads("{")

    with pytest.raises(ValueError, match="Expecting property name") as caught:
        fails()
    where = Places(HERE.parent).of_traceback(caught.value.__traceback__)
    assert where.endswith("in test_a_traceback_is_told_by_its_innermost_own_line.<locals>.fails")


def test_nothing_is_no_place() -> None:
    assert Places(HERE.parent).of_traceback(None) == ""
    assert Places(HERE.parent).of_frame(None) == ""
