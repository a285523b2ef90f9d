"""From the gates of a run to its verdict, score and exit code.

Without a score the worst gate decides. With one, its policy's objectives give their weight when
they hold and half of it when they warn, and a key objective that fails is a failed run all the
same; what is inconclusive gives nothing and blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.gate import GateResult
from testops.domain.policy import ScoreBounds
from testops.domain.scoring import Score
from testops.domain.verdict import ExitCode, Verdict, combine_exit, exit_code_of, worst
from testops.warroom.gates import exit_code_of_gate

_ACHIEVED = {Verdict.PASS: 1.0, Verdict.WARN: 0.5, Verdict.FAIL: 0.0, Verdict.INCONCLUSIVE: 0.0}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a run as a whole."""

    verdict: Verdict
    exit_code: ExitCode
    score: Score | None = None


def judgement_of(
    stages: Sequence[Verdict],
    gates: Sequence[GateResult],
    bounds: ScoreBounds | None,
    *,
    strict: bool,
) -> Judgement:
    """The judgement over the verdicts of the `stages` that were asked and all `gates`."""
    if bounds is None:
        verdict = worst((*stages, *(gate.verdict for gate in gates)))
        codes = [exit_code_of_gate(gate, strict=strict) for gate in gates]
        return Judgement(verdict, combine_exit([exit_code_of(verdict, strict=strict), *codes]))
    score = Score(_share(gates), bounds.pass_at, bounds.warn)
    verdict = _by_score(stages, gates, score)
    decisive = [gate for gate in gates if gate.rule.key]
    codes = [exit_code_of_gate(gate, strict=strict) for gate in decisive]
    code = combine_exit([exit_code_of(verdict, strict=strict), *codes])
    return Judgement(verdict, code, score)


def _by_score(stages: Sequence[Verdict], gates: Sequence[GateResult], score: Score) -> Verdict:
    keys = [gate.verdict for gate in gates if gate.rule.key]
    if Verdict.FAIL in keys:
        return Verdict.FAIL
    every = [*stages, *(gate.verdict for gate in gates)]
    if not every or Verdict.INCONCLUSIVE in every:
        # Were all that is open achieved and it still not enough, then that is known.
        best = _share(gates, best=True)
        return Verdict.FAIL if every and best < score.warn_at else Verdict.INCONCLUSIVE
    if score.value < score.warn_at:
        return Verdict.FAIL
    is_doubtful = Verdict.WARN in keys or any(gate.waiver is not None for gate in gates)
    return Verdict.WARN if is_doubtful or score.value < score.pass_at else Verdict.PASS


def _share(gates: Sequence[GateResult], *, best: bool = False) -> float:
    """The weights that were achieved of all, in percent; `best`: if all that is open holds."""
    total = sum(gate.rule.weight for gate in gates)
    if not total:
        return 0.0
    achieved = sum(
        gate.rule.weight
        * (1.0 if best and gate.verdict is Verdict.INCONCLUSIVE else _ACHIEVED[gate.verdict])
        for gate in gates
    )
    return 100 * achieved / total


def judgement_json(
    score: Score | None, absent: Sequence[GateResult], waivers_unused: Sequence[str]
) -> dict[str, Any]:
    """What a store keeps of a run as a whole, beside the gates of its stages."""
    return {
        "score": None if score is None else score.to_json(),
        "gates": [gate.to_full_json() for gate in absent],
        "waivers_unused": list(waivers_unused),
    }
