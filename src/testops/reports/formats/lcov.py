"""LCOV tracefiles (`.info`), as geninfo, coverage.py and istanbul write them."""

from dataclasses import dataclass, field
from pathlib import Path

from testops.reports.coverage import Branches, Coverage, Line, placed
from testops.reports.formats.reading import Source


def is_lcov(text: str) -> bool:
    """Whether the first record begins as one does."""
    for line in text.splitlines()[:50]:
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            return stripped.startswith(("TN:", "SF:"))
    return False


@dataclass(slots=True)
class _Record:
    """One file while its record is read."""

    name: str
    hits: dict[int, int] = field(default_factory=dict)
    taken: dict[int, dict[str, bool]] = field(default_factory=dict)

    def lines(self) -> dict[int, Line]:
        numbers = sorted({*self.hits, *self.taken})
        return {
            number: Line(self.hits.get(number, 0), self._branches(number)) for number in numbers
        }

    def _branches(self, number: int) -> Branches | None:
        ways = self.taken.get(number)
        if not ways:
            return None
        missing = frozenset(name for name, taken in ways.items() if not taken)
        return Branches(len(ways), len(ways) - len(missing), missing)


def read_lcov(source: Source, *, root: Path) -> Coverage:
    """The measurement of the file; the same file in several records (tests) is added up."""
    files: dict[str, dict[int, Line]] = {}
    record: _Record | None = None
    for number, line in enumerate(source.text().splitlines(), 1):
        key, _, value = line.strip().partition(":")
        if key == "SF":
            record = _Record(placed(value, (), root))
        elif key == "end_of_record" and record is not None:
            into = files.setdefault(record.name, {})
            for at, found in record.lines().items():
                into[at] = into[at].merged(found) if at in into else found
            record = None
        elif key in ("DA", "BRDA"):
            _take(record, key, value, number, source)
    if record is not None:
        raise source.bad(
            f"the record of {record.name} does not end", fix="it was cut off: write it anew"
        )
    if not files:
        raise source.bad("there is no record in it", fix="give a whole tracefile")
    return Coverage({name: dict(sorted(lines.items())) for name, lines in sorted(files.items())})


def _take(record: _Record | None, key: str, value: str, number: int, source: Source) -> None:
    parts = value.split(",")
    try:
        if record is None:
            raise ValueError
        line = int(parts[0])
        if key == "DA":
            record.hits[line] = record.hits.get(line, 0) + max(0, int(parts[1]))
        else:
            name = f"way:{','.join(parts[1:-1])}"
            taken = parts[-1] not in ("-", "0")
            ways = record.taken.setdefault(line, {})
            ways[name] = ways.get(name, False) or taken
    except (ValueError, IndexError):
        raise source.bad(
            f"{key}:{value[:60]} cannot be read", field=f"line {number}", fix="write it anew"
        ) from None
