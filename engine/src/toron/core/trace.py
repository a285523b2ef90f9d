"""What happened, in order, hashed as it happens.

Every event is one line of text: virtual time, host, kind, detail. The digest is BLAKE2b-256 over
all lines, so two runs with one digest had the same steps, the same bytes on the wire, the same
results, draws, exceptions and recorded outputs. Levels change what is *kept*, never what is hashed:
``digest`` keeps the last lines only, ``events`` keeps every line with its place in the program, and
``full`` keeps notes of the program's own lines between them (see `lines`). Which event led to
another, and on which host, is kept beside the text for those who look at a run, and never hashed.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Literal

from toron.core.clock import Clock
from toron.core.places import Places

Level = Literal["digest", "events", "full"]

TAIL_EVENTS = 40
FULL_EVENTS_MAX = 500_000
_FLUSH_LINES = 512

Turn = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trace and its place; a note of a program line has number 0."""

    number: int
    text: str
    where: str
    cause: int = 0
    """The number of the event that led to it, where that is known."""
    on: str = ""
    """The host on which it takes effect, where the text has only who acts (``net``)."""
    note: str = ""
    """What the text does not say: how a task ended, the name that the program gave it."""
    turn: Turn | None = None
    """For what a schedule ordered: its place, among how many, and asyncio's own place for it."""

    def to_json(self) -> list[object]:
        """The fields in their order; `dataclasses.astuple` would copy each of them."""
        return [self.number, self.text, self.where, self.cause, self.on, self.note, self.turn]


class Trace:
    """The growing record of one run."""

    def __init__(self, clock: Clock, level: Level, place: Places) -> None:
        self._clock = clock
        self._place = place
        self._digest = hashlib.blake2b(digest_size=32)
        self._pending: list[str] = []
        self._keeps = level != "digest"
        self.level: Level = level
        self.count = 0
        self.tail: deque[str] = deque(maxlen=TAIL_EVENTS)
        self.events: list[Event] = []
        self.host = "main"
        """The host that acts now; set by the loop before each step."""
        self.next_cause = 0
        """What led to the next event, unless it says so itself (see `causes`); never hashed."""
        self.next_note = ""
        self.next_turn: Turn | None = None

    def place_of(self, stack: Sequence[FrameType]) -> str:
        """The place of the program in ``stack``, given innermost first."""
        return self._place.of_stack(stack)

    def add(
        self,
        kind: str,
        detail: str,
        where: str = "",
        *,
        cause: int = 0,
        on: str = "",
        note: str = "",
    ) -> None:
        """Record one event; ``where`` is where the program stands, else the caller's place.

        ``cause``, ``on`` and ``note`` are kept beside the text (see `Event`), and not hashed.
        """
        line = f"{self._clock.now_ns} {self.host} {kind} {detail}\n"
        self.count += 1
        self._pending.append(line)
        if len(self._pending) >= _FLUSH_LINES:
            self._flush()
        if self._keeps and not self.is_full():
            place = self._place
            where = where or place.of_frame(sys._getframe(1))
            cause, note = cause or self.next_cause, note or self.next_note
            event = Event(self.count, line[:-1], where, cause, on, note, self.next_turn)
            self.events.append(event)
            self.forget_next()

    def add_bytes(self, kind: str, detail: str, payload: bytes) -> None:
        """Record bytes that crossed a boundary: their number and their own digest."""
        fingerprint = hashlib.blake2b(payload, digest_size=12).hexdigest()
        self.add(kind, f"{detail} {len(payload)} {fingerprint}")

    def here(self) -> str:
        """The place of the program that is calling."""
        return self._place.of_frame(sys._getframe(1))

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self._clock.now_ns

    def forget_next(self) -> None:
        """What was said of the next event is not true of any other."""
        self.next_cause, self.next_note, self.next_turn = 0, "", None

    def last_of(self, kinds: Container[str]) -> int:
        """The number of the last event, if it has just happened and is of ``kinds``; else 0."""
        if not self.events or self.events[-1].number != self.count:
            return 0  # a note of a line, or no more are kept
        at_ns, _, kind, _ = self.events[-1].text.split(" ", 3)
        return self.count if kind in kinds and at_ns == str(self._clock.now_ns) else 0

    def is_full(self) -> bool:
        """Whether no more events are kept."""
        return len(self.events) >= FULL_EVENTS_MAX

    def note_line(self, text: str, frame: FrameType, line: int) -> None:
        """Keep, but do not hash, what one line of the program did."""
        if not self.is_full():
            self.events.append(Event(0, text, self._place.of_line(frame, line)))

    def _flush(self) -> None:
        self.tail.extend(self._pending[-TAIL_EVENTS:])
        self._digest.update("".join(self._pending).encode("utf-8", "surrogatepass"))
        self._pending.clear()

    def hexdigest(self) -> str:
        """The digest so far, 64 hexadecimal digits."""
        self._flush()
        return self._digest.hexdigest()

    def last_lines(self) -> list[str]:
        """The last events, oldest first."""
        self._flush()
        return [line.rstrip("\n") for line in self.tail]
