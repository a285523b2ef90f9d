"""Which rules a run is judged by: the defaults, its suite's own, and those of its policy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from testops.domain.gate import GateRule, Kind, Op, Severity
from testops.domain.policy import DETERMINISM, NONDETERMINISTIC, Policy
from testops.domain.stage import StageName
from testops.domain.suite import Suite

DEFAULT_RULES: tuple[GateRule, ...] = (
    GateRule(StageName.LINT, "errors", Op.EQUAL, 0),
    GateRule(StageName.UNIT, "failed", Op.EQUAL, 0),
    GateRule(StageName.UNIT, "tests", Op.AT_LEAST, 1),
    GateRule(StageName.UNIT, "outbound_attempts", Op.EQUAL, 0),
    GateRule(StageName.SIM, DETERMINISM, Op.AT_LEAST, 98),
    # Below 100 something does move; the default lets it pass, but not in silence.
    GateRule(
        StageName.SIM, DETERMINISM, Op.AT_LEAST, 100, Severity.WARN, f"sim.{DETERMINISM}.warn"
    ),
    GateRule(StageName.SIM, "kernels_failed", Op.EQUAL, 0),
    GateRule(StageName.SIM, "kernels_inconclusive", Op.EQUAL, 0, Severity.DOUBT),
    GateRule(StageName.SIM, "kernels_warned", Op.EQUAL, 0, Severity.WARN),
    GateRule(StageName.SNAPSHOT_COMPARE, "deltas", Op.EQUAL, 0),
    GateRule(StageName.SNAPSHOT_COMPARE, NONDETERMINISTIC, Op.EQUAL, 0),
    GateRule(StageName.SNAPSHOT_COMPARE, "findings", Op.EQUAL, 0, Severity.WARN),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a run; `policy` is None where only the suite and the defaults decide."""

    own: tuple[GateRule, ...] = ()
    policy: Policy | None = None

    @classmethod
    def of(cls, suite: Suite, policy: Policy | None) -> "Rules":
        return cls(tuple(gate.as_rule() for gate in suite.gates), policy)

    @property
    def of_policy(self) -> tuple[GateRule, ...]:
        return () if self.policy is None else tuple(g.as_rule() for g in self.policy.gates)

    def for_stage(self, stage: StageName) -> tuple[GateRule, ...]:
        """The policy's rules, the suite's, and the defaults for metrics that neither names.

        What a policy does not weigh decides as ever: its failure fails the run whatever the score.
        """
        return tuple(rule for rule in self._every if rule.stage is stage)

    @property
    def _every(self) -> tuple[GateRule, ...]:
        # Those of all stages are called apart together: a waiver knows a gate by its name alone.
        objectives = self.of_policy
        named = {(r.stage, r.metric) for r in (*objectives, *self.own) if r.kind is Kind.ABSOLUTE}
        kept = [r for r in DEFAULT_RULES if (r.stage, r.metric) not in named]
        others = [*self.own, *kept]
        if self.policy is not None:
            others = [replace(rule, weight=0.0, key=True) for rule in others]
        return _called_apart([*objectives, *others])

    def without_stage(
        self, asked: Iterable[StageName], in_suite: Iterable[StageName]
    ) -> Sequence[GateRule]:
        """The rules whose stage this run has not, and which therefore have no evidence.

        A run that was restricted to some stages asks less, and its suite's gates on the others have
        nothing to say; a policy decides about a release, and wants all that it names.
        """
        present, known = set(asked), set(in_suite)
        required = () if self.policy is None else self.policy.required_stages
        wanted = {StageName(word) for word in required}
        open_ones: list[GateRule] = []
        for stage in StageName:
            if stage in present:
                continue
            rules = self.for_stage(stage)
            names = {rule.name for rule in self.of_policy}
            if stage not in known:
                names |= {rule.name for rule in self.own}
            open_ones += [r for r in rules if stage in wanted or r.name in names]
        return open_ones


def _called_apart(rules: Sequence[GateRule]) -> tuple[GateRule, ...]:
    """Two gates of one name would share a waiver: the later one gets a number."""
    seen: Counter[str] = Counter()
    apart = []
    for rule in rules:
        seen[rule.name] += 1
        number = seen[rule.name]
        apart.append(rule if number == 1 else replace(rule, label=f"{rule.name}.{number}"))
    return tuple(apart)
