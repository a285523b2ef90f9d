"""Which versions were qualified together: the compatibility matrix, read strictly from its table.

The table is the one in VERSIONING_AND_RELEASE_NOTES.md, which people read too; a row that cannot
be read to the last cell is an error, because a matrix that is half understood forbids nothing.
Finding the document belongs to `wiring.versions`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.errors import BadInput

DOCUMENT = "VERSIONING_AND_RELEASE_NOTES.md"
# What stands in `qualified by` until `make release-notes` writes the run there.
UNRELEASED = "not released"
NO_UI = "none"
_ROWS_MAX = 500
_MINOR = r"[0-9]{1,4}\.[0-9]{1,4}"
_COLUMNS: Mapping[str, str] = {
    "testops": _MINOR,
    "UI": rf"{NO_UI}|{_MINOR}(?:, {_MINOR})*",
    "runner": rf"{_MINOR}(?:, {_MINOR})*",
    "API": r"v[0-9]{1,3}",
    "database": r"[0-9]{4}, flow-[0-9]{1,4}",
    "engine": r"toron-v[0-9.]{1,20}H\+\.(?:0|[1-9][0-9]{0,8})",
    "bundle schema": r"[0-9]{1,4}(?:, [0-9]{1,4})*",
    "suite schema": r"[0-9]{1,4}(?:, [0-9]{1,4})*",
    "Python": r"3\.[0-9]{1,2}(?:, 3\.[0-9]{1,2})*",
    "baselines approved for": r"[^|]{1,200}",
    "qualified by": rf"{UNRELEASED}|run [0-9a-f]{{16}} \([0-9.]{{5,20}}\)",
}
_UI = re.compile(_MINOR, re.ASCII)


@dataclass(frozen=True, slots=True)
class Combination:
    """Versions that are to work together; `ui` is None where no dashboard takes part."""

    testops: str
    runner: str
    engine: str
    bundle_schema: int
    suite_schema: int
    python: str
    ui: str | None = None

    def text(self) -> str:
        ui = "" if self.ui is None else f"UI {self.ui} × "
        return (
            f"{ui}testops {self.testops} × runner {self.runner} × engine {self.engine} × bundle "
            f"schema {self.bundle_schema} × suite schema {self.suite_schema} × Python {self.python}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "testops": self.testops,
            "ui": self.ui,
            "runner": self.runner,
            "engine": self.engine,
            "bundle_schema": self.bundle_schema,
            "suite_schema": self.suite_schema,
            "python": self.python,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix: everything in it was qualified together."""

    testops: str
    uis: tuple[str, ...]
    runners: tuple[str, ...]
    api: str
    database: str
    engine: str
    bundle_schemas: tuple[int, ...]
    suite_schemas: tuple[int, ...]
    pythons: tuple[str, ...]
    baselines: str
    qualified_by: str

    @property
    def is_released(self) -> bool:
        return self.qualified_by != UNRELEASED

    def text(self) -> str:
        """What it qualifies, in one line."""
        schemas = ", ".join(map(str, self.bundle_schemas))
        return (
            f"testops {self.testops} × UI {', '.join(self.uis) or NO_UI} × runner "
            f"{', '.join(self.runners)} × engine {self.engine} × bundle schema {schemas} × Python "
            f"{', '.join(self.pythons)}"
        )

    def covers(self, wanted: Combination) -> bool:
        """Whether `wanted` is in this row, cell by cell."""
        return (
            self.testops == wanted.testops
            and (wanted.ui is None or wanted.ui in self.uis)
            and wanted.runner in self.runners
            and self.engine == wanted.engine
            and wanted.bundle_schema in self.bundle_schemas
            and wanted.suite_schema in self.suite_schemas
            and wanted.python in self.pythons
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "testops": self.testops,
            "ui": list(self.uis),
            "runner": list(self.runners),
            "api": self.api,
            "database": self.database,
            "engine": self.engine,
            "bundle_schema": list(self.bundle_schemas),
            "suite_schema": list(self.suite_schemas),
            "python": list(self.pythons),
            "baselines": self.baselines,
            "qualified_by": self.qualified_by if self.is_released else None,
        }


class Unqualified(BadInput):
    """A combination that nobody has qualified. The message names the row that is missing."""

    def __init__(self, what: str, row: str, *, fix: str) -> None:
        self.row = row
        super().__init__(
            f"{what} is not qualified: no row of the compatibility matrix has {row}",
            where=DOCUMENT,
            fix=fix,
        )


_INSTALL_FIX = "install versions that one row names together (testops versions lists the rows)"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every row, in the order of the table: the newest is the last."""

    rows: tuple[Row, ...]

    def row_of(self, wanted: Combination) -> Row | None:
        return next((row for row in self.rows if row.covers(wanted)), None)

    def require(self, wanted: Combination) -> Row:
        """The row of `wanted`; `Unqualified` when there is none."""
        row = self.row_of(wanted)
        if row is None:
            raise Unqualified("this combination", wanted.text(), fix=_INSTALL_FIX)
        return row

    def require_ui(self, asked: str, running: Combination) -> None:
        """`Unqualified` unless a dashboard of the version `asked` belongs to what is running."""
        version = asked if _UI.fullmatch(asked) else "of no version"
        wanted = f"UI {version} × testops {running.testops} × engine {running.engine}"
        named = [row for row in self.rows if row.testops == running.testops]
        if not any(version in row.uis and row.engine == running.engine for row in named):
            raise Unqualified(
                "this dashboard with this server",
                wanted,
                fix="load the dashboard that this server ships",
            )

    def require_comparable(self, base: tuple[str, int] | None, target: tuple[str, int]) -> None:
        """`Unqualified` unless bundles of these engines and schemas may be held together.

        Each is (engine, bundle schema); both must be in one row, whichever release it is of.
        """
        sides = [target] if base is None else [base, target]
        for row in self.rows:
            if all(row.engine == one and schema in row.bundle_schemas for one, schema in sides):
                return
        texts = [f"engine {one} × bundle schema {schema}" for one, schema in sides]
        raise Unqualified(
            "to compare these bundles",
            " with ".join(dict.fromkeys(texts)),
            fix="run the suite again with this version, and approve that bundle as the baseline",
        )


def matrix_of(document: str) -> Matrix:
    """The matrix in the text of VERSIONING_AND_RELEASE_NOTES.md; `BadInput` names what is wrong."""
    header = f"| {' | '.join(_COLUMNS)} |"
    lines = document.splitlines()
    tables = [number for number, line in enumerate(lines) if line.strip() == header]
    if len(tables) != 1:
        raise _unreadable(f"it has {len(tables)} tables with the head {header}")
    body = lines[tables[0] + 1 :]
    length = next(
        (number for number, line in enumerate(body) if not line.startswith("|")), len(body)
    )
    if not body or set(body[0]) - set("|- ") or not 2 <= length <= _ROWS_MAX:
        raise _unreadable("its compatibility matrix has no rows")
    return _checked([_row_of(line) for line in body[1:length]])


def _checked(rows: Sequence[Row]) -> Matrix:
    keys = [(row.testops, row.engine, row.uis, row.pythons) for row in rows]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise _unreadable(f"its row of testops {twice[0]} with engine {twice[1]} is there twice")
    unreleased = [row for row in rows[:-1] if not row.is_released]
    if unreleased:
        raise _unreadable(
            f"its row of testops {unreleased[0].testops} is {UNRELEASED!r}, and only the last "
            "may be"
        )
    return Matrix(tuple(rows))


def _row_of(line: str) -> Row:
    cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
    if len(cells) != len(_COLUMNS) or not line.rstrip().endswith("|"):
        raise _unreadable(f"a row of it has {len(cells)} cells, not {len(_COLUMNS)}: {line[:200]}")
    for (name, pattern), cell in zip(_COLUMNS.items(), cells, strict=True):
        if not re.fullmatch(pattern, cell, re.ASCII):
            raise _unreadable(f"the cell {name!r} of a row of its matrix is {cell[:60]!r}")
    testops, ui, runner, api, database, engine, bundle, suite, python, baselines, by = cells
    return Row(
        testops,
        () if ui == NO_UI else tuple(ui.split(", ")),
        tuple(runner.split(", ")),
        api,
        database,
        engine,
        tuple(int(one) for one in bundle.split(", ")),
        tuple(int(one) for one in suite.split(", ")),
        tuple(python.split(", ")),
        baselines,
        by,
    )


def row_text(row: Row) -> str:
    """The row as a line of the table; `_row_of` reads it back."""
    cells = (
        row.testops,
        ", ".join(row.uis) or NO_UI,
        ", ".join(row.runners),
        row.api,
        row.database,
        row.engine,
        ", ".join(map(str, row.bundle_schemas)),
        ", ".join(map(str, row.suite_schemas)),
        ", ".join(row.pythons),
        row.baselines,
        row.qualified_by,
    )
    return f"| {' | '.join(cells)} |"


def _unreadable(problem: str) -> BadInput:
    return BadInput(
        problem, where=DOCUMENT, fix="correct the table, or install ryuzen-testops again"
    )


@dataclass(frozen=True, slots=True)
class Versions:
    """What is qualified, and what runs here."""

    matrix: Matrix
    running: Combination

    def to_json(self) -> dict[str, Any]:
        """The matrix, what is active, and the row that it is in (None: the one that is missing)."""
        row = self.matrix.row_of(self.running)
        return {
            "rows": [one.to_json() for one in self.matrix.rows],
            "active": self.running.to_json(),
            "qualified": row is not None,
            "row": None if row is None else row.to_json(),
            "missing": None if row is not None else self.running.text(),
        }
