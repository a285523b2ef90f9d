"""Shelves and latches for tests: the product's own, in a folder and in a real S3."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.s3 import S3Server

from testops.snapshots.objects.folder import FolderLatch, FolderShelf
from testops.snapshots.objects.leases import LeaseLatch
from testops.snapshots.objects.ports import Latch, Shelf
from testops.snapshots.objects.s3 import S3Shelf, address_of
from testops.telemetry.clock import SystemClock


class HeldClock:
    """A clock that stands still until it is told to pass."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def elapsed_s(self) -> float:
        return self._now.timestamp()

    def pass_s(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Place:
    """A shelf, and a latch of it for each process that a test plays."""

    shelf: Shelf
    latch: Callable[[str], Latch]
    environment: dict[str, str]


def folder_place(root: Path) -> Place:
    return Place(
        FolderShelf(root),
        lambda _token: FolderLatch(root, pause=pause, told=lambda _said: None),
        {"TESTOPS_SNAPSHOT_STORE": str(root)},
    )


def s3_place(server: S3Server, bucket: str) -> Place:
    address = f"s3://{bucket}/some/prefix"
    shelf = S3Shelf(address_of(address, where="test"), server.environment(), where="test")
    return Place(
        shelf,
        lambda token: LeaseLatch(
            shelf,
            SystemClock(),
            token=token,
            pause=lambda s: pause(s / 10),
            told=lambda _said: None,
        ),
        {"TESTOPS_SNAPSHOT_STORE": address, **server.environment()},
    )


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)
