"""Bundles and baselines as a server keeps them; what is in a bundle belongs to `snapshots`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testops.domain.bundle_key import BundleKey
from testops.domain.review import GroupState, Review


class Outdated(Exception):
    """Somebody changed it since it was read; nothing was written."""


@dataclass(frozen=True, slots=True)
class NewBundle:
    """A bundle that a run has left, after somebody other than the stage has read it."""

    identity: str
    key: BundleKey
    sim_seed: int
    chaos_seed: int
    masks_version: str
    # Of the packed file, which is where its content is found.
    sha256: str
    size: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    # The words that ask for such a run again (`POST /v1/test-runs`), so that it can be replayed
    # when no run that left it is kept any more.
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody decided about a bundle."""

    who: str
    why: str
    at: str

    def to_json(self) -> dict[str, str]:
        return {"who": self.who, "why": self.why, "at": self.at}


@dataclass(frozen=True, slots=True)
class KeptBundle:
    """A bundle of a workspace. `baseline` is current, former, or None where it never was one."""

    workspace: str
    bundle: NewBundle
    created_ms: int
    created_at: str
    captured: Mark | None
    pinned: Mark | None
    baseline: str | None
    version: int
    # The runs that left it and are still kept, newest first; of many the newest.
    runs: Sequence[str] = ()

    @property
    def identity(self) -> str:
        return self.bundle.identity

    @property
    def url(self) -> str:
        return f"/v1/snapshots/{self.identity}?workspace={self.workspace}"

    def to_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "workspace": self.workspace,
            **self.bundle.key.to_json(),
            "sim_seed": self.bundle.sim_seed,
            "chaos_seed": self.bundle.chaos_seed,
            "masks_version": self.bundle.masks_version,
            "sha256": self.bundle.sha256,
            "size": self.bundle.size,
            "provenance": dict(self.bundle.provenance),
            "created_at": self.created_at,
            "captured": None if self.captured is None else self.captured.to_json(),
            "pinned": None if self.pinned is None else self.pinned.to_json(),
            "baseline": self.baseline,
            "runs": list(self.runs),
        }


@dataclass(frozen=True, slots=True)
class BundleFilter:
    """Which bundles a list shows; None: any."""

    suite: str | None = None
    profile: str | None = None
    engine_version: str | None = None
    python: str | None = None
    baseline: bool | None = None
    pinned: bool | None = None
    workspaces: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was approved for a key; the one with the highest number is in force."""

    workspace: str
    key: BundleKey
    number: int
    identity: str
    approvals: Sequence[Mapping[str, str]]
    at: str
    provenance: Mapping[str, Any]
    # The earlier ones, the newest first.
    history: Sequence["Baseline"] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "workspace": self.workspace,
            **self.key.to_json(),
            **self.decision(),
            "history": [one.decision() for one in self.history],
        }

    def decision(self) -> dict[str, Any]:
        """What was approved, by whom, without the key."""
        return {
            "number": self.number,
            "identity": self.identity,
            "approvals": [dict(one) for one in self.approvals],
            "at": self.at,
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """What an approval of a bundle meets: the baseline of its key, and the review against that."""

    base: str | None
    baseline_number: int
    review: "KeptReview | None"

    @property
    def tag(self) -> str:
        """Equal exactly while nobody has decided anything."""
        return f"{self.baseline_number}.{0 if self.review is None else self.review.version}"


@dataclass(frozen=True, slots=True)
class FreedBundles:
    """What a collection removed, or would remove.

    `waiting` is what the contents take that are too young to be removed; the next retention does.
    """

    identities: Sequence[str]
    bytes_freed: int
    bytes_waiting: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "identities": list(self.identities),
            "bundles": len(self.identities),
            "bytes_freed": self.bytes_freed,
            "bytes_waiting": self.bytes_waiting,
            "dry_run": self.dry_run,
        }


@dataclass(frozen=True, slots=True)
class KeptReview:
    """A review of a workspace. `version` grows with each change; `cause` is what the run said."""

    review_id: str
    workspace: str
    review: Review
    cause: str | None
    version: int
    created_ms: int
    created_at: str

    def to_json(self) -> dict[str, Any]:
        return {
            "review_id": self.review_id,
            "workspace": self.workspace,
            "version": self.version,
            "created_at": self.created_at,
            "cause": self.cause,
            **self.review.to_json(),
            "masks_to_commit": self._masks_to_commit(),
        }

    def _masks_to_commit(self) -> list[dict[str, str]]:
        """What hides the masked fields from then on.

        A bundle names the masks that it was made under: they belong to the project, not here.
        """
        return [
            {
                "files": f"kernels/{group.kernel}/*",
                "pointer": group.field,
                "reason": group.decision.why,
            }
            for group in self.review.groups
            if group.state is GroupState.MASKED and group.decision is not None
        ]
