"""The hazards, on every other supported interpreter of this machine.

An interpreter that is absent is skipped and says so; it never counts as passed. Nothing but Toron
is needed there: it has no dependencies.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import toron

PROGRAMS = Path(__file__).parents[1] / "programs"
SOURCE = Path(toron.__file__).parents[1]
SUPPORTED = ("3.11", "3.12", "3.13")
CURRENT = f"{sys.version_info[0]}.{sys.version_info[1]}"

PROGRAM = """
import json, sys
from pathlib import Path
from toron.search.explore import kernels_of
from toron.search.references import KernelRef
from toron.search.verify import Question, verify_many

found = {}
for file, mode in (("controlled", "varied"), ("detected", "varied"), ("escapes", "fixed")):
    path = Path(sys.argv[1]) / f"{file}.py"
    questions = [Question(KernelRef(path, name), 1, 0, mode) for name in kernels_of(path)]
    for one in verify_many(questions):
        outcome = one.execution.outcome
        found[one.reference.name] = {
            "file": file,
            "verdict": outcome.verdict,
            "python": outcome.python,
            "failure": outcome.failure and [outcome.failure.kind, outcome.failure.where],
            "identical": one.identical,
            "where": one.divergence and one.divergence.where,
            "outputs": outcome.outputs,
        }
print(json.dumps(found))
"""


def interpreter(version: str) -> str | None:
    """A python of ``version`` that starts: in PATH, or among pyenv's versions."""
    candidates = [shutil.which(f"python{version}")]
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*"))
    candidates += [str(folder / "bin" / "python") for folder in installed]
    for candidate in filter(None, candidates):
        told = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        major, minor = version.split(".")
        if told.stdout.strip() == f"({major}, {minor})":
            return candidate
    return None


def marked_line(file: str, kernel: str) -> int:
    lines = (PROGRAMS / f"{file}.py").read_text().split("\n")
    start = lines.index(f"async def {kernel}():")
    return next(number for number in range(start, len(lines)) if "# HERE" in lines[number]) + 1


def hazards_on(python: str) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(
        [python, "-c", PROGRAM, str(PROGRAMS)],
        env={**environment, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("version", [version for version in SUPPORTED if version != CURRENT])
def test_hazards_are_controlled_detected_and_refused_on_other_pythons(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"not run: no Python {version} on this machine")
    found = hazards_on(python)
    names = {
        file: re.findall(
            r"^async def (\w+)\(\):", (PROGRAMS / f"{file}.py").read_text(), re.MULTILINE
        )
        for file in ("controlled", "detected", "escapes")
    }
    assert set(found) == {name for listed in names.values() for name in listed}
    wrong = {
        name: one
        for name, one in found.items()
        if one["python"] != version or not as_expected(name, one)
    }
    assert wrong == {}


def as_expected(kernel: str, one: dict[str, Any]) -> bool:
    if one["file"] == "controlled":
        return one["verdict"] == "pass" and bool(one["identical"])
    place = f"{one['file']}.py:{marked_line(one['file'], kernel)} in {kernel}"
    if one["file"] == "detected":
        return not one["identical"] and bool(one["where"] == place)
    kind, where = one["failure"]
    return bool(one["verdict"] == "fail" and kind == "escape" and where.startswith(place))
