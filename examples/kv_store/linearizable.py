"""Decides whether clients could tell the store from one copy that does one thing at a time.

The search of Wing and Gong (1993) with remembered dead ends (Lowe, 2017), one key at a time, which
is enough: keys are independent. Each request must take effect at one moment between its call and
its answer; one without an answer may take effect later, or never.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """One request of a client, as the client saw it; moments are counted, not measured."""

    client: str
    operation: str
    key: str
    value: str
    called: int
    answered: float = math.inf
    answer: str | None = None

    def effect_on(self, state: str) -> str:
        """The value of the key after this request."""
        return {"get": state, "put": self.value, "append": state + self.value}[self.operation]


def is_linearizable(requests: Sequence[Request]) -> bool:
    """Whether some order of ``requests``, all of one key, explains every answer."""
    ordered = sorted(requests, key=lambda request: request.called)
    answered = sum(1 << n for n, one in enumerate(ordered) if one.answer is not None)
    dead_ends: set[tuple[int, str]] = set()
    waiting = [(0, "")]
    while waiting:
        done, state = waiting.pop()
        if done & answered == answered:
            return True
        if (done, state) in dead_ends:
            continue
        dead_ends.add((done, state))
        waiting += _next_steps(ordered, done, state)
    return False


def _next_steps(ordered: Sequence[Request], done: int, state: str) -> list[tuple[int, str]]:
    """What may take effect next: whatever was called before the first answer still to come."""
    left = [(n, one) for n, one in enumerate(ordered) if not done >> n & 1]
    first_answer = min(one.answered for _, one in left)
    steps = []
    for n, one in left:
        after = one.effect_on(state)
        if one.called < first_answer and one.answer in (None, after):
            steps.append((done | 1 << n, after))
    return steps
