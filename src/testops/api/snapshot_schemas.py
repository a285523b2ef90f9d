"""The shapes of the snapshot service on the wire."""

from typing import Annotated, Any, Literal

from pydantic import Field

from testops.api.schemas import Wire, WorkspaceName
from testops.domain.review import FIELD_LENGTH_MAX, TEXT_LENGTH_MAX
from testops.domain.shapes import Strict

Why = Annotated[
    str,
    Field(
        min_length=1,
        max_length=TEXT_LENGTH_MAX,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="The reason, for whoever reads it in a year.",
    ),
]


class CaptureAsked(Strict):
    """Keep the bundle of a run for as long as nobody lets it go."""

    run: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    why: Why


class ReasonAsked(Strict):
    """A decision; who it is of is the caller."""

    why: Why


class ApprovalAsked(ReasonAsked):
    """An approval. A bundle with executions that did not pass needs to be told so."""

    allow_failing: bool = False


class GroupNamed(Strict):
    """Deltas of one kernel, or of one field of it; what is left out is any."""

    kernel: Annotated[str, Field(max_length=100)] | None = None
    field: Annotated[str, Field(max_length=FIELD_LENGTH_MAX)] | None = None


class DecisionsAsked(ReasonAsked):
    """What is decided about which deltas; without groups about all that are pending."""

    decision: Literal["accept", "reject", "mask"]
    groups: list[GroupNamed] = Field(default_factory=list, max_length=200)


class ReplayAsked(Strict):
    """Execute what a bundle recorded again, on the build as it is now."""

    allow_other_engine: bool = Field(
        False, description="Also where the engine is of another minor than the bundle."
    )
    priority: int = Field(5, ge=0, le=9)


class CollectionAsked(Strict):
    """Which bundles go that nobody holds: of one workspace, or of all that the caller has."""

    dry_run: bool = False
    workspace: WorkspaceName | None = None


class MarkShown(Wire):
    """Who decided, why, and when."""

    who: str
    why: str
    at: str


class BundleShown(Wire):
    """A bundle: what it holds, where it comes from, and who holds it."""

    identity: str
    workspace: str
    suite: str
    profile: str
    engine_version: str
    python: str
    sim_seed: int
    chaos_seed: int
    masks_version: str
    sha256: str = Field(description="Of the packed file, which `content` gives.")
    size: int
    provenance: dict[str, Any]
    created_at: str
    captured: MarkShown | None
    pinned: MarkShown | None
    baseline: Literal["current", "former"] | None
    runs: list[str] = Field(description="The newest 20 that left it and are still kept.")


class BundleList(Wire):
    """Bundles, newest first."""

    snapshots: list[BundleShown]
    next_cursor: str | None


class GroupShown(Wire):
    """The deltas of one kind at one field of a kernel, and what was decided about them."""

    kernel: str
    field: str
    kind: str
    executions: int
    example: str
    cause: str
    state: str
    who: str | None
    why: str | None
    at: str | None


class ReviewShown(Wire):
    """What moved between a baseline and a run, and what people decided."""

    review_id: str
    workspace: str
    version: int
    created_at: str
    cause: str | None
    base: str | None
    target: str
    key: dict[str, str]
    state: str
    opened_by_run: str | None
    approvals_required: int
    groups: list[GroupShown]
    approvals: list[MarkShown]
    masks: list[dict[str, Any]] = Field(description="What each mask hid in that comparison.")
    masks_to_commit: list[dict[str, str]] = Field(
        description="Lines for the project's file of masks: a bundle names the masks it is of."
    )


class ReviewList(Wire):
    """Reviews, newest first."""

    reviews: list[ReviewShown]
    next_cursor: str | None


class BundleStanding(BundleShown):
    """A bundle, and how it stands to the baseline of its key."""

    base: str | None = Field(description="The baseline that it is reviewed against.")
    review: ReviewShown | None


class ApprovedShown(Wire):
    """A baseline that was in force."""

    number: int
    identity: str
    approvals: list[MarkShown]
    at: str
    provenance: dict[str, Any]


class BaselineShown(ApprovedShown):
    """The baseline of a key, and those before it, the newest first."""

    workspace: str
    suite: str
    profile: str
    engine_version: str
    python: str
    history: list[ApprovedShown]


class BaselineList(Wire):
    """What is in force, by workspace and key."""

    baselines: list[BaselineShown]


class CollectionShown(Wire):
    """What went, or would go."""

    identities: list[str]
    bundles: int
    bytes_freed: int
    bytes_waiting: int = Field(
        description="Of contents that are younger than an hour: the next retention removes them."
    )
    dry_run: bool


class VerificationShown(Wire):
    """Whether the content is what its identity says."""

    identity: str
    ok: bool
    sha256: str | None = Field(description="Of what is kept; null where nothing is.")
    found: str | None = Field(description="The identity of what is kept.")
    problem: str
