"""Reads the fields of a review record without trust; every refusal points at the field.

A review stands in version control, where people edit and merge it, so it is read like any input.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from testops.domain.errors import BadInput

RECORD_FIX = "restore the review from version control, or remove it and run the suite again"
_LINE_LENGTH_MAX = 1000
_COUNT_MAX = 1_000_000_000
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z", re.ASCII)


def refused(pointer: str, problem: str, fix: str = RECORD_FIX) -> BadInput:
    """What to raise for the field at `pointer`."""
    return BadInput(problem, where=f"review: {pointer or '/'}", fix=fix, pointer=pointer)


def fields_of(value: object, at: str, names: Sequence[str]) -> Mapping[str, Any]:
    """The object `value`, which has exactly the fields `names`."""
    if not isinstance(value, dict):
        raise refused(at, "is not an object")
    for name in names:
        if name not in value:
            raise refused(f"{at}/{name}", "is missing")
    for name in value:
        if name not in names:
            raise refused(f"{at}/{str(name)[:80]}", "is an unknown field", "remove it, or update")
    return value


def array(value: object, at: str, longest: int) -> Sequence[object]:
    """The list `value`, of at most `longest` items."""
    if not isinstance(value, list):
        raise refused(at, "is not a list")
    if len(value) > longest:
        raise refused(at, f"has {len(value)} items, and at most {longest} are read")
    return value


def text(
    value: object, at: str, *, empty: bool = False, lines: bool = False, longest: int | None = None
) -> str:
    """The text `value`, on one line unless `lines`, and not empty unless `empty`."""
    longest = longest or _LINE_LENGTH_MAX
    if not isinstance(value, str) or not (value.strip() or (empty and not value)):
        raise refused(at, "is not a text, or an empty one")
    if len(value) > longest:
        raise refused(at, f"is longer than {longest} characters")
    if not all(letter.isprintable() or (lines and letter == "\n") for letter in value):
        raise refused(at, "holds control characters")
    return value


def place(value: object, at: str, longest: int) -> str:
    """The pointer `value`; a name in it is a program's own, and may hold any character."""
    if not isinstance(value, str) or len(value) > longest or (value and value[0] != "/"):
        raise refused(at, f"is no pointer of at most {longest} characters")
    return value


def count(value: object, at: str, *, low: int) -> int:
    """The whole number `value`, at least `low`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= _COUNT_MAX:
        raise refused(at, f"is not a whole number from {low} to {_COUNT_MAX}")
    return value


def digest(value: object, at: str) -> str:
    """The sha256 `value`, in hex."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise refused(at, "is not a sha256 in hex")
    return value


def moment(value: object, at: str) -> str:
    """The time `value`, as text."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise refused(at, "is not a time in UTC like 2026-11-25T12:30:00Z")
    return value


def member(value: object, at: str, known: Sequence[str]) -> str:
    """The text `value`, which is one of `known`."""
    if not isinstance(value, str) or value not in known:
        raise refused(at, f"is none of {', '.join(known)}")
    return value
