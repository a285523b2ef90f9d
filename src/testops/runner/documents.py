"""Reads a YAML or JSON file into plain values, and remembers on which line each one stands.

What the values must look like belongs to `runner.suites`. A file here may come from anybody, so
size and depth are bounded, a key given twice is refused, and so are YAML's aliases: a few lines of
them can spell a document larger than any memory.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from testops.domain.errors import BadInput

SIZE_MAX = 1_000_000
DEPTH_MAX = 40
# A YAML value takes about a kilobyte while it is read, whatever its own size.
EVENTS_MAX = 50_000

Pointer = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, and where each of them stands in it."""

    shown: str
    value: Any
    lines: dict[Pointer, int]

    def place(self, pointer: Pointer) -> str:
        """`FILE:LINE` of the value, or of the nearest one around it."""
        for length in range(len(pointer), -1, -1):
            line = self.lines.get(pointer[:length])
            if line is not None:
                return f"{self.shown}:{line}"
        return self.shown


def read_document(path: Path, *, shown: str) -> Document:
    """The document in `path`, called `shown` in messages; `BadInput` names line and column."""
    text = _read_text(path, shown)
    if path.suffix == ".json":
        return Document(shown, _parse_json(text, shown), {})
    try:
        _refuse_bombs(text, shown)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        problem = f"not valid YAML: {error.problem or error.context}"
        raise BadInput(problem, where=place, fix="correct the syntax there") from error
    except (yaml.YAMLError, RecursionError) as error:
        problem = f"not valid YAML: {str(error).splitlines()[0]}"
        raise BadInput(problem, where=shown, fix="correct the syntax") from error
    if node is None:
        raise BadInput("the file is empty", where=shown, fix="write a suite or profile in it")
    lines: dict[Pointer, int] = {}
    return Document(shown, _construct(node, (), lines, shown), lines)


def pointer_text(pointer: Pointer) -> str:
    """RFC 6901, which is what the messages and the JSON Schema tools use."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in pointer)


def _read_text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise BadInput(problem, where=shown, fix="check the path and its permissions") from error
    if len(raw) > SIZE_MAX:
        raise BadInput(f"larger than {SIZE_MAX} bytes", where=shown, fix="make the file smaller")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 at byte {error.start}", where=shown, fix="save the file as UTF-8"
        ) from error


def _refuse_bombs(text: str, shown: str) -> None:
    """Refuse what a few bytes make large, before anything is made of it: events hold no memory."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        mark = event.start_mark
        assert mark is not None
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}"
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{event.anchor} is not supported"
            raise BadInput(problem, where=place, fix="write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise BadInput(f"deeper than {DEPTH_MAX} levels", where=place, fix="nest less")
        if count > EVENTS_MAX:
            raise BadInput(f"more than {EVENTS_MAX} values", where=place, fix="split it")


_construct_scalar = yaml.SafeLoader("").construct_object
# A moment without quotes stays the text that was written: JSON, the other spelling, has no other.
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def _construct(node: yaml.Node, pointer: Pointer, lines: dict[Pointer, int], shown: str) -> Any:
    lines[pointer] = node.start_mark.line + 1
    place = f"{shown}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
    if len(pointer) > DEPTH_MAX:
        raise BadInput(f"deeper than {DEPTH_MAX} levels", where=place, fix="nest less")
    if isinstance(node, yaml.MappingNode):
        return dict(_entries(node, pointer, lines, shown))
    if isinstance(node, yaml.SequenceNode):
        items: Sequence[yaml.Node] = node.value
        return [_construct(n, (*pointer, i), lines, shown) for i, n in enumerate(items)]
    if node.tag == _TIMESTAMP:
        return str(node.value)
    try:
        return _construct_scalar(node)
    except (yaml.YAMLError, ValueError) as error:
        problem = f"{node.value!r} cannot be read as {node.tag.rpartition(':')[2]}"
        raise BadInput(problem, where=place, fix="quote it if it is text") from error


def _entries(
    node: yaml.MappingNode, pointer: Pointer, lines: dict[Pointer, int], shown: str
) -> Iterator[tuple[str, Any]]:
    seen: dict[str, int] = {}
    pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value
    for key_node, value_node in pairs:
        line = key_node.start_mark.line + 1
        place = f"{shown}:{line}:{key_node.start_mark.column + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise BadInput("a key must be text", where=place, fix="write a plain name")
        # The text as written: `on:` and `1:` are names here, not a truth value and a number.
        key = str(key_node.value)
        if key in seen:
            raise BadInput(
                f"the key {pointer_text((*pointer, key))} was already given on line {seen[key]}",
                where=place,
                fix="keep one of the two",
            )
        seen[key] = line
        value = _construct(value_node, (*pointer, key), lines, shown)
        lines[(*pointer, key)] = line
        yield key, value


def _parse_json(text: str, shown: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                problem = f"the key {key!r} is given twice"
                raise BadInput(problem, where=shown, fix="keep one of the two")
            made[key] = value
        return made

    def refuse(constant: str) -> NoReturn:
        raise BadInput(f"{constant} is not JSON", where=shown, fix="write a finite number")

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"{shown}:{error.lineno}:{error.colno}"
        problem = f"not valid JSON: {error.msg}"
        raise BadInput(problem, where=place, fix="correct the syntax there") from error
    except (ValueError, RecursionError) as error:
        problem = f"not valid JSON: {re.split(r'[;:]', str(error))[0]}"
        raise BadInput(problem, where=shown, fix="correct it") from error
    return value
