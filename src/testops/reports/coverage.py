"""Which lines and branches were executed, and what several measurements of them say together.

How files spell it belongs to `reports.formats.cobertura` and `.lcov`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from testops.domain.stage import Metric


@dataclass(frozen=True, slots=True)
class Branches:
    """The ways out of a line. `missing` names those not taken, where the file tells which.

    Names are those of one tool: they begin with its scheme and a colon.
    """

    total: int
    covered: int
    missing: frozenset[str] | None = None

    def __post_init__(self) -> None:
        assert 0 <= self.covered <= self.total, (self.covered, self.total)

    def merged(self, other: "Branches") -> "Branches":
        """Both together: exact where both name what is missing, else what is certain at least."""
        total = max(self.total, other.total)
        if self.total != other.total or not _comparable(self, other):
            return Branches(total, max(self.covered, other.covered))
        assert self.missing is not None
        assert other.missing is not None
        missing = self.missing & other.missing
        return Branches(total, total - len(missing), missing)


def _comparable(one: Branches, other: Branches) -> bool:
    if one.missing is None or other.missing is None:
        return False
    schemes = {name.partition(":")[0] for name in (*one.missing, *other.missing)}
    return len(schemes) <= 1


@dataclass(frozen=True, slots=True)
class Line:
    """How often a line was executed."""

    hits: int
    branches: Branches | None = None

    def merged(self, other: "Line") -> "Line":
        branches = self.branches or other.branches
        if self.branches is not None and other.branches is not None:
            branches = self.branches.merged(other.branches)
        return Line(self.hits + other.hits, branches)

    def widest(self, other: "Line") -> "Line":
        """The same line told twice in one file: once, and by whoever saw more of it."""
        return replace(self.merged(other), hits=max(self.hits, other.hits))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Lines by number, by file; a file is named from the project's folder, with slashes."""

    files: Mapping[str, Mapping[int, Line]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[int, int]:
        """How many lines were executed, of how many."""
        every = [line for lines in self.files.values() for line in lines.values()]
        return sum(line.hits > 0 for line in every), len(every)

    @property
    def branches(self) -> tuple[int, int]:
        """How many branches were taken, of how many."""
        return branches_in(line for lines in self.files.values() for line in lines.values())

    def metrics(self, source: str) -> tuple[Metric, ...]:
        """Nothing to cover has no percentage: it is neither 0 nor 100."""
        (hit, lines), (taken, branches) = self.lines, self.branches
        found = [Metric("lines", lines, source), Metric("lines_covered", hit, source)]
        if lines:
            found.append(Metric("coverage_percent", 100 * hit / lines, source, "%"))
        if branches:
            found.append(Metric("branch_percent", 100 * taken / branches, source, "%"))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """What a page shows: the totals, and each file's."""
        return {
            "lines": _share(*self.lines),
            "branches": _share(*self.branches),
            "files": [
                {
                    "file": name,
                    "lines": _share(sum(line.hits > 0 for line in lines.values()), len(lines)),
                    "branches": _share(*branches_in(lines.values())),
                }
                for name, lines in sorted(self.files.items())
            ],
            "notes": list(self.notes),
        }


def branches_in(lines: Iterable[Line]) -> tuple[int, int]:
    """How many branches of these lines were taken, of how many."""
    every = [line.branches for line in lines if line.branches is not None]
    return sum(one.covered for one in every), sum(one.total for one in every)


def merged(measurements: Sequence[Coverage]) -> Coverage:
    """All of them as one; in whatever order they come, the result is the same."""
    files: dict[str, dict[int, Line]] = {}
    for measured in measurements:
        for name, lines in measured.files.items():
            into = files.setdefault(name, {})
            for number, line in lines.items():
                into[number] = into[number].merged(line) if number in into else line
    notes = sorted({note for measured in measurements for note in measured.notes})
    return Coverage(
        {name: dict(sorted(lines.items())) for name, lines in sorted(files.items())}, tuple(notes)
    )


def placed(name: str, sources: Sequence[str], root: Path) -> str:
    """The file `name` as the project at `root` calls it.

    Tools write it relative to one of `sources`, which may be folders of another machine; the one
    under which the file exists is taken, else the name stays as it came.
    """
    plain = name.replace("\\", "/")
    for folder in (*sources, "."):
        path = Path(plain) if Path(plain).is_absolute() else root / folder / plain
        inside = _inside(path, root)
        if inside is not None and _is_file(path):
            return inside
    outside = _inside(Path(plain), root) if Path(plain).is_absolute() else None
    return outside or PurePosixPath(plain).as_posix()


def _inside(path: Path, root: Path) -> str | None:
    try:
        full, base = path.resolve(), root.resolve()
    except (OSError, ValueError):
        # Not a name that any file can have.
        return None
    return full.relative_to(base).as_posix() if full.is_relative_to(base) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _share(covered: int, whole: int) -> dict[str, Any]:
    percent = None if not whole else (10_000 * covered // whole) / 100
    return {"covered": covered, "of": whole, "percent": percent}
