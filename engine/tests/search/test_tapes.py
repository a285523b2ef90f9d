"""A recorded tape, replayed, is the run: the same digest, for every program there is here."""

from pathlib import Path

import pytest

from toron.errors import BadKernel
from toron.search.pool import Request, Worker

HERE = Path(__file__).parent.parent
ROOT = HERE.parent.parent
PROGRAMS = HERE / "programs"
OF_CHANCE_BEYOND = ("detected.py", "leaks.py")
"""What these do is not determined by any choice, on purpose."""
EVERYWHERE = [
    path
    for path in [
        *sorted(PROGRAMS.glob("*.py")),
        *sorted((HERE / "bug_zoo").glob("*/*.py")),
        *sorted((ROOT / "examples").glob("*/kernel.py")),
        *sorted((ROOT / "sim" / "kernels").glob("*/*.py")),
    ]
    if path.name not in OF_CHANCE_BEYOND
]
SAMPLE = ("shrinkable.py", "hosts.py", "asyncio_condition.py")


def differences(path: Path, seeds: range, kernels_max: int = 100) -> list[str]:
    """The kernels and seeds of a file whose tape is not their run."""
    found = []
    worker = Worker(path, wall_limit_s=60)
    try:
        worker.start()
    except BadKernel as error:
        pytest.skip(f"a library that is not installed here: {error}")
    try:
        for kernel in list(worker.kernels)[:kernels_max]:
            for seed in seeds:
                plain = worker.execute(Request(kernel, seed, seed))
                recorded = worker.execute(Request(kernel, seed, seed, records_tape=True))
                tape = tuple(recorded.tape)
                replayed = worker.execute(Request(kernel, seed, seed, tape=tape))
                digests = {one.outcome.trace_digest for one in (plain, recorded, replayed)}
                if len(digests) != 1 or replayed.tape != recorded.tape:
                    found.append(f"{path.name}::{kernel} seed {seed}")
    finally:
        worker.stop()
    return found


@pytest.mark.parametrize("path", [path for path in EVERYWHERE if path.name in SAMPLE], ids=str)
def test_a_recorded_tape_is_the_run(path: Path) -> None:
    assert differences(path, range(1, 2), kernels_max=5) == []


@pytest.mark.long
@pytest.mark.parametrize("path", EVERYWHERE, ids=str)
def test_a_recorded_tape_is_the_run_everywhere(path: Path) -> None:
    assert differences(path, range(6)) == []
