"""What the snapshot store asks of the place where its contents lie.

A `Shelf` keeps named bytes, a `Latch` says who may remove some. There is an adapter of each for a
folder (`folder`) and for S3 (`s3`, `leases`); what the bytes mean belongs to `snapshots.store`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of a shelf, its size in bytes, and since when it holds what it holds."""

    name: str
    size: int
    stored_at: datetime


class Shelf(Protocol):
    """Bytes under names like `bundles/4f53.json`; safe for any number of processes at once.

    Its errors: OutputNotWritable or StoreUnavailable when nothing is known of the last change,
    BadInput when the place or the right to it is missing.
    """

    # How many calls at once pay off here.
    parallel: int

    def write(self, name: str, content: bytes) -> None:
        """`name` holds `content` afterwards and after a power cut, or what it held before."""
        ...

    def read(self, name: str) -> bytes | None:
        """What `name` holds; None when there is no such name."""
        ...

    def entry(self, name: str) -> Entry | None:
        """Size and age of `name`; None when there is no such name."""
        ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Every name that begins with the folder `prefix`, sorted."""
        ...

    def remove(self, name: str) -> None:
        """There is no such name afterwards; that there was none is fine."""
        ...

    def remove_all(self, names: Sequence[str]) -> None:
        """`remove` of each, in as few steps as this place has; killed, it has removed some."""
        ...

    def tidy(self) -> int:
        """Remove what killed writers left; how many bytes that gave back."""
        ...

    def shown(self) -> str:
        """The place as a person writes it."""
        ...


class Hold(Protocol):
    """What the inside of a latch asks before it goes on."""

    def require(self) -> None:
        """Keep the hold for a while longer; StoreUnavailable when it may be lost."""
        ...


class Latch(Protocol):
    """Many may add at once, one alone may remove; a process that died holds nothing."""

    def shared(self) -> AbstractContextManager[Hold]:
        """Wait for whoever removes, then hold them off."""
        ...

    def exclusive(self) -> AbstractContextManager[Hold]:
        """Wait for everybody, then hold everybody off."""
        ...
