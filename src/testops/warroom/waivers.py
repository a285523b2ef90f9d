"""Applies waivers: a failing gate that a person answers for is a warning, and says who and why.

Missing evidence cannot be waived: a waiver accepts a known fault of a known size, and of what was
not measured nobody knows either. Nor can determinism, without which no other gate says much.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from testops.domain.gate import GateResult, Worse
from testops.domain.verdict import Verdict
from testops.domain.waiver import Waiver, cannot_be_waived
from testops.warroom.grounds import Grounds, span


def waive(result: GateResult, grounds: Grounds) -> GateResult:
    """`result`, as a warning where a waiver that lives covers it."""
    rule = result.rule
    mine = [w for w in grounds.waivers if w.suite == grounds.suite and w.gate == rule.name]
    if not mine or result.verdict not in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        return result
    if result.verdict is Verdict.INCONCLUSIVE:
        return _said(result, "missing evidence cannot be waived")
    if cannot_be_waived(rule.metric) or cannot_be_waived(rule.name):
        return _said(result, "determinism cannot be waived")
    for waiver in mine:
        if _refusal(waiver, result, grounds.now) is None:
            said = (
                f"{result.reason}; waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
            )
            return replace(result, verdict=Verdict.WARN, reason=said, waiver=waiver.note())
    refusals = (f"{w.shown} {_refusal(w, result, grounds.now)}" for w in mine)
    return _said(result, "; ".join(refusals))


def unused(
    waivers: Sequence[Waiver], gates: Sequence[GateResult], suite: str, now: datetime
) -> tuple[str, ...]:
    """What each waiver of `suite` that did nothing could be told, so that it goes."""
    by_name = {gate.rule.name: gate for gate in gates}
    told = []
    for waiver in waivers:
        if waiver.suite != suite:
            continue
        gate = by_name.get(waiver.gate)
        if gate is None:
            told.append(f"{waiver.shown} names no gate of this run")
        elif gate.waiver != waiver.note():
            told.append(f"{waiver.shown} {_why_idle(waiver, gate, now)}")
    return tuple(told)


def _why_idle(waiver: Waiver, gate: GateResult, now: datetime) -> str:
    if not waiver.lives(now):
        return expired(waiver, now)
    if gate.verdict is Verdict.PASS:
        return "is not needed: the gate holds"
    return _refusal(waiver, gate, now) or "did nothing"


def expired(waiver: Waiver, now: datetime) -> str:
    """How long ago it ended."""
    return f"expired {span((now - waiver.expires_at).total_seconds())} ago"


def _refusal(waiver: Waiver, result: GateResult, now: datetime) -> str | None:
    """Why `waiver` does not cover this failure; None: it does."""
    if not waiver.lives(now):
        return expired(waiver, now)
    if waiver.up_to is None:
        return None
    rule = result.rule
    if rule.statistical is not None and rule.statistical.worse is Worse.DIFFERENT:
        # Such a gate breaks either way, and one number is no limit on both sides.
        return "has a limit, and this gate has no one direction that is worse"
    if result.value is None or rule.threshold is None:
        return "has a limit, and there is no value to hold against it"
    if rule.op.margin(result.value, rule.threshold) < rule.op.margin(waiver.up_to, rule.threshold):
        return f"covers it up to {waiver.up_to:g}, and it is {result.value:g}"
    return None


def _said(result: GateResult, what: str) -> GateResult:
    return replace(result, reason=f"{result.reason}; {what}")
