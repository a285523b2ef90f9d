"""`toron trace` writes what a run did, and says when it is not the run that was asked for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import toron as library
from toron.cli import main

KERNELS = """
import asyncio
import os
import toron

@toron.kernel
async def breaks(world):
    world.always("small", lambda: world.now < 0.5)
    await world.sleep(1)

@toron.kernel
async def unstable(world):
    world.record("me", os.getpid())

@toron.kernel
async def dies(world):
    os._exit(3)
"""

Command = Callable[..., Any]
Token = Callable[[str], str]


@dataclass(frozen=True)
class Answer:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The only line of stdout."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    (folder / "kernels.py").write_text(KERNELS)
    return folder


@pytest.fixture
def command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`toron ARGUMENTS` in this process, which keeps its workers."""
    monkeypatch.chdir(folder)
    for name in ("SIM_SEED", "CHAOS_SEED"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def token(command: Command) -> Token:
    """The token of a kernel's run under seed 1."""

    def run(kernel: str) -> str:
        return library.run(library.KernelRef(Path("kernels.py").resolve(), kernel), seed=1).token

    return run


def test_a_failing_run_says_how_to_look_at_it_and_that_command_works(
    command: Command, folder: Path
) -> None:
    printed = command("run", "kernels.py::breaks", "--seed", 1).out
    (line,) = [line for line in printed.splitlines() if line.startswith("  trace ")]
    words = line.split()
    assert words[1:3] == ["toron", "trace"]
    answer = command(*words[2:])
    assert answer.code == 0
    assert answer.out.startswith("trace-breaks-1.html  6 events")
    assert "<title>breaks, seed 1: fail</title>" in (folder / "trace-breaks-1.html").read_text()


def test_text_goes_to_standard_output_and_windows_cut_it(command: Command, token: Token) -> None:
    whole = command("trace", token("breaks")).out.splitlines()
    assert whole[0].startswith("FAIL  breaks  seed 1")
    assert sum(line.startswith(">") for line in whole) == 1
    last = command("trace", token("breaks"), "--last", 2).out.splitlines()
    assert [line.split() for line in last[-2:]] == [line.split() for line in whole[-2:]]
    assert "… 4 events before these" in last
    around = command("trace", token("breaks"), "--around", "failure").out.splitlines()
    assert [line for line in around if line.startswith(">")] == [
        line for line in whole if line.startswith(">")
    ]


def test_a_run_is_named_by_its_seeds_too(command: Command, token: Token) -> None:
    by_seed = command("trace", "kernels.py::breaks", "--seed", 1)
    assert by_seed == command("trace", token("breaks"))


def test_json_is_one_object_with_the_trace_or_its_file(
    command: Command, token: Token, folder: Path
) -> None:
    here = command("trace", token("breaks"), "--format", "ndjson", "--json").json
    assert here["output"] is None
    assert [json.loads(line)["type"] for line in here["trace"].splitlines()][:2] == ["run", "lane"]
    to_file = ["--format", "perfetto", "--output", "p.json", "--json"]
    there = command("trace", token("breaks"), *to_file).json
    assert (there["output"], there["trace"], there["differs"]) == ("p.json", None, None)
    assert json.loads((folder / "p.json").read_text())["traceEvents"]


def test_two_runs_are_compared(command: Command, token: Token, folder: Path) -> None:
    both = [token("breaks"), "--against", token("unstable")]
    assert "alike for 0 events; then" in command("trace", *both).out
    page = command("trace", *both, "--format", "html")
    assert page.out.startswith("trace-breaks-1-against.html")
    text = (folder / "trace-breaks-1-against.html").read_text()
    assert "Both runs are alike for 0 events." in text


def test_changed_code_is_said_and_what_happened_now_is_written(
    toron_command: Command, program: Callable[..., Path]
) -> None:
    program(KERNELS, "kernels.py")
    token = toron_command("run", "kernels.py::breaks", "--json").json["token"]
    program(KERNELS.replace("sleep(1)", "sleep(2)"), "kernels.py")
    answer = toron_command("trace", token)
    assert answer.code == 0
    assert "toron: the code has changed since; the same failure still happens" in answer.err
    assert "NOT the run of the token" in answer.out
    assert "  2.0000" in answer.out


def test_a_run_that_is_another_with_the_same_code_is_nondeterminism(
    command: Command, token: Token
) -> None:
    answer = command("trace", token("unstable"), "--json")
    assert answer.code == 3
    assert "not deterministic" in answer.json["differs"]


def test_a_run_without_events_is_inconclusive(command: Command) -> None:
    answer = command("trace", "kernels.py::dies", "--format", "html")
    assert answer.code == 4
    assert answer.out.startswith("trace-dies-0.html  0 events")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "is not a replay token"),
        (["kernels.py::breaks", "--format", "pdf"], "no format 'pdf'"),
        (["kernels.py::breaks", "--format", "perfetto", "--against", "t"], "cannot show two runs"),
        (["kernels.py::breaks", "--last", "0"], "--last 0 must be at least 1"),
        (["kernels.py::breaks", "--around", "x"], "--around 'x' must be `failure` or the number"),
        (["kernels.py::breaks", "--format", "html", "--last", "3"], "--last goes with --format te"),
        (["t2-abc", "--seed", "3"], "--seed goes with FILE.py::NAME"),
        (["t2-abc", "--strategy", "pct"], "--strategy goes with FILE.py::NAME"),
        (["kernels.py::none"], "has no kernel 'none'"),
        (["kernels.py::breaks", "--output", "no/such/folder"], "--output no/such/folder: No such"),
    ],
)
def test_bad_input_is_named_with_its_fix(
    command: Command, arguments: list[str], message: str
) -> None:
    answer = command("trace", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_python_gets_the_same_text(command: Command, token: Token) -> None:
    text = library.trace(token("breaks"))
    assert text == command("trace", token("breaks")).out
    outcome = library.run(library.KernelRef(Path("kernels.py").resolve(), "breaks"), seed=1)
    assert library.trace(outcome, format="ndjson").count("\n") > 8
    assert "both are one run" in library.trace(outcome, against=token("breaks"))
    with pytest.raises(library.BadKernel, match="no format 'pdf'"):
        library.trace(outcome, format="pdf")
