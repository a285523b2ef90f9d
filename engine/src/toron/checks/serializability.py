"""Judges whether transactions were isolated from each other, and names what was not.

From a history of list appends or of register reads and writes the dependencies of the transactions
are found out (`list_append`, `registers`), cycles among them are anomalies (`dependencies`), and
each anomaly rules out some consistency levels. A history without an anomaly may still not be
serializable: what nobody read says nothing. What is reported did happen.

Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations" (VLDB
2020). What forbids what is from Adya's thesis (1999) and from Elle's models.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from toron.checks.cycles import Budget
from toron.checks.dependencies import Dependencies, realtime_edges, session_edges
from toron.checks.history import History, Operation
from toron.checks.list_append import observe_lists
from toron.checks.models import BadHistory
from toron.checks.registers import VersionOrder, observe_registers
from toron.checks.transactions import APPEND, WRITE, Anomaly, Observed, read_transactions

Level = Literal[
    "read-uncommitted",
    "read-committed",
    "repeatable-read",
    "snapshot-isolation",
    "serializable",
    "strong-session-serializable",
    "strict-serializable",
]
LEVELS: tuple[Level, ...] = get_args(Level)

_UNCOMMITTED = ("G0", "duplicate-elements", "cyclic-versions")
_COMMITTED = (
    *_UNCOMMITTED,
    "G1a",
    "G1b",
    "G1c",
    "garbage-read",
    "future-read",
    "dirty-update",
    "incompatible-order",
)
_SNAPSHOT = (*_COMMITTED, "internal", "lost-update", "G-single", "G-nonadjacent")
_ITEMS = (*_COMMITTED, "internal", "lost-update", "G-single", "G-nonadjacent", "G2-item")
_CYCLES = ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item")
_SESSION = (*_ITEMS, *(f"{name}-process" for name in _CYCLES))
FORBIDDEN: dict[Level, tuple[str, ...]] = {
    "read-uncommitted": _UNCOMMITTED,
    "read-committed": _COMMITTED,
    "repeatable-read": _ITEMS,
    "snapshot-isolation": _SNAPSHOT,
    "serializable": _ITEMS,
    "strong-session-serializable": _SESSION,
    "strict-serializable": (*_SESSION, *(f"{name}-realtime" for name in _CYCLES)),
}
"""Which anomalies each level forbids (for items; predicates are not looked at)."""

STEPS_MAX = 5_000_000
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Serializability:
    """The verdict on one history; true when it is a pass.

    ``anomalies`` are all that were found, also those that the level allows; ``violated`` are the
    levels that they rule out. ``unknown``: the bound was reached before anything forbidden was
    found.
    """

    verdict: Literal["pass", "fail", "unknown"]
    explanation: str
    level: Level
    anomalies: list[Anomaly] = field(default_factory=list)
    violated: list[Level] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    @property
    def anomaly_names(self) -> list[str]:
        """The names of the anomalies, each once."""
        return list(dict.fromkeys(anomaly.name for anomaly in self.anomalies))


def check_serializable(
    history: History | Iterable[Operation],
    *,
    level: Level = "serializable",
    version_order: VersionOrder = "observed",
    steps_max: int = STEPS_MAX,
) -> Serializability:
    """Judge whether ``history`` keeps what ``level`` promises.

    Transactions are of lists (``append``) or of registers (``w``), each value written once.
    ``version_order`` is for registers: that each key goes forward in the order of each client
    (``"process"``) or of time (``"realtime"``) is taken for granted, if you say so. Raises
    `BadHistory` for what is no transaction.
    """
    check_level(level)
    name = history.name if isinstance(history, History) else "history"
    observed = _observe(list(history), version_order)
    transactions = observed.transactions
    edges = [*observed.edges, *session_edges(transactions), *realtime_edges(transactions)]
    budget = Budget(steps_max)
    found = Dependencies(transactions, edges).anomalies(budget)
    anomalies = [*observed.anomalies, *found]
    names = {anomaly.name for anomaly in anomalies}
    violated = [each for each in LEVELS if not names.isdisjoint(FORBIDDEN[each])]
    if level in violated:
        text = _explanation(name, level, anomalies, violated)
        return Serializability("fail", text, level, anomalies, violated)
    if budget.is_spent:
        text = (
            f"{name} could not be judged ({level}): the search for cycles of {steps_max} steps did "
            "not end; record fewer transactions, or raise steps_max"
        )
        return Serializability("unknown", text, level, anomalies, violated)
    text = f"{name} shows nothing that {level} forbids ({len(transactions)} transactions)"
    return Serializability("pass", text, level, anomalies, violated)


def check_level(level: str) -> None:
    """BadHistory unless it is one of `LEVELS`."""
    if level not in FORBIDDEN:
        raise BadHistory(f"level {level!r} must be one of {', '.join(LEVELS)}")


def _observe(operations: list[Operation], version_order: VersionOrder) -> Observed:
    transactions = read_transactions(operations)
    kinds = {access.kind for one in transactions for access in one.accesses}
    if {APPEND, WRITE} <= kinds:
        raise BadHistory("a history appends to lists or writes registers, and not both")
    reads = [access.value for one in transactions if one.ok for access in one.accesses]
    if WRITE in kinds or (
        APPEND not in kinds and any(not isinstance(value, (tuple, type(None))) for value in reads)
    ):
        return observe_registers(transactions, version_order)
    return observe_lists(transactions)


def _explanation(name: str, level: Level, anomalies: list[Anomaly], violated: list[Level]) -> str:
    forbidden = [anomaly for anomaly in anomalies if anomaly.name in FORBIDDEN[level]]
    forbidden.sort(key=lambda anomaly: not anomaly.cycle and anomaly.name == "lost-update")
    counts: dict[str, int] = {}
    for anomaly in forbidden:
        counts[anomaly.name] = counts.get(anomaly.name, 0) + 1
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = [f"{name} is not {level}: {listed}"]
    shown = {anomaly.name: anomaly for anomaly in reversed(forbidden)}
    for anomaly in list(reversed(shown.values()))[:_SHOWN]:
        lines += [f"{anomaly.name}: " + anomaly.text.replace("\n", "\n  ")]
    lines.append(f"this rules out {', '.join(violated)}")
    return "\n".join(lines)
