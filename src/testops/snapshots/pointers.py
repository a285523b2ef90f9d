"""RFC 6901 pointers: one way to write down a place in a JSON document, and one to read it."""

from collections.abc import Sequence
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]


def pointer(place: Sequence[str | int]) -> str:
    """`("outputs", "a/b", 3)` as `/outputs/a~1b/3`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def segments(text: str) -> tuple[str, ...]:
    """The unescaped parts of a pointer; ValueError when it is none."""
    if not text:
        return ()
    if not text.startswith("/"):
        raise ValueError("a pointer begins with '/'")
    parts = text[1:].split("/")
    for part in parts:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise ValueError("'~' is written as ~0 and '/' inside a name as ~1")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def pattern(place: Sequence[str | int]) -> str:
    """The pointer with `*` for every index of a list: what many places have in common."""
    return pointer(["*" if isinstance(part, int) else part for part in place])
