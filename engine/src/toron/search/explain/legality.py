"""Says of a failure whether stock asyncio could fail so.

Stalls of the process, latencies, the order of arrivals and of ready descriptors, which thread goes
on, timers of one tick: all of that is any machine's right, and a failure that needs nothing else is
``legal``. An order of task steps is legal when asyncio leaves it open, which `order` decides from
how the steps came on the loop; else stock asyncio never takes it, and the failure of that run is
``beyond``. A cancellation that the search delivers is beyond as well, also of a task that the
program does cancel: it chose another moment.

A failure is more than one run of it. When the run is beyond, others are asked: the same without
what is beyond, the harmless one, and runs of asyncio's own order with stalls. If one of them fails
from the same cause, that is the proof, and its token is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toron.search.clusters import is_same
from toron.search.explain.deviations import Deviation
from toron.search.outcome import Execution, Outcome

LEGAL, BEYOND = "legal", "beyond"
_BEYOND_KEYS = ("schedule ", "cancel ")


@dataclass(frozen=True, slots=True, eq=False)
class Legality:
    """The label of a failure."""

    text: str
    witness: Execution | None = None
    """Another run that fails so and is legal, when the one that was asked about is not."""

    @property
    def token(self) -> str | None:
        """The token of the legal run that proves it, when it is another."""
        return self.witness.outcome.token if self.witness is not None else None

    @property
    def is_legal(self) -> bool:
        """Whether stock asyncio could fail so."""
        return self.text.startswith(LEGAL)


def legality_of(deviations: Sequence[Deviation]) -> Legality:
    """The label of one run by itself."""
    broken = [deviation for deviation in deviations if not deviation.is_legal]
    if broken:
        always = "the search " if broken[0].kind == "cancellation" else "stock asyncio always runs "
        return Legality(f"{BEYOND}: {always}{broken[0].broken_promise}")
    reasons = [_REASONS[kind] for kind in dict.fromkeys(one.kind for one in deviations)]
    if not reasons:
        return Legality(f"{LEGAL}: it happens in asyncio's own order, without any deviation")
    given = " and ".join(filter(None, [", ".join(reasons[:-1]), reasons[-1]]))
    return Legality(f"{LEGAL}: stock asyncio may do so, given {given}")


_REASONS = {
    "order": "an order of steps that it leaves open",
    "timers": "an order of timers of one tick, as a pause between their settings makes it",
    "timeout": "an await that takes longer",
    "stall": "a process that stands still for a moment",
    "network": "such latencies of the network",
    "seeded": "latencies and other numbers as the seed draws them",
    "threads": "threads that go on in that order",
    "descriptors": "descriptors that become ready in that order",
    "faults": "the faults that were injected",
    "other": "what the machine may choose",
}


def same_cause(failing: Outcome, other: Outcome) -> bool:
    """Whether ``other`` fails from the cause of ``failing``."""
    assert failing.failure is not None
    return is_same(other.failure, failing.failure)


def is_order(key: str) -> bool:
    """Whether a key of a tape is one of the order of steps, or of a cancellation by the search."""
    return key.startswith(_BEYOND_KEYS)


def proven(failing: Outcome, label: Legality, tried: Iterable[Execution]) -> Legality:
    """``label``, or a legal one with the first of ``tried`` that fails alike."""
    runs = 0
    for execution in tried:
        runs += 1
        if same_cause(failing, execution.outcome):
            return Legality(
                f"{LEGAL}: a run in asyncio's own order fails alike (seed "
                f"{execution.outcome.sim_seed}); this one is {label.text}",
                execution,
            )
    return Legality(f"{label.text}; none of {runs} runs in asyncio's own order failed so")
