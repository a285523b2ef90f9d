"""The examples of the reference page do what it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[3] / "docs/reference/checkers.md").read_text()
PAIRS = re.findall(r"```python\n(.*?)```\n(?:.(?!```python))*?```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_its_examples() -> None:
    assert len(PAIRS) == 4


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_example_prints_what_the_page_shows(number: int, tmp_path: Path) -> None:
    code, shown = PAIRS[number]
    (tmp_path / "example.py").write_text(code)
    printed = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert printed.stdout == shown


def test_the_kernel_of_the_page_fails_as_it_shows(toron_command: Any, tmp_path: Path) -> None:
    code, shown = PAIRS[0]
    (tmp_path / "store.py").write_text(code)
    answer = toron_command("run", "store.py", "--seed", "7")
    assert answer.code == 1
    for line in (
        "store is not linearizable (register model)",
        "  stuck   c",
        "these contradict each other, whichever of the others took effect:",
    ):
        assert line in shown  # the times are of a schedule, and a new strategy may move them
        assert line in answer.out
