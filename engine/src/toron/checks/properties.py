"""Properties of a run: always, eventually, sometimes, reachable, unreachable, and of histories.

Safety (`always`, `unreachable`) ends the run at the step that breaks it. Liveness (`eventually`)
ends it at its deadline. `sometimes` and `reachable` are about many runs: in one run they only count
whether they came true, and an exploration that never saw them says so. Histories (`linearizable`,
`serializable`) are judged when the run has ended; one that cannot be judged is no pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from toron.checks.history import History
from toron.checks.leaks import Leaks
from toron.checks.linearizability import STEPS_MAX as ORDER_STEPS_MAX
from toron.checks.linearizability import Linearizability, check_linearizable, check_model
from toron.checks.models import Model
from toron.checks.serializability import STEPS_MAX as CYCLE_STEPS_MAX
from toron.checks.serializability import Level, Serializability, check_level, check_serializable
from toron.core.agenda import Agenda
from toron.core.clock import SECOND_NS, Clock, to_ns
from toron.core.trace import Trace
from toron.errors import LimitReached, PropertyFailed

Kind = Literal[
    "always",
    "eventually",
    "sometimes",
    "reachable",
    "unreachable",
    "linearizable",
    "serializable",
]
Condition = Callable[[], object] | bool
Judged = Linearizability | Serializability


@dataclass(slots=True)
class Property:
    """One declared property and how often it held."""

    kind: Kind
    where: str
    """Where it was first declared."""
    held: int = 0
    broke: int = 0

    def to_json(self) -> dict[str, Any]:
        """Counts, and whether the property was never put to the test."""
        return {
            "kind": self.kind,
            "pass": self.held,
            "fail": self.broke,
            "never_reached": self.held == 0 and self.broke == 0,
        }


class Ledger:
    """All properties of one run, in the order in which they were declared."""

    def __init__(self, clock: Clock, agenda: Agenda, trace: Trace) -> None:
        self._clock = clock
        self._agenda = agenda
        self._trace = trace
        self.properties: dict[str, Property] = {}
        self.leaks = Leaks(clock)
        self._histories: dict[str, History] = {}
        self._judges: dict[str, tuple[Property, History, Callable[[], Judged]]] = {}
        self._always: list[tuple[str, Property, Callable[[], object]]] = []
        self._awaited: dict[str, tuple[Property, Callable[[], object], float, int]] = {}

    def _get(self, name: str, kind: Kind) -> Property:
        known = self.properties.get(name)
        if known is None:
            known = self.properties[name] = Property(kind, self._trace.here())
        if known.kind != kind:
            raise ValueError(f"property {name!r} is declared as {known.kind} and as {kind}")
        return known

    def always(self, name: str, condition: Condition) -> None:
        """``condition`` must hold: a callable after every step from now on, a value right now."""
        declared = self._get(name, "always")
        if callable(condition):
            self._always.append((name, declared, condition))
            return
        self._judge(name, declared, bool(condition), "does not hold")

    def unreachable(self, name: str) -> None:
        """The program must never get here."""
        self._judge(name, self._get(name, "unreachable"), False, "was reached")

    def eventually(self, name: str, condition: Callable[[], object], within_s: float) -> None:
        """``condition`` must come true within so many virtual seconds from now."""
        declared = self._get(name, "eventually")
        deadline_ns = self._clock.now_ns + to_ns(within_s)
        self._awaited[name] = (declared, condition, within_s, deadline_ns)
        self._agenda.at(deadline_ns + 1, lambda: self._expire(name, deadline_ns), wakes=False)

    def sometimes(self, name: str, condition: Condition) -> None:
        """``condition`` should come true in some run."""
        declared = self._get(name, "sometimes")
        if condition() if callable(condition) else condition:
            declared.held += 1
            if declared.held == 1:
                self._trace.add("sometimes", name)

    def reachable(self, name: str) -> None:
        """Some run should get here."""
        declared = self._get(name, "reachable")
        declared.held += 1

    def after_step(self) -> None:
        """Evaluate what must hold at every step; raises PropertyFailed."""
        for name, declared, condition in self._always:
            self._judge(name, declared, _holds(name, declared, condition), "does not hold")
        if self._awaited:
            self._look()

    def _look(self) -> None:
        for name, (declared, condition, _, _) in list(self._awaited.items()):
            if _holds(name, declared, condition):
                declared.held += 1
                del self._awaited[name]
                self._trace.add("eventually", name)

    def _expire(self, name: str, deadline_ns: int) -> None:
        waiting = self._awaited.get(name)
        if waiting is None or waiting[3] != deadline_ns:
            return
        self._look()
        if name in self._awaited:
            declared, _, within_s, _ = self._awaited.pop(name)
            self._judge(name, declared, False, f"did not come true within {within_s:g} s")

    def at_end(self) -> None:
        """The kernel has ended: what should eventually have held must hold now."""
        self._look()
        for name, (declared, _, _, deadline_ns) in list(self._awaited.items()):
            left_s = (deadline_ns - self._clock.now_ns) / SECOND_NS
            reason = f"had not come true when the kernel ended, {left_s:g} s before its deadline"
            self._judge(name, declared, False, reason)

    def history(self, name: str) -> History:
        """The history called ``name``, made on first use."""
        known = self._histories.get(name)
        if known is None:
            known = self._histories[name] = History(
                name, now_ns=lambda: self._clock.now_ns, note=self._trace.add
            )
        return known

    def linearizable(
        self, name: str, history: History, model: Model, steps_max: int | None
    ) -> None:
        """``history`` must be linearizable by ``model`` when the run has ended."""
        check_model(model)
        self._judges[name] = (
            self._declare_once(name, "linearizable"),
            history,
            lambda: check_linearizable(history, model, steps_max=steps_max or ORDER_STEPS_MAX),
        )

    def serializable(
        self, name: str, history: History, level: Level, steps_max: int | None
    ) -> None:
        """``history`` must keep what ``level`` promises when the run has ended."""
        check_level(level)
        self._judges[name] = (
            self._declare_once(name, "serializable"),
            history,
            lambda: check_serializable(
                history, level=level, steps_max=steps_max or CYCLE_STEPS_MAX
            ),
        )

    def _declare_once(self, name: str, kind: Kind) -> Property:
        if name in self._judges:
            raise ValueError(f"property {name!r} is declared twice; give each history its own name")
        return self._get(name, kind)

    def judge_histories(self) -> None:
        """Nothing is recorded any more: what was must be right.

        Raises PropertyFailed for the first that is wrong; when none is, LimitReached for the first
        that could not be judged. An empty history says nothing and counts as never reached.
        """
        unclear: str | None = None
        for name, (declared, history, judge) in self._judges.items():
            if not len(history):
                continue
            judged = judge()
            if judged.verdict == "unknown":
                unclear = unclear or f"{declared.kind} {name!r}: {judged.explanation}"
            else:
                self._judge(name, declared, bool(judged), f"does not hold: {judged.explanation}")
        if unclear is not None:
            raise LimitReached(unclear)

    def forbid_leaks(self) -> None:
        """What the kernel leaves behind is a failure from now on."""
        self.leaks.watch()

    def _judge(self, name: str, declared: Property, holds: bool, reason: str) -> None:
        if holds:
            declared.held += 1
            return
        declared.broke += 1
        self._trace.add("broken", f"{declared.kind} {name}")
        raise PropertyFailed(name, f"{declared.kind} {name!r} {reason}", declared.where)

    def to_json(self) -> dict[str, Any]:
        """All properties by name."""
        return {name: declared.to_json() for name, declared in self.properties.items()}


def _holds(name: str, declared: Property, condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except Exception as error:
        declared.broke += 1
        raise PropertyFailed(
            name, f"{declared.kind} {name!r} could not be evaluated: {error!r}", declared.where
        ) from error
