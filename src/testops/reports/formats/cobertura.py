"""Cobertura XML, as coverage.py writes it and CI servers read it.

`timestamp` is 0 and the only source is `.`: equal measurements are equal bytes, on any machine.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath

from testops.reports.coverage import Branches, Coverage, Line, branches_in, placed
from testops.reports.formats.reading import Source, count_in, tag_of, xml_of
from testops.reports.formats.writing import element, text_element, xml_document

_SCHEME = "to:"
_CONDITIONS = re.compile(r"\((\d+)/(\d+)\)")


def write_cobertura(coverage: Coverage) -> str:
    """The file; a rate of what has no lines is 0, because nothing was shown of it."""
    (hit, lines), (taken, branches) = coverage.lines, coverage.branches
    totals = {
        "version": "testops",
        "timestamp": "0",
        "lines-valid": lines,
        "lines-covered": hit,
        "line-rate": _rate(hit, lines),
        "branches-valid": branches,
        "branches-covered": taken,
        "branch-rate": _rate(taken, branches),
        "complexity": "0",
    }
    files = sorted(coverage.files.items(), key=lambda item: (_folder(item[0]), item[0]))
    packages = (
        _package(folder, dict(group)) for folder, group in groupby(files, lambda f: _folder(f[0]))
    )
    sources = element("sources", {}, [text_element("source", {}, ".")])
    return xml_document(element("coverage", totals, [sources, element("packages", {}, packages)]))


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _package(folder: str, files: Mapping[str, Mapping[int, Line]]) -> str:
    name = "." if folder == "." else folder.strip("/").replace("/", ".")
    rates = _rates(line for lines in files.values() for line in lines.values())
    classes = (_class(file, lines) for file, lines in files.items())
    return element("package", {"name": name, **rates}, [element("classes", {}, classes)])


def _class(file: str, lines: Mapping[int, Line]) -> str:
    written = element("lines", {}, (_line(number, line) for number, line in lines.items()))
    values = {"name": PurePosixPath(file).name, "filename": file, **_rates(lines.values())}
    return element("class", values, [element("methods", {}), written])


def _line(number: int, line: Line) -> str:
    values: dict[str, object] = {"number": number, "hits": line.hits}
    if line.branches is not None:
        covered, total = line.branches.covered, line.branches.total
        share = 100 * covered // total if total else 100
        values |= {"branch": "true", "condition-coverage": f"{share}% ({covered}/{total})"}
        named = [name.removeprefix(_SCHEME) for name in line.branches.missing or ()]
        if named:
            values["missing-branches"] = ",".join(sorted(named, key=_numeric))
    return element("line", values)


def _numeric(name: str) -> tuple[bool, int, str]:
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _rates(lines: Iterable[Line]) -> dict[str, object]:
    every = list(lines)
    return {
        "line-rate": _rate(sum(line.hits > 0 for line in every), len(every)),
        "branch-rate": _rate(*branches_in(every)),
        "complexity": "0",
    }


def _rate(part: int, whole: int) -> str:
    """Rounded down: 1 means all of them, never nearly all."""
    return f"{(10_000 * part // whole) / 10_000:g}" if whole else "0"


# --- reading ------------------------------------------------------------------------------------


def is_cobertura(root: ET.Element) -> bool:
    """Whether the root is Cobertura's; Clover has the same name without a rate."""
    return tag_of(root) == "coverage" and root.get("line-rate") is not None


def read_cobertura(source: Source, *, root: Path) -> Coverage:
    """The measurement of the file, its paths as the project at `root` spells them."""
    top = xml_of(source)
    if not is_cobertura(top):
        raise source.bad(
            f"<{tag_of(top)}> is not Cobertura",
            field="the root element",
            fix="give a file whose root is coverage with a line-rate",
        )
    sources = [(one.text or "").strip() for one in top.iter() if tag_of(one) == "source"]
    files: dict[str, dict[int, Line]] = {}
    for found in top.iter():
        if tag_of(found) != "class":
            continue
        name = found.get("filename")
        if not name:
            raise source.bad(
                "a class without a file", field="<class filename>", fix="name the file"
            )
        into = files.setdefault(placed(name, sources, root), {})
        for number, line in _lines_of(found, source):
            into[number] = into[number].widest(line) if number in into else line
    return Coverage(
        {name: dict(sorted(lines.items())) for name, lines in sorted(files.items())},
    )


def _lines_of(found: ET.Element, source: Source) -> Iterator[tuple[int, Line]]:
    # Some tools tell a line under its method as well; `widest` makes one of the two.
    for one in found.iter():
        if tag_of(one) != "line":
            continue
        number, hits = count_in(one, "number", source), count_in(one, "hits", source)
        if number is None or hits is None:
            missing = "number" if number is None else "hits"
            raise source.bad(
                "a line without it", field=f"<line {missing}>", fix="write the file anew"
            )
        yield number, Line(max(0, hits), _branches_of(one, source))


def _branches_of(line: ET.Element, source: Source) -> Branches | None:
    if line.get("branch", "").lower() != "true":
        return None
    told = _CONDITIONS.search(line.get("condition-coverage", ""))
    if told is None:
        return None
    covered, total = int(told[1]), int(told[2])
    if covered > total:
        raise source.bad(
            f"{covered} of {total} branches",
            field="<line condition-coverage>",
            fix="write the file anew",
        )
    names = [name.strip() for name in line.get("missing-branches", "").split(",") if name.strip()]
    exact = len(set(names)) == total - covered
    return Branches(total, covered, frozenset(_SCHEME + name for name in names) if exact else None)
