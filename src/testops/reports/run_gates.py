"""The gates of a run as a page shows them: what decides first, each with how far it is away."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.reports.page_text import number, one_line

# What decides comes first; a waived failure after everything that still counts.
_ORDER = {"fail": 0, "inconclusive": 1, "warn": 2, "pass": 3}
OPS = {">=": "≥", ">": ">", "<=": "≤", "<": "<", "==": "=", "!=": "≠"}
_MINUS = "\N{MINUS SIGN}"
_KINDS = {"relative": "relative", "statistical": "statistical"}


@dataclass(frozen=True, slots=True)
class MetricFact:
    """What one stage measured under one name; the source is empty where nobody kept it."""

    name: str
    value: float | None
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate, spelled. `part` is the margin as a part of the threshold, None without a margin."""

    verdict: str
    name: str
    stage: str
    condition: str
    value: str
    margin: str
    part: float | None
    source: str
    reason: str
    tags: Sequence[str]
    key: bool
    waiver: str


Facts = Mapping[tuple[str, str], MetricFact]


def facts_of(stages: Iterable[Mapping[str, Any]]) -> Facts:
    """Every metric of `stages`, by stage and name; with unit and source where these were kept."""
    found: dict[tuple[str, str], MetricFact] = {}
    for stage in stages:
        name = str(stage.get("name", ""))
        for metric, value in (stage.get("metrics") or {}).items():
            found[name, metric] = MetricFact(metric, _finite(value), guessed_unit(metric), "")
        for kept in (stage.get("exact") or {}).get("metrics", ()):
            metric, value, source, unit = kept[:4]
            fact = MetricFact(metric, _finite(value), unit or guessed_unit(metric), source)
            found[name, metric] = fact
    return found


def guessed_unit(metric: str) -> str:
    """The unit that a metric's name says, for records that keep none."""
    endings = (
        ("_percent", "%"),
        ("_per_s", "1/s"),
        ("_ms", "ms"),
        ("_s", "s"),
        ("_bytes", "bytes"),
    )
    return next((unit for ending, unit in endings if metric.endswith(ending)), "")


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def gate_rows(gates: Iterable[Mapping[str, Any]], facts: Facts) -> list[GateRow]:
    """The rows, what decides first; gates of one weight stay in the order of the policy."""
    ordered = sorted(
        gates, key=lambda gate: (bool(gate.get("waiver")), _ORDER.get(str(gate.get("verdict")), 0))
    )
    return [_row(gate, facts) for gate in ordered]


def _row(gate: Mapping[str, Any], facts: Facts) -> GateRow:
    stage, metric = str(gate.get("stage", "")), str(gate.get("metric", ""))
    fact = facts.get((stage, metric))
    unit = str(gate.get("unit") or (fact.unit if fact else guessed_unit(metric)))
    margin = margin_of(gate)
    # Bounded before anything is looked for in them: somebody's megabyte is in no hurry.
    reason = one_line(gate.get("reason", ""))
    source = one_line(gate.get("source") or (fact.source if fact else ""))
    # A reason that names its source is not shown where the gate holds.
    source = "" if source in reason and gate.get("verdict") != "pass" else source
    return GateRow(
        verdict=str(gate.get("verdict", "inconclusive")),
        name=_name(gate, stage, metric),
        stage=stage,
        condition=_condition(gate, unit),
        value="not measured" if gate.get("value") is None else number(gate["value"], unit),
        margin="" if margin is None else _margin_text(margin, unit),
        part=None if margin is None else _part(margin, gate),
        source=source,
        reason=reason,
        tags=_tags(gate),
        key=bool(gate.get("key")),
        waiver=_waiver(gate.get("waiver")),
    )


def _name(gate: Mapping[str, Any], stage: str, metric: str) -> str:
    usual = f"{stage}.{metric}"
    name = str(gate.get("name") or usual)
    return f"{stage} · {metric}" if name == usual else name


def _condition(gate: Mapping[str, Any], unit: str) -> str:
    op = str(gate.get("op", ""))
    return f"{OPS.get(op, op)} {number(gate.get('threshold'), unit)}".strip()


def margin_of(gate: Mapping[str, Any]) -> float | None:
    """How far the value is from the threshold, positive when it holds; None when not measured."""
    if _finite(gate.get("margin")) is not None:
        return float(gate["margin"])
    value, threshold = _finite(gate.get("value")), _finite(gate.get("threshold"))
    if value is None or threshold is None:
        return None
    distance = value - threshold
    match gate.get("op"):
        case ">=" | ">":
            return distance
        case "<=" | "<":
            return -distance
        case "==":
            return -abs(distance)
        case "!=":
            return abs(distance)
        case _:
            return None


def _margin_text(margin: float, unit: str) -> str:
    if margin == 0:
        return "none"
    return f"{'+' if margin > 0 else _MINUS}{number(abs(margin), unit)}"


def _part(margin: float, gate: Mapping[str, Any]) -> float:
    threshold = _finite(gate.get("threshold")) or 0.0
    whole = abs(threshold) or abs(_finite(gate.get("value")) or 0.0) or 1.0
    return max(-1.0, min(1.0, margin / whole))


def _tags(gate: Mapping[str, Any]) -> Sequence[str]:
    tags = []
    if gate.get("severity") == "warn":
        tags.append("warns only")
    kind = _KINDS.get(str(gate.get("kind", "")))
    if kind is not None:
        runs = len(gate.get("baseline_runs") or ())
        tags.append(f"{kind} to {runs} {'run' if runs == 1 else 'runs'}")
    weight = _finite(gate.get("weight"))
    if weight is not None and weight != 1:
        tags.append(f"weight {number(weight)}")
    return tags


def _waiver(waiver: Mapping[str, Any] | None) -> str:
    if not waiver:
        return ""
    ticket = f", {one_line(waiver['ticket'], 80)}" if waiver.get("ticket") else ""
    return (
        f"Waived by {one_line(waiver.get('owner', 'nobody'), 80)} until "
        f"{one_line(waiver.get('expires', 'an unknown day'), 40)}{ticket}: "
        f"{one_line(waiver.get('reason', ''), 300)}"
    )
