"""A script reproduces a failure on stock asyncio, and passes once the program is mended."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toron.errors import BadKernel
from toron.search.explain.explain import Wanted, explain
from toron.search.explain.explanation import Explanation
from toron.search.references import KernelRef, Token
from toron.testing import execute

FILE = Path(__file__).parent.parent / "programs" / "explained.py"


def explained(path: Path, kernel: str, script: Path, *tape: tuple[str, int]) -> Explanation:
    run = execute(KernelRef(path, kernel), seed=0, tape=tape)
    wanted = Wanted(shrinks=False, script=script, witness_runs=2)
    return explain(Token.decode(run.outcome.token), wanted)


def end_of(script: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_a_deadlock_that_needs_a_stall_hangs_on_stock_asyncio_too(tmp_path: Path) -> None:
    program, script = tmp_path / "program.py", tmp_path / "reproduce.py"
    shutil.copy(FILE, program)
    found = explained(program, "lost_turn", script, ("stall hasty#1/2", 502_000)).reproduction
    assert found is not None
    assert (found.runs, found.failed_alike) == (5, 5)
    assert found.text.startswith("fails by itself in 5 of 5 runs: hangs as expected (deadlock)")
    text = script.read_text()
    assert "import toron" not in text
    assert "from toron" not in text
    code, last = end_of(script)
    assert (code, last.split()[:2]) == (1, ["FAILED", "deadlock"])

    program.write_text(program.read_text().replace("IS_FIXED = False", "IS_FIXED = True"))
    assert end_of(script) == (0, "PASSED")


def test_an_exception_and_a_broken_property_come_out_alike(tmp_path: Path) -> None:
    for kernel, text in (
        ("always_fails", "same exception KeyError"),
        ("broken_promise", "same property at most two"),
    ):
        found = explained(FILE, kernel, tmp_path / f"{kernel}.py").reproduction
        assert found is not None
        assert (found.failed_alike, found.clock) == (5, "real")
        assert text in found.text


def test_hosts_are_not_possible_on_stock_asyncio(tmp_path: Path) -> None:
    tape = ("schedule on_two_hosts.<locals>.begin#1/1", 1)
    found = explained(FILE, "on_two_hosts", tmp_path / "none.py", tape).reproduction
    assert found is not None
    assert found.text.startswith("not possible: simulated hosts (")
    assert not (tmp_path / "none.py").exists()


def test_an_order_that_asyncio_keeps_is_not_forced(tmp_path: Path) -> None:
    tape = ("schedule in_order.<locals>.child#1/1", 1)
    found = explained(FILE, "in_order", tmp_path / "none.py", tape).reproduction
    assert found is not None
    assert found.text == ("not possible: stock asyncio keeps the order that this failure needs")
    assert not (tmp_path / "none.py").exists()


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadKernel, match=r"--script .*: no such folder"):
        explained(FILE, "always_fails", tmp_path / "no" / "such" / "folder.py")
