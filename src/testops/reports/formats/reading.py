"""Reads somebody else's file with suspicion: bounded in size and depth, and never guessed at.

What the fields mean belongs to the module of the format. A number that is missing, null or not
finite is None here, and whoever asks decides; only a field of the wrong kind is `BadInput`.
"""

import codecs
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from testops.domain.errors import BadInput

SIZE_MAX = 64_000_000
DEPTH_MAX = 100
ELEMENTS_MAX = 2_000_000
# Larger numbers are damage, and their sums would not be numbers any more.
NUMBER_MAX = 1e15
# As Surefire writes long times. A comma alone may be a decimal one, and is refused.
_THOUSANDS = re.compile(r"^\d{1,3}(,\d{3})+\.\d+$")
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def measured(value: float) -> float | None:
    """`value`, unless nobody can have measured it: not finite, or beyond `NUMBER_MAX`."""
    return float(value) if -NUMBER_MAX <= value <= NUMBER_MAX else None


def ratio(part: float | None, whole: float | None) -> float | None:
    """One by the other; None where one is unknown or the answer is nothing that is measured."""
    return measured(part / whole) if part is not None and whole else None


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it came: `name` is what messages call it."""

    name: str
    content: bytes

    def bad(self, problem: str, *, fix: str, field: str = "") -> BadInput:
        """The error that names file, field and fix."""
        where = f"{self.name}: {field}" if field else self.name
        return BadInput(problem, where=where, fix=fix, pointer=field if field[:1] == "/" else None)

    def text(self) -> str:
        """The content as text; only UTF-8, with or without its mark."""
        if self.content.startswith(_BOMS):
            raise self.bad("not UTF-8 but UTF-16 or UTF-32", fix="save it as UTF-8")
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.bad(f"not UTF-8 at byte {error.start}", fix="save it as UTF-8") from error


def read_source(path: Path, *, shown: str) -> Source:
    """The file at `path`, at most `SIZE_MAX` of it."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}", where=shown, fix="check the path"
        ) from error
    if len(content) > SIZE_MAX:
        raise BadInput(f"larger than {SIZE_MAX} bytes", where=shown, fix="split it")
    return Source(shown, content)


# --- JSON ---------------------------------------------------------------------------------------


def json_of(source: Source) -> Any:
    """The JSON value of the file."""
    text = source.text()
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise source.bad(
            f"not valid JSON: {error.msg}", field=place, fix="write it anew"
        ) from error
    except (ValueError, RecursionError) as error:
        problem = f"not valid JSON: {type(error).__name__}"
        raise source.bad(problem, fix=f"nest at most {DEPTH_MAX} levels") from error
    _refuse_depth(value, source)
    return value


def _refuse_depth(value: Any, source: Source) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [child for one in level for child in _children(one)]
        if not level:
            return
    raise source.bad("nested too deeply", fix=f"nest at most {DEPTH_MAX} levels")


def _children(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of the file, and where in it: every wrong kind of value is named with its place."""

    source: Source
    body: Mapping[str, Any]
    at: str = ""

    @classmethod
    def of(cls, source: Source, value: Any, at: str = "") -> "Fields":
        if not isinstance(value, Mapping):
            raise source.bad(
                f"{_kind(value)} where an object must be",
                field=at or "/",
                fix="check that the file is whole and of this format",
            )
        return cls(source, value, at)

    def place(self, name: str | int) -> str:
        return f"{self.at}/{str(name).replace('~', '~0').replace('/', '~1')}"

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def object(self, name: str) -> "Fields":
        """The object `name`; an empty one where it is missing."""
        return Fields.of(self.source, self.body.get(name) or {}, self.place(name))

    def objects(self, name: str) -> Iterator["Fields"]:
        """The objects of the list `name`; none where it is missing."""
        place = self.place(name)
        for index, one in enumerate(self.list(name)):
            yield Fields.of(self.source, one, f"{place}/{index}")

    def list(self, name: str) -> Sequence[Any]:
        value = self.body.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._bad(name, value, "a list")
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._bad(name, value, "text")
        return value

    def number(self, name: str) -> float | None:
        """The number `name`, or None where it is missing, null or nothing that is measured."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._bad(name, value, "a number")
        return measured(value)

    def count(self, name: str) -> int | None:
        """The number `name` of things; None where it is missing."""
        value = self.number(name)
        if value is None:
            return None
        if value < 0 or value != int(value):
            raise self._bad(name, value, "a whole number from 0 up")
        return int(value)

    def truth(self, name: str) -> bool | None:
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._bad(name, value, "true or false")
        return value

    def _bad(self, name: str, value: Any, wanted: str) -> BadInput:
        return self.source.bad(
            f"{_kind(value)} where {wanted} must be",
            field=self.place(name),
            fix="check that the file is whole and of this format",
        )


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)[:60]


# --- XML ----------------------------------------------------------------------------------------


def xml_of(source: Source) -> ET.Element:
    """The root element. Entities are refused: they are how a kilobyte explodes."""
    depth = 0
    opened: list[ET.Element] = []
    try:
        for event, element in iterparse(
            BytesIO(source.content), events=("start", "end"), forbid_dtd=False
        ):
            if event == "end":
                depth -= 1
                continue
            opened.append(element)
            depth += 1
            if depth > DEPTH_MAX:
                raise source.bad("nested too deeply", fix=f"nest at most {DEPTH_MAX} levels")
            if len(opened) > ELEMENTS_MAX:
                raise source.bad(f"more than {ELEMENTS_MAX} elements", fix="split it")
    except DefusedXmlException as error:
        problem = f"refused: it declares entities ({type(error).__name__})"
        raise source.bad(problem, fix="write it without a DTD") from error
    except ET.ParseError as error:
        line, column = error.position
        place = f"line {line}, column {column + 1}"
        problem = f"not valid XML: {str(error).partition(':')[0]}"
        raise source.bad(problem, field=place, fix="write it anew") from error
    except (LookupError, ValueError) as error:
        raise source.bad(f"not readable as XML: {error}", fix="save it as UTF-8") from error
    return opened[0]


def tag_of(element: ET.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def number_in(element: ET.Element, name: str, source: Source) -> float | None:
    """The attribute as a number; None where it is missing, empty or not finite."""
    text = element.get(name, "").strip()
    if not text:
        return None
    if _THOUSANDS.match(text):
        text = text.replace(",", "")
    try:
        value = float(text)
    except ValueError:
        raise source.bad(
            f"{text[:40]!r} is not a number",
            field=f"<{tag_of(element)} {name}>",
            fix="write a number or leave it out",
        ) from None
    return measured(value)


def count_in(element: ET.Element, name: str, source: Source) -> int | None:
    """The attribute as a whole number."""
    value = number_in(element, name, source)
    return None if value is None else int(value)
