"""What earlier runs measured: the ground of relative and statistical gates, and of trends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from testops.domain.run import RunState
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PastRun:
    """One ended attempt. `metrics` and `samples` are by stage and name of the metric.

    `finished_at` is RFC 3339 in UTC. `samples` has the single measurements behind a metric, where
    its stage kept them. `let_through` are the metrics that failed a gate, where a waiver or a score
    let the run through all the same: such a value is no ground for what comes after it.
    """

    run_id: str
    attempt: int
    suite: str
    profile: str
    state: RunState
    verdict: Verdict
    finished_at: str
    commit: str | None
    engine_version: str
    metrics: Mapping[StageName, Mapping[str, float]] = field(default_factory=dict)
    samples: Mapping[StageName, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    let_through: frozenset[tuple[StageName, str]] = frozenset()


class History(Protocol):
    """The ended attempts of one project or workspace."""

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        """The newest `limit` finished attempts of `suite`, newest first; of any profile if None."""
        ...

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        """Every ended attempt of that run, the newest first, also one that was cut short."""
        ...
