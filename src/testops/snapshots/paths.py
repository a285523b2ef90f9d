"""Which names a file inside a bundle may have: one rule for writing, reading and unpacking."""

import re
from collections.abc import Iterable

from testops.snapshots.refusal import FOREIGN_FIX, Refusal

PATH_LENGTH_MAX = 240
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}", re.ASCII)


def require_safe_path(path: str) -> None:
    """Refuse a name that could leave its folder, or that two systems read apart."""
    if problem := _problem_of(path):
        raise Refusal(f"the member {path[:120]!r} {problem}", fix=FOREIGN_FIX)


def _problem_of(path: str) -> str:
    if path.startswith("/"):
        return "has an absolute path"
    if "\\" in path:
        return "has a backslash in its path"
    segments = path.split("/")
    if ".." in segments:
        return "has a path that leads outside ('..')"
    if len(path) > PATH_LENGTH_MAX:
        return f"has a path longer than {PATH_LENGTH_MAX} characters"
    if not all(_SEGMENT.fullmatch(segment) and segment[-1] != "." for segment in segments):
        return "has a path with characters outside A-Z a-z 0-9 _ . + - (or an empty part)"
    return ""


def require_distinct(paths: Iterable[str]) -> None:
    """Refuse names that are one file on some file system: repeated, or apart in case only."""
    seen: dict[str, str] = {}
    for path in paths:
        if (other := seen.get(path.lower())) is not None:
            raise Refusal(f"the members {other!r} and {path!r} have one name", fix=FOREIGN_FIX)
        seen[path.lower()] = path
    for folded, path in seen.items():
        if parent := next((name for name in _parents(folded) if name in seen), None):
            raise Refusal(
                f"the member {seen[parent]!r} is both a file and the folder of {path!r}",
                fix=FOREIGN_FIX,
            )


def _parents(path: str) -> Iterable[str]:
    segments = path.split("/")
    return ("/".join(segments[:count]) for count in range(1, len(segments)))
