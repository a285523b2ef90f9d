"""Keeps refusals in the audit log without letting them fill the disk.

The first refusal of somebody for some reason in a minute is a row at once; more of the same in that
minute are counted, and become one row with their number when the minute is over. Beyond
`KINDS_MAX` different ones in a minute all others are one row. So an attacker writes at most about
`2 * KINDS_MAX` rows a minute however many addresses there are, and a process that is killed loses
the counts of one minute, never the first sign.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from testops.access.audit import Entry
from testops.domain.access import timestamp
from testops.telemetry.clock import Clock

KINDS_MAX = 20
MINUTE_S = 60

Append = Callable[[Entry], object]


@dataclass(slots=True)
class _Kind:
    entry: Entry
    more: int = 0


class Refusals:
    """Bounded bookkeeping of what was refused; safe to use from several threads."""

    def __init__(self, append: Append, clock: Clock) -> None:
        self._append = append
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._others: _Kind | None = None

    def note(self, entry: Entry) -> None:
        """Write `entry`, or count it; writes what the last minute counted first."""
        self.write(self.due(entry))

    def write(self, rows: Sequence[Entry]) -> None:
        """Append what is due; blocks."""
        for row in rows:
            self._append(row)

    def flush(self) -> None:
        """Write what has been counted, as at the end of the process."""
        with self._lock:
            due = self._summaries()
            self._minute = -1
        self.write(due)

    def due(self, entry: Entry) -> list[Entry]:
        """The rows that `entry` makes due: mostly none, for it is only counted. Does not block."""
        minute = int(self._clock.elapsed_s() // MINUTE_S)
        with self._lock:
            due = [] if minute == self._minute else self._summaries()
            self._minute = minute
            return due + self._new(entry)

    def _new(self, entry: Entry) -> list[Entry]:
        key = (entry.actor_kind, entry.actor_id, entry.client, entry.action, entry.workspace)
        known = self._kinds.get(key)
        if known is not None:
            known.more += 1
            return []
        if len(self._kinds) < KINDS_MAX:
            self._kinds[key] = _Kind(entry)
            return [entry]
        if self._others is not None:
            self._others.more += 1
            return []
        self._others = _Kind(
            replace(entry, actor_kind="several", actor_id="", actor_name="", client="", detail={})
        )
        return [self._others.entry]

    def _summaries(self) -> list[Entry]:
        at = timestamp(self._clock.now())
        kinds = [*self._kinds.values(), *([self._others] if self._others else [])]
        self._kinds = {}
        self._others = None
        return [
            replace(kind.entry, at=at, detail={**kind.entry.detail, "more": kind.more})
            for kind in kinds
            if kind.more
        ]
