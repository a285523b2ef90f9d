"""Exit codes of the command, the same for every verb."""

from __future__ import annotations

HOLDS, FAILED, BAD_INPUT, NONDETERMINISM, INCONCLUSIVE, INTERNAL, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    70,
    130,
)
BY_VERDICT = {"pass": HOLDS, "warn": HOLDS, "fail": FAILED, "inconclusive": INCONCLUSIVE}
