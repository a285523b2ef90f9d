"""Branches on every other supported interpreter of this machine: forks, and replays from tokens.

An interpreter that is absent is skipped and says so; it never counts as passed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import toron

PROGRAMS = Path(__file__).parents[1] / "programs"
SOURCE = Path(toron.__file__).parents[1]
SUPPORTED = ("3.11", "3.12", "3.13")
CURRENT = f"{sys.version_info[0]}.{sys.version_info[1]}"

PROGRAM = """
import json, sys
from pathlib import Path
import toron

found = {}
for file, kernel in (
    ("branching", "over_the_network"),
    ("branching", "every_kind_of_chance"),
    ("branching", "that_looks_for_forks"),
    ("branching", "with_faults"),
    ("tls_programs", "over_ecdsa"),
):
    reference = toron.KernelRef(Path(sys.argv[1]) / f"{file}.py", kernel)
    plain = toron.run(reference, seed=1)
    itself = plain.trace_digest
    branching = toron.branch(reference, seed=1, at=plain.virtual_ns / 2e9, branches=3)
    digests = [outcome.trace_digest for outcome in branching.branches]
    replayed = [toron.replay(outcome.token).trace_digest for outcome in branching.branches]
    same = branching.branches[1].outputs.get("same process", True)
    found[kernel] = [branching.forked, digests[0] == itself, digests == replayed, same]
print(json.dumps(found))
"""


def interpreter(version: str) -> str | None:
    """A python of ``version`` that starts: in PATH, or among pyenv's versions."""
    installed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*"))
    candidates = [shutil.which(f"python{version}"), *(f"{each}/bin/python" for each in installed)]
    for candidate in filter(None, candidates):
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        if told.stdout.strip() == version:
            return candidate
    return None


@pytest.mark.long
@pytest.mark.parametrize("version", [version for version in SUPPORTED if version != CURRENT])
def test_branches_fork_and_replay_on_other_pythons(version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"not run: no Python {version} on this machine")
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
    found = json.loads(done.stdout)
    assert len(found) == 5
    assert all(all(held) for held in found.values()), found
