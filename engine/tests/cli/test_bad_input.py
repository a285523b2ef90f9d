"""Bad input is exit 2 and one line that names the thing and the fix; never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toron.cli import main

TWO = """
import toron

@toron.kernel
async def first(world): ...

@toron.kernel
async def second(world): ...

async def not_a_kernel(world, more): ...

def not_async(): ...
"""


@pytest.fixture
def complaint(
    program: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """The one line that the command says; it is run in this process, for speed."""
    program(TWO, "two.py")
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: object, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main([*map(str, arguments), "--json"]) == 2
        out, err = capfd.readouterr()
        line, rest = err.split("\n", 1)
        assert rest == ""
        assert line.startswith("toron: ")
        assert json.loads(out) == {"error": line.removeprefix("toron: "), "exit": 2}
        return line

    return ask


def test_without_json_nothing_is_on_stdout(toron_command: Callable[..., Any]) -> None:
    answer = toron_command("run", "missing.py")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "toron: missing.py: no such file; name a Python file, as in FILE.py::NAME\n"
    )


def test_a_missing_file_is_named(complaint: Callable[..., str]) -> None:
    assert "missing.py: no such file" in complaint("run", "missing.py")
    assert "no such file" in complaint("run", ".")


def test_an_unknown_name_lists_the_names(complaint: Callable[..., str]) -> None:
    line = complaint("run", "two.py::third")
    assert "two.py has no kernel 'third'; it has: first, second" in line


def test_several_kernels_without_a_name_list_the_names(complaint: Callable[..., str]) -> None:
    line = complaint("explore", "two.py")
    assert "two.py has 2 kernels (first, second); name one, as in two.py::NAME" in line


def test_a_file_without_kernels_says_none(
    complaint: Callable[..., str], program: Callable[..., Path]
) -> None:
    program("x = 1\n", "empty.py")
    assert "empty.py has 0 kernels (none)" in complaint("verify", "empty.py")


def test_what_is_no_kernel_is_told_why(complaint: Callable[..., str]) -> None:
    assert "takes 2 arguments" in complaint("run", "two.py::not_a_kernel")
    assert "is not an async function" in complaint("run", "two.py::not_async")


def test_a_syntax_error_is_named_with_its_line(
    complaint: Callable[..., str], program: Callable[..., Path]
) -> None:
    program("import toron\n\nasync def k(world:\n    pass\n", "broken.py")
    line = complaint("run", "broken.py")
    assert "broken.py:3: '(' was never closed" in line


def test_an_import_error_is_named_with_its_line(
    complaint: Callable[..., str], program: Callable[..., Path]
) -> None:
    program("import toron\nimport no_such_module\n", "imports.py")
    line = complaint("run", "imports.py")
    assert "imports.py:2 cannot be imported: ModuleNotFoundError" in line
    assert "no_such_module" in line


def test_a_program_that_exits_at_import_is_bad_input(
    complaint: Callable[..., str], program: Callable[..., Path]
) -> None:
    program("import sys\nsys.exit('not configured')\n", "exits.py")
    assert "exits.py:2 cannot be imported: SystemExit: not configured" in complaint(
        "run", "exits.py"
    )


def test_a_file_that_is_not_python_is_bad_input(
    complaint: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("hello world")
    (tmp_path / "binary.py").write_bytes(b"\x00\xff\xfe")
    assert "notes.txt is not a Python file" in complaint("run", "notes.txt")
    assert "binary.py" in complaint("run", "binary.py")


@pytest.mark.parametrize("seed", ["-1", ""])
def test_a_bad_seed_is_named_by_its_flag(complaint: Callable[..., str], seed: str) -> None:
    line = complaint("run", "two.py::first", f"--seed={seed}")
    assert f"--seed {seed!r} must be a whole number from 0 to 2^64-1" in line


def test_a_bad_seed_in_the_environment_is_named_by_its_variable(
    complaint: Callable[..., str],
) -> None:
    assert "SIM_SEED 'x' must be" in complaint("run", "two.py::first", SIM_SEED="x")
    assert "CHAOS_SEED '-3' must be" in complaint(
        "run", "two.py::first", SIM_SEED="1", CHAOS_SEED="-3"
    )


@pytest.mark.parametrize("seeds", ["5:5"])
def test_an_empty_range_is_refused(complaint: Callable[..., str], seeds: str) -> None:
    line = complaint("explore", "two.py::first", "--seeds", seeds)
    assert f"--seeds '{seeds}' is empty; write A:B with A below B" in line


@pytest.mark.parametrize("seeds", ["1:", ""])
def test_a_bad_range_is_refused(complaint: Callable[..., str], seeds: str) -> None:
    assert "--seeds" in complaint("verify", "two.py::first", f"--seeds={seeds}")


def test_no_jobs_is_refused(complaint: Callable[..., str]) -> None:
    assert "--jobs 0 must be at least 1" in complaint("explore", "two.py::first", "--jobs", 0)


def test_a_damaged_token_is_refused(
    complaint: Callable[..., str], toron_command: Callable[..., Any]
) -> None:
    token = toron_command("run", "two.py::first", "--json").json["token"]
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    for damaged in (token[:-5], token[:middle] + other + token[middle + 1 :], token + "AAAA"):
        assert "the replay token is damaged; copy it whole" in complaint("replay", damaged)
    assert "is not a replay token" in complaint("replay", "hello")
    assert "damaged" in complaint("replay", "t1-")


def test_a_token_of_another_place_says_where_it_looked(
    complaint: Callable[..., str], toron_command: Callable[..., Any], tmp_path: Path
) -> None:
    token = toron_command("run", "two.py::first", "--json").json["token"]
    (tmp_path / "two.py").unlink()
    line = complaint("replay", token)
    assert "two.py: no such file" in line
    assert "replay where the token was made" in line


def test_a_token_of_a_kernel_that_was_renamed_lists_the_names(
    complaint: Callable[..., str], toron_command: Callable[..., Any], tmp_path: Path
) -> None:
    token = toron_command("run", "two.py::first", "--json").json["token"]
    path = tmp_path / "two.py"
    path.write_text(path.read_text().replace("first", "foremost"))
    assert "has no kernel 'first'; it has: foremost, second" in complaint("replay", token)


@pytest.mark.parametrize("arguments", [["fly"], ["run"], [], ["explore", "two.py", "--jobs", "x"]])
def test_a_wrong_command_line_is_exit_2(
    toron_command: Callable[..., Any], arguments: list[str]
) -> None:
    answer = toron_command(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("usage: ")
