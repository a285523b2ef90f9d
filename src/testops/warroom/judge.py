"""The one judge: of a run on the command line, on a runner, and of a recorded one.

It is told what a run is of and by which rules it is judged, takes the report of each stage as it
comes, and says at the end what became of the whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from testops.domain.gate import GateResult
from testops.domain.history import History
from testops.domain.stage import StageName, StageReport
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver
from testops.telemetry.clock import Clock
from testops.warroom.gates import absent, judge
from testops.warroom.grounds import Grounds, NoHistory, stale
from testops.warroom.rules import Rules
from testops.warroom.verdicts import Judgement, judgement_of
from testops.warroom.waivers import unused


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that is judged; `begun_at` is when its oldest evidence can be of.

    `stale` says why its evidence does not count at all, where somebody knows so already.
    """

    run_id: str
    suite: str
    profile: str
    engine_version: str
    begun_at: datetime | None = None
    stale: str = ""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the stages of one run by its rules."""

    rules: Rules
    subject: Subject
    clock: Clock
    history: History = field(default_factory=NoHistory)
    waivers: Sequence[Waiver] = ()

    def stage(self, report: StageReport) -> tuple[StageReport, tuple[GateResult, ...]]:
        """The report with its verdict, and what each gate of its stage said."""
        policy = self.rules.policy
        must_agree = policy is not None and policy.reruns == "refuse"
        return judge(report, self.rules.for_stage(report.name), self._grounds(), agree=must_agree)

    def absent(
        self, asked: Iterable[StageName], in_suite: Iterable[StageName]
    ) -> tuple[GateResult, ...]:
        """The gates of stages that this run has not: nobody measured anything for them."""
        known = frozenset(in_suite)
        return tuple(
            absent(
                rule,
                "the stage was not asked for" if rule.stage in known else "it has no such stage",
            )
            for rule in self.rules.without_stage(asked, known)
        )

    def run(
        self, stages: Sequence[Verdict], gates: Sequence[GateResult], *, strict: bool = False
    ) -> Judgement:
        """What became of the whole: the verdicts of the stages that were asked, and all gates."""
        policy = self.rules.policy
        bounds = None if policy is None else policy.score
        return judgement_of(stages, gates, bounds, strict=strict)

    def waivers_unused(self, gates: Sequence[GateResult]) -> tuple[str, ...]:
        """Of the suite's waivers those that did nothing, and why."""
        return unused(self.waivers, gates, self.subject.suite, self.clock.now())

    def _grounds(self) -> Grounds:
        policy, now = self.rules.policy, self.clock.now()
        max_age_s = None if policy is None else policy.max_age_s
        subject = self.subject
        return Grounds(
            suite=subject.suite,
            profile=subject.profile,
            engine_version=subject.engine_version,
            now=now,
            run_id=subject.run_id,
            history=self.history,
            waivers=self.waivers,
            stale=subject.stale or stale(subject.begun_at, now, max_age_s),
        )
