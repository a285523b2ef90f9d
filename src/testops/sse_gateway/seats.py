"""Counts who watches what, and says no when there are too many."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from testops.access.refused import Refused
from testops.sse_gateway.ports import Limits


@dataclass(frozen=True, slots=True)
class Seat:
    """One taken place; to be given back."""

    principal: str
    runs: tuple[str, ...]


class Seats:
    """The caps: of all streams, of those of a run, and of those of a principal."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._runs: Counter[str] = Counter()
        self._principals: Counter[str] = Counter()
        self.taken = 0
        self.refused = 0

    def take(self, principal: str, runs: Sequence[str]) -> Seat:
        """A seat, or `Refused` (429) that names the cap and says when to come back."""
        limits = self._limits
        if self.taken >= limits.viewers_max:
            raise self._full("this server", limits.viewers_max)
        if self._principals[principal] >= limits.viewers_per_principal_max:
            raise self._full("you", limits.viewers_per_principal_max)
        for run_id in runs:
            if self._runs[run_id] >= limits.viewers_per_run_max:
                raise self._full(f"run {run_id}", limits.viewers_per_run_max)
        self.taken += 1
        self._principals[principal] += 1
        self._runs.update(runs)
        return Seat(principal, tuple(runs))

    def give_back(self, seat: Seat) -> None:
        self.taken -= 1
        self._principals[seat.principal] -= 1
        self._runs.subtract(seat.runs)
        # A counter keeps its zeros; names must not pile up.
        if not self._principals[seat.principal]:
            del self._principals[seat.principal]
        for run_id in seat.runs:
            if not self._runs[run_id]:
                del self._runs[run_id]

    def _full(self, who: str, most: int) -> Refused:
        self.refused += 1
        return Refused(
            429,
            "Too many streams",
            f"{who} may have {most} event streams at once; close one, or wait",
            {"Retry-After": "10"},
        )
