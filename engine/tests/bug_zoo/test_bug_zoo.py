"""A sample of the bug zoo here and now, and the runner itself; `make zoo` runs it whole."""

import dataclasses
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SPEC = importlib.util.spec_from_file_location("zoo", Path(__file__).with_name("zoo.py"))
assert SPEC is not None
assert SPEC.loader is not None
zoo = importlib.util.module_from_spec(SPEC)
sys.modules["zoo"] = zoo  # dataclasses look their module up by name
SPEC.loader.exec_module(zoo)

from catalogue import Bug, Side  # noqa: E402  (on the path since the line before)

BUGS = zoo.every_bug()
SAMPLE = ("aiorwlock", "asyncio-taskgroup-nested", "asyncio-wait-for")
PIN = re.compile(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*")
WHERE = re.compile(r"[\w.-]+/[\w.-]+(#\d+|@[0-9a-f]{8,40})([, ].*)?")

PROGRAM = """
import toron

@toron.kernel
async def main():
    assert 1 + 1 == 3, "a sum is wrong"

@toron.kernel
async def mended():
    pass

@toron.kernel(time_limit=1)
async def endless(world):
    await world.sleep(5)
"""


def budget(runs: int, **others: Any) -> Any:
    """A small budget: no more runs than until the first failure."""
    wanted = {"share": 0, "clean_max": 5, "jobs": 1, "strategy": "portfolio", "shrinks": False}
    return zoo.Budget(range(runs), **{**wanted, **others})


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bug]:
    """A catalogue of one bug, whose program is one of ours and needs no library."""

    def plant(**changes: Any) -> Bug:
        program = tmp_path / "planted.py"
        program.write_text(PROGRAM)
        bug = Bug(
            id="planted",
            library="none",
            issue="nobody/nothing#1",
            cause="planted",
            program=str(program),
            buggy=Side(),
            fixed=Side(kernel="mended"),
            expects=("exception",),
            symptom="a sum is wrong",
        )
        bug = dataclasses.replace(bug, **changes)
        monkeypatch.setattr(zoo, "every_bug", lambda: [bug])
        return bug

    return plant


def told(arguments: list[str]) -> tuple[int, list[str]]:
    """The exit code and what was said."""
    lines: list[str] = []
    code = zoo.main(arguments, say=lines.append)
    return code, lines


@pytest.mark.parametrize("name", SAMPLE)
def test_a_bug_is_found_and_its_fixed_version_is_clean(name: str) -> None:
    (bug,) = [bug for bug in BUGS if bug.id == name]
    row = zoo.measure(bug, budget(150, clean_max=30))
    if row.not_run:
        pytest.skip(f"not run: {'; '.join(row.not_run)}")
    assert row.found, row.other_failures
    assert row.clean_runs >= 30, row.fixed_failures
    assert not row.has_failed


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_every_bug_is_found_and_every_fixed_version_is_clean(bug: Bug) -> None:
    row = zoo.measure(bug, budget(zoo.RUNS, clean_max=zoo.CLEAN_MAX, jobs=2))
    if row.not_run:
        pytest.skip(f"not run: {'; '.join(row.not_run)}")
    assert row.found, row
    assert not row.has_failed, row


def test_the_catalogue_pins_exactly_and_says_where_each_bug_is_known() -> None:
    assert len({bug.id for bug in BUGS}) == len(BUGS) >= 12
    for bug in BUGS:
        assert bug.path.is_file(), bug.id
        assert WHERE.fullmatch(bug.issue), bug.id
        assert bug.expects, bug.id
        assert all(PIN.fullmatch(pin) for pin in (*bug.buggy.pins, *bug.fixed.pins)), bug.id
        assert bug.buggy != bug.fixed, f"{bug.id}: the twin is the bug"


def test_no_program_of_the_zoo_counts_steps_of_the_loop() -> None:
    for bug in BUGS:
        text = bug.path.read_text()
        assert "sleep(0)" not in text, bug.id
        assert "toron." not in text.replace("@toron.kernel", "").replace("toron.World", ""), bug.id


def test_a_bug_that_is_found_with_a_clean_twin_is_exit_0(planted: Callable[..., Bug]) -> None:
    planted()
    code, lines = told(["--runs", "3", "--share", "2", "--clean-max", "5", "--no-shrink"])
    assert code == 0, lines
    assert "1 of 1 bugs found within 3 runs each, 0 fixed versions not clean, 0 not run" in lines
    assert any("2/2 (100.0%)" in line and "clean in 5 runs" in line for line in lines)


def test_a_bug_that_is_not_found_and_a_fixed_version_that_fails_are_exit_1(
    planted: Callable[..., Bug],
) -> None:
    planted(kernel="mended", fixed=Side(kernel="main"))
    code, lines = told(["--runs", "3", "--clean-max", "5"])
    assert code == 1
    assert any("not in 3" in line and "NOT CLEAN: 5 of 5 runs" in line for line in lines)
    assert lines[-1] == (
        "0 of 1 bugs found within 3 runs each, 1 fixed versions not clean, 0 not run"
    )


def test_a_fixed_version_is_not_clean_when_it_comes_to_no_end(planted: Callable[..., Bug]) -> None:
    planted(fixed=Side(kernel="endless"))
    code, lines = told(["--runs", "3", "--share", "0", "--clean-max", "5", "--no-shrink", "--json"])
    (row,) = json.loads(lines[0])["bugs"]
    assert code == 1
    assert (row["found"], row["clean_runs"]) == (True, 0)
    assert "time limit" in row["fixed_failures"][0]


def test_another_failure_is_not_counted_as_the_bug(planted: Callable[..., Bug]) -> None:
    planted(symptom="a product is wrong", fixed=Side(pythons=("3.99",)))
    code, lines = told(["--runs", "1"])
    assert code == 1, "the bug was not found, whatever its twin"
    assert any("another failure: exception: AssertionError: a sum is wrong" in it for it in lines)
    assert any("not in 1" in line for line in lines)


def test_what_cannot_be_had_is_not_run_and_never_found(planted: Callable[..., Bug]) -> None:
    planted(buggy=Side(pythons=("3.99",)))
    code, lines = told(["--runs", "3", "--clean-max", "5"])
    assert code == 4
    assert any("not run: buggy version: no CPython 3.99 on this machine" in line for line in lines)
    assert lines[-1].startswith("0 of 0 bugs found")
    assert lines[-1].endswith("1 not run")


def test_a_program_that_does_not_even_start_is_not_run(planted: Callable[..., Bug]) -> None:
    planted(kernel="there_is_none", fixed=Side(pythons=("3.99",)))
    code, lines = told(["--runs", "3"])
    assert code == 4
    assert any("not run: buggy version: the hunt ended with 1" in line for line in lines), lines


@pytest.mark.parametrize("arguments", [["--seeds", "5"], ["--seeds", "5:5"], ["--share", "-1"]])
def test_nonsense_is_exit_2(planted: Callable[..., Bug], arguments: list[str]) -> None:
    planted()
    with pytest.raises(SystemExit) as ending:
        zoo.main(arguments)
    assert ending.value.code == 2


def test_a_bug_that_there_is_not_is_exit_2() -> None:
    assert zoo.main(["unicorn"]) == 2


def test_the_page_of_the_zoo_names_every_bug() -> None:
    page = (zoo.ROOT / "docs" / "reference" / "bug-zoo.md").read_text()
    missing = [bug.id for bug in BUGS if f"| {bug.id} |" not in page]
    assert not missing
