"""A project whose run takes a few seconds: one file to lint, two tests, one small kernel."""

from pathlib import Path

SUITE = "tiny"
STAGES = ("lint", "unit", "sim")
_FILES = {
    "suites/tiny.yaml": """\
schema: 1
name: tiny
seeds: {sim: 42, chaos: 7}
stages:
  lint: {ruff: {paths: [src]}}
  unit: {paths: [tests]}
  sim:
    seed_count: 3
    kernels:
      echo: {run: "sim/echo.py::echo"}
""",
    "sim/echo.py": """\
import random

import toron


@toron.kernel
async def echo(world):
    await world.sleep(1)
    world.record("answer", random.randrange(1000))
""",
    "src/small.py": '''\
"""A small program."""


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number
''',
    "tests/test_small.py": """\
def test_one():
    assert 1 + 1 == 2


def test_two():
    assert "a" * 2 == "aa"
""",
}


def write_project(folder: Path) -> None:
    """Write it into `folder`."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
