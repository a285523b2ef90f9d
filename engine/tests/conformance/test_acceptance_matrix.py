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
CASES = [pytest.param(path, id=path.stem) for path in FILES]


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


def test_a_refused_program_counts_neither_as_working_nor_as_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MySQLdb.py").write_text("def connect(host):\n    return 1\n")
    path = tmp_path / "s00_refused.py"
    path.write_text("import MySQLdb\nasync def main():\n    return MySQLdb.connect('db')\n")
    monkeypatch.setitem(matrix.REFUSED, path.stem, "libmysqlclient")
    row = matrix.Program(path).measure(1)
    assert (row.works, row.clean, row.refused) == (0, 0, 1), row.problem
    assert (row.is_clean, row.is_as_expected) == (False, True)
    assert "refused by name" in matrix.line_of(matrix.cells_of("3.11", row))
    monkeypatch.setitem(matrix.REFUSED, path.stem, "another library")
    other = matrix.Program(path).measure(1)
    assert not other.is_as_expected
    assert "expected an escape that names another library" in other.problem


def test_a_refused_program_that_is_not_refused_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s00_not_refused.py"
    path.write_text("async def main():\n    return 1\n")
    monkeypatch.setitem(matrix.REFUSED, path.stem, "libpq")
    row = matrix.Program(path).measure(1)
    assert not row.is_as_expected
    assert "expected an escape that names libpq, got nothing" in row.problem
