"""Judges a metric by what earlier passed runs measured: a share of it, or their samples.

A run is ground when it passed (or warned), is of the same suite and profile, and, for what the
engine executes, of the same minor version of it. Too little of it is what the rule says it is:
`inconclusive` unless its author wrote otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from testops.domain.gate import GateResult, GateRule, Op, Relative, Statistical, To, Worse
from testops.domain.history import PastRun
from testops.domain.stage import Metric
from testops.domain.verdict import Verdict
from testops.warroom.grounds import Grounds
from testops.warroom.statistics import Compared, compare, median, smallest_chance


def held_against_history(
    rule: GateRule, metric: Metric, grounds: Grounds, *, broken: Verdict
) -> GateResult:
    """What a relative or statistical `rule` says; `broken` is the verdict when it does not hold."""
    if rule.relative is not None:
        return _relative(rule, rule.relative, metric, grounds, broken)
    assert rule.statistical is not None
    return _statistical(rule, rule.statistical, metric, grounds, broken)


def _relative(
    rule: GateRule, how: Relative, metric: Metric, grounds: Grounds, broken: Verdict
) -> GateResult:
    past = [
        run
        for run in grounds.passed_with(rule.stage, rule.metric, of=how.of)
        if math.isfinite(run.metrics[rule.stage][rule.metric])
    ]
    if len(past) < how.runs_min:
        return _too_few(rule, metric, past, how.runs_min, how.when_no_history, grounds)
    values = [run.metrics[rule.stage][rule.metric] for run in past]
    ground = _ground(values, how.to, rule.op)
    # Of a negative ground, too, 110 % is a tenth more.
    threshold = ground + abs(ground) * (how.percent - 100) / 100
    holds, margin = rule.op.holds(metric.value, threshold), rule.op.margin(metric.value, threshold)
    by = f"{'holds' if holds else 'off'} by {abs(margin):g}{metric.unit}"
    reason = (
        f"{metric.name} is {metric.value:g}{metric.unit},"
        f" wanted {rule.op.value} {threshold:g}{metric.unit}, {by} ({metric.source});"
        f" that is {how.percent:g} % of the {_called(how.to)} {ground:g}{metric.unit}"
        f" of {_listed(past)}"
    )
    return GateResult(
        replace(rule, threshold=threshold),
        Verdict.PASS if holds else broken,
        metric.value,
        reason,
        unit=metric.unit,
        margin=margin,
        source=metric.source,
        baseline_runs=_ids(past),
    )


def _ground(values: Sequence[float], to: To, op: Op) -> float:
    match to:
        case To.LAST:
            return values[0]
        case To.BEST:
            return min(values) if op in (Op.AT_MOST, Op.BELOW) else max(values)
        case To.MEDIAN:
            return median(values)


def _called(to: To) -> str:
    return "last value" if to is To.LAST else f"{to.value}"


def _statistical(
    rule: GateRule, how: Statistical, metric: Metric, grounds: Grounds, broken: Verdict
) -> GateResult:
    doubt = _doubt_about(metric.samples, how)
    if doubt:
        reason = f"{metric.name}: {doubt} in this run ({metric.source})"
        return _undecided(rule, metric, Verdict.INCONCLUSIVE, reason)
    past = [
        run
        for run in grounds.passed_with(rule.stage, rule.metric, of=how.of)
        if _samples(run, rule)
    ]
    pooled = [value for run in past for value in _samples(run, rule)]
    if len(past) < how.runs_min:
        return _too_few(rule, metric, past, how.runs_min, how.when_no_history, grounds)
    doubt = _doubt_about(pooled, how)
    if doubt:
        reason = f"{metric.name}: {doubt} in {_listed(past)} ({metric.source})"
        return _undecided(rule, metric, how.when_no_history, reason)
    if smallest_chance(len(metric.samples), len(pooled), how.worse) >= how.alpha:
        reason = f"{metric.name}: so few samples can never be significant at {how.alpha:g}"
        return _undecided(rule, metric, Verdict.INCONCLUSIVE, f"{reason} ({metric.source})")
    return _compared(rule, how, metric, past, pooled, broken)


def _samples(run: PastRun, rule: GateRule) -> Sequence[float]:
    return run.samples.get(rule.stage, {}).get(rule.metric, ())


def _doubt_about(samples: Sequence[float], how: Statistical) -> str:
    if not all(map(math.isfinite, samples)):
        return "a sample is no number"
    if len(samples) < how.samples_min:
        return f"{len(samples)} of the {how.samples_min} samples that it takes"
    return ""


def _compared(
    rule: GateRule,
    how: Statistical,
    metric: Metric,
    past: Sequence[PastRun],
    pooled: Sequence[float],
    broken: Verdict,
) -> GateResult:
    found = compare(metric.samples, pooled, how.worse)
    ground, value = median(pooled), median(metric.samples)
    allowed = abs(ground) * how.shift_percent_max / 100
    worse_by, effect = _toward(found.shift, how.worse), _toward(found.cliffs_delta, how.worse)
    holds = found.p >= how.alpha or worse_by <= allowed or effect < how.effect_min
    # Where nothing is proved the margin is still how far the shift is from what is allowed.
    margin, percent = allowed - worse_by, _percent(found.shift, ground)
    threshold = ground - allowed if how.worse is Worse.LOWER else ground + allowed
    return GateResult(
        replace(rule, threshold=threshold),
        Verdict.PASS if holds else broken,
        value,
        _told(rule, how, metric, found, (value, ground, margin, percent), past, holds=holds),
        unit=metric.unit,
        margin=margin,
        source=metric.source,
        baseline_runs=_ids(past),
        statistics={
            **found.to_json(),
            "shift_percent": percent,
            "alpha": how.alpha,
            "shift_percent_max": how.shift_percent_max,
            "effect_min": how.effect_min,
            "worse": how.worse.value,
        },
    )


def _told(
    rule: GateRule,
    how: Statistical,
    metric: Metric,
    found: Compared,
    numbers: tuple[float, float, float, float | None],
    past: Sequence[PastRun],
    *,
    holds: bool,
) -> str:
    value, ground, margin, percent = numbers
    unit, shown = metric.unit, "" if percent is None else f" ({percent:+.3g} %)"
    why = "" if not holds or found.p < how.alpha else ", which may be chance"
    return (
        f"{rule.metric}: median {value:g}{unit} of {found.newer} samples against {ground:g}{unit}"
        f" of {found.older}, shift {found.shift:+g}{unit}{shown}, allowed"
        f" {how.shift_percent_max:g} %, {'holds' if holds else 'off'} by {abs(margin):g}{unit};"
        f" p {found.p:.3g} (alpha {how.alpha:g}{why}), Cliff's delta {found.cliffs_delta:+.2f}"
        f" (from {how.effect_min:g} on) ({metric.source}); {_listed(past)}"
    )


def _toward(change: float, worse: Worse) -> float:
    match worse:
        case Worse.HIGHER:
            return change
        case Worse.LOWER:
            return -change
        case Worse.DIFFERENT:
            return abs(change)


def _percent(shift: float, ground: float) -> float | None:
    return 100 * shift / abs(ground) if ground else None


def _too_few(
    rule: GateRule,
    metric: Metric,
    past: Sequence[PastRun],
    wanted: int,
    verdict: Verdict,
    grounds: Grounds,
) -> GateResult:
    reason = (
        f"{metric.name} is {metric.value:g}{metric.unit} ({metric.source}), wanted"
        f" {rule.condition}; there are {len(past)} of the {wanted} passed runs of suite"
        f" {grounds.suite}, profile {grounds.profile}, that it takes: {verdict.value}"
        " (when_no_history)"
    )
    return replace(_undecided(rule, metric, verdict, reason), baseline_runs=_ids(past))


def _undecided(rule: GateRule, metric: Metric, verdict: Verdict, reason: str) -> GateResult:
    return GateResult(rule, verdict, metric.value, reason, unit=metric.unit, source=metric.source)


def _ids(past: Sequence[PastRun]) -> tuple[str, ...]:
    return tuple(run.run_id for run in past)


def _listed(past: Sequence[PastRun]) -> str:
    count = f"{len(past)} passed run{'' if len(past) == 1 else 's'}"
    return f"{count}: {', '.join(f'{run.run_id[:8]}/{run.attempt}' for run in past)}"
