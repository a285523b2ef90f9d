"""A clock and a source of secrets that tests hold, and access on a real database."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from testops.access.asked import Asked
from testops.access.audit import Signer
from testops.access.guard import Guard
from testops.access.keys import Keys, NewKey, WantedKey
from testops.access.sessions import Sessions
from testops.access.settings import AccessSettings
from testops.domain.access import Principal, Role
from testops.storage.access import AccessTables
from testops.storage.database import Database
from testops.storage.tables import metadata

SIGNING_KEY = b"k" * 32
SETTINGS = AccessSettings(signing_key=SIGNING_KEY)
LOCAL = Principal("test", "local", "terminal", Role.SECURITY)


@dataclass
class ManualClock:
    """Stands still until it is told to go on."""

    at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    passed_s: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def elapsed_s(self) -> float:
        return self.passed_s

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed_s += seconds


@dataclass
class CountedDraw:
    """Bytes that differ with each draw, and are the same in each run."""

    count: int = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(self.count.to_bytes(8, "big")).digest(size)


@dataclass
class Access:
    """Everything about access over one database."""

    database: Database
    settings: AccessSettings = SETTINGS
    clock: ManualClock = field(default_factory=ManualClock)
    draw: CountedDraw = field(default_factory=CountedDraw)

    def __post_init__(self) -> None:
        metadata.create_all(self.database.engine)
        self.store = AccessTables(self.database, Signer(self.settings.signing_key))
        self.keys = Keys(self.store, self.clock, self.draw)
        self.sessions = Sessions(self.store, self.clock, self.draw, self.settings)
        self.guard = Guard(self.store, self.clock, self.settings)

    def key(
        self,
        role: Role = Role.OPERATOR,
        *,
        workspaces: frozenset[str] | None = None,
        lifetime_s: int | None = None,
    ) -> NewKey:
        wanted = WantedKey(f"a {role}", role, workspaces, lifetime_s)
        return self.keys.create(wanted, by=LOCAL)

    def actions(self) -> list[str]:
        return [row.entry.action for row in self.store.page(after=0, limit=1000)[0]]


def asking(
    path: str = "/v1/test-runs",
    *,
    method: str = "GET",
    key: str = "",
    cookie: str = "",
    headers: Mapping[str, str] | None = None,
    client: str = "192.0.2.7",
    query: str = "",
) -> Asked:
    given = {"host": "localhost:8080", **(headers or {})}
    if key:
        given["authorization"] = f"Bearer {key}"
    if cookie:
        given["cookie"] = f"testops_session={cookie}"
    return Asked(method, path, given, client, query)
