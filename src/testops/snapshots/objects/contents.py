"""Contents by their sha256, on any shelf; never taken on trust when they come back."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from testops.snapshots.objects.ports import Shelf

_FOLDER = "objects"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class DamagedObject(Exception):
    """A content that is missing, or not what its digest says."""

    def __init__(self, sha256: str, problem: str) -> None:
        self.sha256 = sha256
        self.problem = problem
        super().__init__(f"object {sha256}: {problem}")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a `put` did: the digest, the size in bytes, and whether it was new here."""

    sha256: str
    size: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Content:
    """One kept content, its size in bytes, and since when it is kept."""

    sha256: str
    size: int
    stored_at: datetime


class Objects:
    """The contents of one shelf. Add under its shared latch, remove under its exclusive one."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def put(self, content: bytes, *, rewrite: bool = False) -> Kept:
        """Keep `content`; one that is there is written again only to `rewrite` a damaged one."""
        sha256 = hashlib.sha256(content).hexdigest()
        there = self._shelf.entry(_name_of(sha256))
        is_new = there is None or there.size != len(content)
        if is_new or rewrite:
            self._shelf.write(_name_of(sha256), content)
        return Kept(sha256, len(content), is_new)

    def get(self, sha256: str) -> bytes:
        """The content; DamagedObject when it is missing or something else."""
        content = self._shelf.read(_name_of(sha256))
        if content is None:
            raise DamagedObject(sha256, "is missing")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedObject(sha256, f"holds {len(content)} bytes that are something else")
        return content

    def has(self, sha256: str) -> bool:
        return self._shelf.entry(_name_of(sha256)) is not None

    def list(self) -> Iterator[Content]:
        """Every content, sorted by digest."""
        for entry in self._shelf.entries(_FOLDER):
            sha256 = entry.name.rpartition("/")[2]
            if _DIGEST.fullmatch(sha256) and entry.name == _name_of(sha256):
                yield Content(sha256, entry.size, entry.stored_at)

    def remove(self, digests: Sequence[str]) -> None:
        self._shelf.remove_all([_name_of(sha256) for sha256 in digests])


def _name_of(sha256: str) -> str:
    assert _DIGEST.fullmatch(sha256), sha256
    return f"{_FOLDER}/{sha256[:2]}/{sha256}"
