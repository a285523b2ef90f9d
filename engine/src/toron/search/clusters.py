"""Says what failed, in words that all failures with one cause share, and groups by them.

A *cause* is one line of text. Of an exception: its type, the innermost line of the program, its
message without what differs from run to run, and the same of what led to it. Of a deadlock: the
waits that keep it stuck, by coroutine, line and reason, and neither who waits behind them nor how
many do. Of a property: its name and where it was declared. Numbers of tasks, values, seeds and
addresses are no part of it: two seeds of one bug must be one cluster, and two bugs two.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toron.core.places import Places
from toron.core.values import strip_addresses
from toron.search.outcome import Failure, Outcome

_CHAIN_MAX = 4
_TEXT_MAX = 120
_LED_TO, _AND = " < ", " | "
_LINE = re.compile(r":\d+(?= in )")
_VARIES = (
    re.compile(r"""(?s)b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|`[^`]*`"""),
    re.compile(r"(?s)[(\[{<].*[)\]}>]"),
    re.compile(r"\b0x[0-9a-fA-F]+\b"),
    re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?=\w*\d)[0-9a-f]{12,}\b"),
    re.compile(r"[-+]?\d[\d_,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"),
)
"""What differs between runs of one bug: quoted text, values in brackets, numbers."""


@dataclass(slots=True)
class Cluster:
    """Failures with one cause: the first of them, and the seeds of all."""

    outcome: Outcome
    seeds: list[int]

    def to_json(self) -> dict[str, Any]:
        """The outcome with the ``seeds`` that fail like it."""
        return {**self.outcome.to_json(), "seeds": self.seeds}


class Clusters:
    """Grows as failures come in; the order is that of the first of each cluster."""

    def __init__(self) -> None:
        self._by_cause: dict[str, Cluster] = {}

    def add(self, outcome: Outcome, seed: int) -> None:
        """Put a failed run where it belongs."""
        assert outcome.failure is not None
        known = self._by_cause.get(outcome.failure.cause)
        if known is None:
            self._by_cause[outcome.failure.cause] = Cluster(outcome, [seed])
        else:
            known.seeds.append(seed)

    def all(self) -> list[Cluster]:
        """The clusters."""
        return list(self._by_cause.values())


def template(text: str) -> str:
    """A message without what differs from run to run."""
    text = strip_addresses(text.partition("\n")[0])
    for pattern in _VARIES:
        text = pattern.sub("#", text)
    return re.sub(r"#(?:[\s,]*#)+", "#", text)[:_TEXT_MAX].strip()


def of_error(error: BaseException, places: Places) -> str:
    """The cause of an exception: itself, and what led to it, as a traceback would print them."""
    links: list[str] = []
    next_error: BaseException | None = error
    while next_error is not None and len(links) < _CHAIN_MAX:
        # A cancellation on the way is how asyncio ends what waits: as a link it says nothing.
        if next_error is error or not isinstance(next_error, asyncio.CancelledError):
            links.append(_link(next_error, places))
        hidden = next_error.__suppress_context__
        next_error = next_error.__cause__ or (None if hidden else next_error.__context__)
    return "exception " + _LED_TO.join(links)


def _link(error: BaseException, places: Places) -> str:
    where = places.of_traceback(error.__traceback__)
    if isinstance(error, BaseExceptionGroup):
        members = sorted({_link(member, places) for member in error.exceptions})
        return f"{type(error).__name__} ({_AND.join(members)})"
    text = template(str(error))
    return f"{type(error).__name__} at {where}" + (f": {text}" if text else "")


def of_waits(kind: str, waits: Iterable[str]) -> str:
    """The cause of a run that cannot go on, by what keeps it stuck."""
    return f"{kind} {_AND.join(sorted(set(waits)))}"


def of_property(name: str, where: str) -> str:
    """The cause of a broken property."""
    return f"property {name} declared at {where}"


def of_text(kind: str, text: str, where: str) -> str:
    """The cause of what is known by a sentence and a place."""
    return f"{kind} {template(text)} at {where}"


def lasting(cause: str) -> str:
    """A cause without line numbers: it survives that the program is edited elsewhere."""
    return _LINE.sub("", cause)


def mark_of(failure: Failure | None) -> str:
    """Eight digits by which a token knows its failure again; empty for a run that does not fail."""
    if failure is None:
        return ""
    return hashlib.blake2b(lasting(failure.cause).encode(), digest_size=4).hexdigest()


def is_same(found: Failure | None, wanted: Failure) -> bool:
    """Whether a smaller run fails as the ``wanted`` one; a part of its deadlock is the deadlock."""
    if found is None or found.kind != wanted.kind:
        return False
    if found.cause == wanted.cause:
        return True
    if found.kind != "deadlock":
        return False
    prefix = "deadlock "
    mine = set(found.cause.removeprefix(prefix).split(_AND))
    return mine < set(wanted.cause.removeprefix(prefix).split(_AND))
