"""What a judgement stands on beside the report of the stage: earlier runs, waivers, the time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from testops.domain.history import History, PastRun
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver

PASSED = frozenset({Verdict.PASS, Verdict.WARN})
# What the engine executed is only like what the same minor of it executed.
_OF_THE_ENGINE = frozenset({StageName.SIM, StageName.SNAPSHOT_COMPARE})


class NoHistory:
    """`History` where there is none: of a run that is judged for itself."""

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        """None."""
        return ()

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Grounds:
    """Of which run the evidence is, and what it is held against.

    `stale` says why no evidence of this run counts, whatever it says; empty: it counts.
    """

    suite: str
    profile: str
    engine_version: str
    now: datetime
    run_id: str = ""
    history: History = field(default_factory=NoHistory)
    waivers: Sequence[Waiver] = ()
    stale: str = ""

    def passed_with(self, stage: StageName, metric: str, *, of: int) -> list[PastRun]:
        """The newest passed runs of this suite and profile that measured `metric`, at most `of`.

        A run passed when it neither failed nor was inconclusive. One whose `metric` was let through
        is no ground, or what was waived or outvoted once would be the measure of what follows.
        """
        found = self.history.runs(
            suite=self.suite, profile=self.profile, verdicts=PASSED, limit=max(4 * of, 20)
        )
        fit = [run for run in found if self._is_like(run, stage, metric)]
        return fit[:of]

    def earlier_attempts(self) -> list[PastRun]:
        """The ended attempts at this very question, whatever became of them."""
        return [*self.history.attempts(self.run_id)] if self.run_id else []

    def _is_like(self, run: PastRun, stage: StageName, metric: str) -> bool:
        if (stage, metric) in run.let_through or metric not in run.metrics.get(stage, {}):
            return False
        if stage not in _OF_THE_ENGINE:
            return True
        return _minor(run.engine_version) == _minor(self.engine_version)


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def stale(begun_at: datetime | None, now: datetime, max_age_s: float | None) -> str:
    """Why evidence that began to be measured then is too old; empty: it is not."""
    if max_age_s is None:
        return ""
    if begun_at is None:
        return "nobody knows how old the evidence is, and the policy sets a limit"
    age_s = (now - begun_at).total_seconds()
    if 0 <= age_s <= max_age_s:
        return ""
    if age_s < 0:
        return f"the evidence says that it is of the future ({begun_at.isoformat()})"
    return f"the evidence is {span(age_s)} old, and the policy allows {span(max_age_s)}"


def span(seconds: float) -> str:
    """A length of time for a person."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = round(seconds / unit, 1)
            return f"{count:g} {name}{'' if count == 1 else 's'}"
    return f"{seconds:.0f} s"
