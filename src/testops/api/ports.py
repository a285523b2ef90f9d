"""What the API needs from the boxes beside and below it; `testops.wiring` supplies it.

Everything here but the guard blocks, and is called in a thread.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from testops.access.asked import Asked
from testops.access.audit import Entry
from testops.domain.access import Permission, Principal
from testops.domain.bundle_key import BundleKey
from testops.domain.execution import Artifact, Lease
from testops.domain.history import History
from testops.domain.idempotency import Claim
from testops.domain.policy import Policy
from testops.domain.review import Decision, Review
from testops.domain.run_view import Created, NewRun, Page, RunFilter, RunView
from testops.domain.schedule import NewSchedule, Schedule
from testops.domain.scoring import KeptPolicy
from testops.domain.snapshot import (
    Baseline,
    BundleFilter,
    FreedBundles,
    KeptBundle,
    KeptReview,
    Mark,
    Standing,
)
from testops.domain.versions import Versions
from testops.domain.waiver import Waiver
from testops.domain.workspace import Workspace
from testops.runner.planning import Means
from testops.telemetry.clock import Clock
from testops.warroom.certificate_keys import SigningKey


class Guard(Protocol):
    """Who may come in; `testops.access.guard` is the one there is. What it refuses is noted."""

    def is_open(self, path: str) -> bool: ...
    async def let_pass(self, request: Asked) -> None:
        """Check what even an open path demands."""
        ...

    async def admit(self, request: Asked) -> Principal:
        """Who asks; `access.Refused` where nobody may know, or asks too often."""
        ...

    async def authorize(
        self,
        principal: Principal,
        permission: Permission,
        *,
        request: Asked,
        workspace: str | None = None,
    ) -> None:
        """`Refused` unless the principal may do that there."""
        ...

    async def permit(
        self, principal: Principal, request: Asked, *, run_id: str, workspace: str
    ) -> None:
        """`Refused` with 404 unless the principal may know of that run."""
        ...

    def rate_headers(self, principal: Principal) -> Mapping[str, str]: ...


class Audit(Protocol):
    """The book of what was done."""

    def append(self, entry: Entry) -> object: ...


class Runs(Protocol):
    """The runs."""

    def create(self, new: NewRun, *, again: bool = False) -> Created:
        """The run for one question; `again` begins another attempt of one that has an answer."""
        ...

    def get(self, run_id: str) -> RunView | None: ...
    def attempts(self, run_id: str) -> Sequence[Mapping[str, Any]]: ...
    def artifacts(self, run_id: str, number: int) -> Sequence[Artifact]: ...
    def list(
        self, wanted: RunFilter, *, after: tuple[int, str] | None = None, limit: int = 50
    ) -> Page: ...
    def pin(self, run_id: str, *, pinned: bool) -> bool: ...
    def request_cancel(self, run_id: str, by: str) -> RunView | None: ...


class Snapshots(Protocol):
    """The bundles that runs have left, their reviews, and what was approved."""

    def get(self, identity: str, workspaces: frozenset[str] | None) -> Sequence[KeptBundle]:
        """The bundle in each of those workspaces (None: of all) that has it."""
        ...

    def of_run(self, run_id: str) -> KeptBundle | None:
        """What the newest attempt of a run has left."""
        ...

    def list(
        self, wanted: BundleFilter, *, after: tuple[int, str] | None, limit: int
    ) -> tuple[Sequence[KeptBundle], tuple[int, str] | None]: ...
    def mark(
        self, workspace: str, identity: str, name: str, mark: Mark | None
    ) -> KeptBundle | None:
        """Write the mark `captured` or `pinned`, or take it away."""
        ...

    def baselines(
        self,
        workspaces: frozenset[str] | None,
        suite: str | None = None,
        profile: str | None = None,
    ) -> Sequence[Baseline]: ...
    def standing(self, kept: KeptBundle) -> Standing:
        """What an approval of the bundle would meet now."""
        ...

    def other_engine_baseline(self, workspace: str, key: BundleKey) -> Baseline | None:
        """The newest baseline of the suite and profile under another engine, if there is one."""
        ...

    def review(self, review_id: str) -> KeptReview | None: ...
    def reviews(
        self,
        workspaces: frozenset[str] | None,
        *,
        state: str | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> tuple[Sequence[KeptReview], tuple[int, str] | None]: ...
    def open(self, workspace: str, new: Review, cause: str | None = None) -> KeptReview: ...
    def decide(
        self, review_id: str, version: int, change: Callable[[Review], Review]
    ) -> KeptReview:
        """`Outdated` when it is not of that version any more."""
        ...

    def approve(self, kept: KeptBundle, seen: Standing, decision: Decision) -> KeptReview:
        """`Outdated` when somebody has decided something since; `IllegalMove` by the review."""
        ...


class Collector(Protocol):
    """Removes the bundles that nobody holds."""

    def collect(self, workspaces: frozenset[str] | None, *, dry_run: bool) -> FreedBundles: ...


class Contents(Protocol):
    """The bytes of artifacts, by their digest."""

    def read(self, sha256: str, *, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on; `FileNotFoundError` when it was removed."""
        ...


class Workspaces(Protocol):
    """The workspaces, and where their files are on this machine."""

    def get(self, name: str) -> Workspace | None: ...
    def all(self) -> Sequence[Workspace]: ...
    def add_archive_file(
        self, name: str, archive: Path, *, allow_commands: bool, by: str
    ) -> Workspace:
        """Make the packed project the content of the workspace; `BadInput` when it is not one."""
        ...

    def root_of(self, one: Workspace) -> Path:
        """The folder of its files; an archive is unpacked first where it was not."""
        ...


class Schedules(Protocol):
    """The schedules."""

    def all(self, workspaces: frozenset[str] | None) -> Sequence[Schedule]: ...
    def get(self, schedule_id: str) -> Schedule | None: ...
    def add(self, new: NewSchedule) -> Schedule | None:
        """None when there is one of that name in that workspace."""
        ...

    def replace(self, new: NewSchedule, *, version: int) -> Schedule | None:
        """None when it is no longer (or never was) of that version."""
        ...

    def remove(self, schedule_id: str, *, version: int | None) -> bool: ...


class Policies(Protocol):
    """The named policies; every version is kept."""

    def all(self) -> Sequence[KeptPolicy]: ...
    def get(self, name: str, version: int | None = None) -> KeptPolicy | None:
        """That version, or the newest."""
        ...

    def versions(self, name: str) -> Sequence[KeptPolicy]: ...
    def put(
        self,
        name: str,
        definition: Policy,
        digest_of: Callable[[Policy], str],
        *,
        base: int | None,
        by: str,
    ) -> KeptPolicy | None:
        """The next version; None when the newest is not `base`."""
        ...

    def remove(self, name: str, *, base: int | None, by: str) -> bool: ...


class Waivers(Protocol):
    """The waivers."""

    def all(self, workspaces: frozenset[str] | None) -> Sequence[Waiver]: ...
    def get(self, waiver_id: str) -> Waiver | None: ...
    def add(self, new: Waiver, *, workspace: str, by: str) -> Waiver: ...
    def withdraw(self, waiver_id: str, *, by: str) -> bool: ...


class Idempotency(Protocol):
    """What became of requests that named a key."""

    def claim(self, owner: str, key: str, fingerprint: str) -> Claim: ...
    def finish(self, owner: str, key: str, run_id: str) -> None: ...
    def release(self, owner: str, key: str) -> None: ...


class Leases(Protocol):
    """Who executes runs."""

    def all(self) -> Sequence[Lease]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing about serving; anybody may read `detail`, so it names no place and no secret.

    What is not `required` is told and stops nobody: without a runner, requests are still taken.
    """

    name: str
    ok: bool
    detail: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Everything behind the routes."""

    guard: Guard
    audit: Audit
    runs: Runs
    snapshots: Snapshots
    collector: Collector
    contents: Contents
    # What the runs of a workspace measured.
    history_of: Callable[[str], History]
    workspaces: Workspaces
    schedules: Schedules
    idempotency: Idempotency
    leases: Leases
    policies: Policies
    waivers: Waivers
    means: Means
    clock: Clock
    checks: Callable[[], Sequence[Check]]
    metrics: Callable[[], tuple[bytes, str]]
    version: str
    versions: Versions
    # The key that signs certificates; `BadInput` where the operator has to give one.
    signing_key: Callable[[], SigningKey]
