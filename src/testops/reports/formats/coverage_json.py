"""coverage.py's JSON report: unlike its XML it names each file from the folder that it ran in.

In the XML of several source folders, two files of one name are one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testops.reports.coverage import Branches, Coverage, Line, placed
from testops.reports.formats.reading import Fields, Source, json_of

_WAYS = ("executed_branches", "missing_branches")


def is_coverage_json(value: Any) -> bool:
    """Whether it has files and totals as coverage.py writes them."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("files"), Mapping)
        and isinstance(value.get("totals"), Mapping)
        and "num_statements" in value["totals"]
    )


def read_coverage_json(source: Source, *, root: Path) -> Coverage:
    """The measurement of the file; a line was executed or not, how often is not told."""
    files = Fields.of(source, json_of(source)).object("files")
    found = {placed(name, (), root): _lines(files.object(name)) for name in files.body}
    return Coverage(dict(sorted(found.items())))


def _lines(file: Fields) -> dict[int, Line]:
    hits = dict.fromkeys(_numbers(file, "missing_lines"), 0)
    hits |= dict.fromkeys(_numbers(file, "executed_lines"), 1)
    taken, missing = (_ways(file, name) for name in _WAYS)
    branches = {
        line: _branches(taken.get(line, []), missing.get(line, [])) for line in {*taken, *missing}
    }
    return {line: Line(hits[line], branches.get(line)) for line in sorted(hits)}


def _numbers(file: Fields, name: str) -> list[int]:
    return [_number(one, file, name) for one in file.list(name)]


def _ways(file: Fields, name: str) -> dict[int, list[int]]:
    """By line, where its branches lead; a negative number is the way out of its function."""
    found: dict[int, list[int]] = {}
    for pair in file.list(name):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _bad(file, name)
        found.setdefault(_number(pair[0], file, name), []).append(_number(pair[1], file, name))
    return found


def _branches(taken: list[int], missing: list[int]) -> Branches:
    # The names of the XML, so that both can be put together.
    names = {f"to:{to}" if to > 0 else "to:exit" for to in missing}
    exact = len(names) == len(missing)
    total = len(taken) + len(missing)
    return Branches(total, len(taken), frozenset(names) if exact else None)


def _number(value: Any, file: Fields, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad(file, name)
    return value


def _bad(file: Fields, name: str) -> Exception:
    return file.source.bad(
        "what is no line or branch", field=file.place(name), fix="write it anew: coverage json"
    )
