"""The shape of gates and policies, in files and requests; judging by them belongs to `warroom`."""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from testops.domain.gate import GateRule, Op, Relative, Severity, Statistical, To, Worse
from testops.domain.shapes import Name, Number, Strict, Text
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict

GateName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,127}$")]
StageWord = Literal["lint", "unit", "sim", "snapshot-compare"]
Runs = Annotated[int, Field(ge=1, le=50)]
Percent = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
WhenNoHistory = Literal["inconclusive", "warn", "pass"]
_NO_HISTORY = "The verdict while too few passed runs are known, as in a new suite."

# What says whether a run may be trusted at all: of sim, and of snapshot-compare, which executes
# again what differs.
DETERMINISM = "determinism_percent"
NONDETERMINISTIC = "nondeterministic"
OF_DETERMINISM = frozenset({DETERMINISM, NONDETERMINISTIC})


class RelativeRule(Strict):
    """A share of what the last passed runs of this suite and profile measured."""

    to: Literal["median", "best", "last"] = "median"
    of: Runs = Field(5, description="Of so many passed runs, the newest.")
    at_most_percent: Percent | None = Field(None, description="110: at most a tenth more.")
    at_least_percent: Percent | None = Field(None, description="90: at most a tenth less.")
    min_runs: Runs | None = Field(None, description="Fewer are no history; default: 3, or `of`.")
    when_no_history: WhenNoHistory = Field("inconclusive", description=_NO_HISTORY)

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if (self.at_most_percent is None) == (self.at_least_percent is None):
            raise ValueError("give one of at_most_percent, at_least_percent")
        if self.min_runs is not None and self.min_runs > self.of:
            raise ValueError("min_runs is larger than of")
        return self

    def as_value(self) -> Relative:
        """The rule as it is applied."""
        percent = self.at_least_percent if self.at_most_percent is None else self.at_most_percent
        assert percent is not None
        of = 1 if self.to == "last" else self.of
        return Relative(
            percent=percent,
            to=To(self.to),
            of=of,
            runs_min=min(of, 3) if self.min_runs is None else min(of, self.min_runs),
            when_no_history=Verdict(self.when_no_history),
        )


class StatisticalRule(Strict):
    """The samples of this run against those of the last passed runs, by Mann-Whitney.

    Broken when the shift is significant, and larger than `max_shift_percent`, and the effect is at
    least `min_effect`.
    """

    worse: Literal["higher", "lower", "different"] = "higher"
    of: Runs = Field(5, description="Of so many passed runs, the newest.")
    min_runs: Runs = 1
    alpha: Annotated[float, Field(gt=0, le=0.2)] = Field(0.01, description="Of the test.")
    max_shift_percent: Percent = Field(5.0, description="Hodges-Lehmann, of their median.")
    min_effect: Annotated[float, Field(ge=0, lt=1)] = Field(0.33, description="Cliff's delta.")
    min_samples: Annotated[int, Field(ge=4, le=10_000)] = Field(
        20, description="On each side; fewer say nothing."
    )
    when_no_history: WhenNoHistory = Field("inconclusive", description=_NO_HISTORY)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.min_runs > self.of:
            raise ValueError("min_runs is larger than of")
        return self

    def as_value(self) -> Statistical:
        """The rule as it is applied."""
        return Statistical(
            worse=Worse(self.worse),
            of=self.of,
            runs_min=self.min_runs,
            alpha=self.alpha,
            shift_percent_max=self.max_shift_percent,
            effect_min=self.min_effect,
            samples_min=self.min_samples,
            when_no_history=Verdict(self.when_no_history),
        )


class Gate(Strict):
    """A rule over one metric: `op` and `threshold`, or `relative`, or `statistical`.

    One with a threshold replaces the default rules for the same stage and metric.
    """

    stage: StageWord
    metric: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    op: Literal[">=", ">", "<=", "<", "==", "!="] | None = None
    threshold: Number | None = None
    severity: Literal["block", "warn"] = "block"
    name: GateName | None = Field(None, description="Default: STAGE.METRIC.")
    relative: RelativeRule | None = None
    statistical: StatisticalRule | None = None

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if (self.op is None) != (self.threshold is None):
            raise ValueError("op and threshold go together")
        kinds = (self.op, self.relative, self.statistical)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give op and threshold, or relative, or statistical")
        return self

    @model_serializer(mode="wrap")
    def _as_it_was_spelled_before(self, spell: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What says its default is left out, save what every release spelled: ids must not move."""
        spelled: dict[str, Any] = spell(self)
        for name, field in type(self).model_fields.items():
            if name != "severity" and getattr(self, name) == field.default:
                del spelled[name]
        return spelled

    def as_rule(self) -> GateRule:
        """The rule as it is applied."""
        relative = None if self.relative is None else self.relative.as_value()
        statistical = None if self.statistical is None else self.statistical.as_value()
        return GateRule(
            stage=StageName(self.stage),
            metric=self.metric,
            op=self._op(),
            threshold=self.threshold,
            severity=Severity(self.severity),
            label=self.name or "",
            relative=relative,
            statistical=statistical,
        )

    def _op(self) -> Op:
        if self.op is not None:
            return Op(self.op)
        if self.relative is not None:
            return Op.AT_LEAST if self.relative.at_most_percent is None else Op.AT_MOST
        assert self.statistical is not None
        return Op.AT_LEAST if self.statistical.worse == "lower" else Op.AT_MOST


class Objective(Gate):
    """A gate of a policy."""

    weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = Field(
        1.0, description="Its part of the score; 0: none."
    )
    key: bool = Field(False, description="Its failure fails the run, whatever the score.")

    # `typing.override` is of Python 3.12.
    def as_rule(self) -> GateRule:  # type: ignore[explicit-override]
        """The rule as it is applied; one of determinism is always a key objective."""
        rule = super().as_rule()
        return replace(rule, weight=self.weight, key=self.key or self.metric in OF_DETERMINISM)


class ScoreBounds(Strict):
    """From which share of all weights on a run passes, and warns; below both it fails."""

    pass_at: Annotated[float, Field(gt=0, le=100)] = Field(90.0, alias="pass")
    warn: Annotated[float, Field(gt=0, le=100)] = 75.0

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.warn > self.pass_at:
            raise ValueError("warn is larger than pass")
        return self


class Policy(Strict):
    """A named, versioned set of gates: in a suite, in `policies/NAME.yaml`, or on a server."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: Name
    version: Annotated[int, Field(ge=1)] = Field(
        1, description="Yours to raise with each change; a server counts its own."
    )
    description: Text = ""
    gates: list[Objective] = Field(default_factory=list, max_length=200)
    score: ScoreBounds | None = Field(
        None, description="Without it every gate decides, as in a suite."
    )
    required_stages: list[StageWord] = Field(default_factory=list, max_length=7)
    max_age_s: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Evidence that is older proves nothing."
    )
    reruns: Literal["allow", "refuse"] = Field(
        "allow",
        description="refuse: a gate that an earlier attempt of the same question failed is open.",
    )

    @model_validator(mode="after")
    def _decides_something(self) -> Self:
        if not self.gates and not self.required_stages:
            raise ValueError("a policy names gates or required_stages")
        given = [gate.name for gate in self.gates if gate.name is not None]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"two gates are called {twice[0]}")
        if self.score is not None and not sum(gate.weight for gate in self.gates):
            raise ValueError("a score needs a gate with a weight")
        return self


class ServerPolicy(Strict):
    """The policy that a server keeps under this name, as it is when the run is asked for."""

    server: Name


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    is_server = isinstance(value, ServerPolicy) or (isinstance(value, dict) and "server" in value)
    return "server" if is_server else "inline"


PolicyAsked = Annotated[
    Annotated[Name, Tag("name")]
    | Annotated[ServerPolicy, Tag("server")]
    | Annotated[Policy, Tag("inline")],
    Discriminator(_kind_of),
]
