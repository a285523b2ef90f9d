"""The fifteen programs of the acceptance matrix here and now; `make compat` runs it whole."""

import importlib.util
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("matrix", Path(__file__).with_name("matrix.py"))
assert SPEC is not None
assert SPEC.loader is not None
matrix = importlib.util.module_from_spec(SPEC)
sys.modules["matrix"] = matrix  # dataclasses look their module up by name
SPEC.loader.exec_module(matrix)

FILES = matrix.programs([], wide=False)
SAMPLE = 2
PENDING: dict[str, str] = {
    "s03_aiohttp_tls": "OpenSSL draws its own randomness",
    "s20_kademlia": "UDP is not simulated yet",
}
CASES = [
    pytest.param(
        path,
        id=path.stem,
        marks=[pytest.mark.xfail(strict=True, reason=PENDING[path.stem])]
        if path.stem in PENDING
        else [],
    )
    for path in FILES
]


def test_the_matrix_has_its_fifteen_programs_each_with_its_faults() -> None:
    assert len(FILES) == 15
    for path in FILES:
        assert "async def crashed(world)" in path.read_text(), path.name


@pytest.mark.parametrize("path", CASES)
def test_a_program_is_clean_and_holds_under_faults(path: Path) -> None:
    row = matrix.Program(path).measure(SAMPLE)
    assert row.is_clean, row.problem
    assert row.fault_kernels


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", CASES)
def test_a_program_is_clean_and_holds_under_faults_over_twenty_seeds(path: Path) -> None:
    row = matrix.Program(path).measure(matrix.SEEDS)
    assert row.is_clean, row.problem


def test_a_program_that_gives_another_result_is_not_counted_as_working(tmp_path: Path) -> None:
    path = tmp_path / "s00_other.py"
    path.write_text(
        "import sys\nasync def main():\n    return 'toron.search.execute' in sys.modules\n"
    )
    row = matrix.Program(path).measure(1)
    assert (row.works, row.clean) == (0, 0)
    assert "stock asyncio false" in row.problem
    assert not row.is_clean
