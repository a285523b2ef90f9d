"""Draws a plan of faults from CHAOS_SEED and carries it out.

A plan is a swarm (Groce et al., "Swarm Testing", ISSTA 2012): of the kinds of fault that a kernel
allows, each run uses a random subset, because a run with every fault at once hides the bugs that
need one of them for long. All faults end before the horizon; after it the network is whole and all
hosts are up, so that liveness can be demanded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from toron.core.agenda import Agenda
from toron.core.choices import WHOLE, ChoiceSource, SeededChoices
from toron.core.clock import SECOND_NS, Clock, to_ns
from toron.world.disk.host_disk import draw_fault
from toron.world.hosts import Host
from toron.world.network import Network

_LABEL = "chaos.plan"
_MILLI = 1_000
_WINDOWS_MAX = 4
_SHORTEST_S = 0.05
_JUMP_MAX_S, _DRIFT_MAX = 60.0, 0.05
KINDS_OF_HOSTS = ("crashes", "kills", "pauses", "clock_drift", "disk", "corruption")
"""The kinds that need no second host."""
_AT_ONCE = ("resets",)

Effect = tuple[str, Callable[[], None], Callable[[], None]]
"""What a fault is called, what begins it and what ends it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from when to when, in virtual seconds, and what it does."""

    kind: str
    begin_s: float
    end_s: float
    text: str
    start: Callable[[], None]
    stop: Callable[[], None]


@dataclass(slots=True)
class _Planned:
    """What a fault was drawn from, to draw it again while it waits."""

    kind: str
    hosts: Sequence[Host]
    pairs: Sequence[tuple[Host, Host]]
    drawn_ns: int
    over_ns: int
    line: str = ""
    waits: bool = True


class FaultPlanner:
    """Draws and schedules the faults of one run.

    The plan belongs to the seeds, as the program's entropy does; a tape only says what of it takes
    place. So a fault is one deviation, and not the eight numbers that describe it.
    """

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        choices: ChoiceSource,
        seeded: SeededChoices,
        network: Network,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._choices = choices
        self._seeded = seeded
        self._network = network
        self.plan: list[str] = []
        self._planned: list[_Planned] = []
        self.over_ns = 0
        """When all planned faults are over."""

    def draw(self, kinds: Sequence[str], hosts: Sequence[Host], horizon_s: float) -> list[str]:
        """Draw a plan for ``hosts`` over the next ``horizon_s`` seconds and schedule it."""
        pairs = [(a, b) for a in hosts for b in hosts if a is not b]
        usable = [kind for kind in kinds if kind in KINDS_OF_HOSTS or pairs]
        chosen = [kind for kind in usable if self._seeded.pick(_LABEL, 2)]
        if usable and not chosen:
            chosen = [usable[self._seeded.pick(_LABEL, len(usable))]]
        drawn: list[tuple[Fault, _Planned]] = []
        now_ns = self._clock.now_ns
        over_ns = now_ns + to_ns(horizon_s)
        for kind in chosen:
            for _ in range(1 + self._seeded.pick(_LABEL, _WINDOWS_MAX)):
                planned = _Planned(kind, hosts, pairs, now_ns, over_ns)
                drawn.append((self._draw_one(planned, horizon_s), planned))
        self.over_ns = max(self.over_ns, over_ns)
        return self._carry_out(drawn)

    def redraw(self, seeded: SeededChoices) -> None:
        """Draw again what has not begun: as many faults of the same kinds, with as long to go."""
        self._seeded = seeded
        waiting = [planned for planned in self._planned if planned.waits]
        drawn: list[tuple[Fault, _Planned]] = []
        for planned in waiting:
            planned.waits = False
            self.plan.remove(planned.line)
            again = replace(planned, waits=True)
            left_s = (planned.over_ns - self._clock.now_ns) / SECOND_NS
            if left_s > 0:
                drawn.append((self._draw_one(again, left_s), again))
        self._carry_out(drawn)

    def _draw_one(self, planned: _Planned, horizon_s: float) -> Fault:
        begin_s, end_s = self._window(horizon_s)
        hosts, pairs = planned.hosts, planned.pairs
        host = hosts[self._seeded.pick(_LABEL, len(hosts))]
        pair = pairs[self._seeded.pick(_LABEL, len(pairs))] if pairs else (host, host)
        return self._fault(planned.kind, begin_s, end_s, host, pair)

    def _carry_out(self, drawn: list[tuple[Fault, _Planned]]) -> list[str]:
        """Schedule what was drawn and takes place; return its lines, in the order of time."""
        drawn = self._kept(drawn)
        drawn.sort(key=lambda one: (one[0].begin_s, one[0].end_s, one[0].text))
        for fault, planned in drawn:
            since_s = (self._clock.now_ns - planned.drawn_ns) / SECOND_NS
            begin_s, end_s = since_s + fault.begin_s, since_s + fault.end_s
            planned.line = f"{begin_s:.3f}-{end_s:.3f} s {fault.text}"
            self._schedule(fault, planned)
        self._planned = [planned for planned in self._planned if planned.waits]
        self._planned += [planned for _, planned in drawn]
        lines = [planned.line for _, planned in drawn]
        self.plan += lines
        return lines

    def _kept(self, drawn: list[tuple[Fault, _Planned]]) -> list[tuple[Fault, _Planned]]:
        """What a shrunk run still has: each fault of a plan can be left out alone, or end early."""
        counts: dict[str, int] = {}
        kept: list[tuple[Fault, _Planned]] = []
        for fault, planned in drawn:
            count = counts[fault.kind] = counts.get(fault.kind, 0) + 1
            share = self._choices.keeps(f"chaos.fault {fault.kind} {count}")
            if share == WHOLE:
                kept.append((fault, planned))
            elif share:
                length_s = (fault.end_s - fault.begin_s) * share / WHOLE
                kept.append((replace(fault, end_s=fault.begin_s + length_s), planned))
        return kept

    def _window(self, horizon_s: float) -> tuple[float, float]:
        begin_s = horizon_s * 0.8 * self._seeded.pick(_LABEL, _MILLI) / _MILLI
        longest_s = max(_SHORTEST_S, (horizon_s - begin_s) / 2)
        length_s = _SHORTEST_S + (longest_s - _SHORTEST_S) * (
            self._seeded.pick(_LABEL, _MILLI) / _MILLI
        )
        return begin_s, min(begin_s + length_s, horizon_s)

    def _schedule(self, fault: Fault, planned: _Planned) -> None:
        trace, now_ns = self._network.trace, self._clock.now_ns
        has_begun = False

        def start() -> None:
            nonlocal has_begun
            if not planned.waits:
                return  # drawn again, for another time
            planned.waits, has_begun = False, True
            trace.add("fault", fault.text)
            fault.start()

        def stop() -> None:
            if not has_begun:
                return
            trace.add("heal", fault.text)
            fault.stop()

        self._agenda.at(now_ns + to_ns(fault.begin_s), start)
        self._agenda.at(now_ns + to_ns(fault.end_s), stop)

    def _fault(
        self, kind: str, begin_s: float, end_s: float, host: Host, pair: tuple[Host, Host]
    ) -> Fault:
        share = self._seeded.pick(_LABEL, _MILLI) / _MILLI
        text, start, stop = self._effect(kind, share, end_s, host, pair)
        if kind in _AT_ONCE:
            end_s = begin_s
        return Fault(kind, begin_s, end_s, text, start, stop)

    def _effect(
        self, kind: str, share: float, end_s: float, host: Host, pair: tuple[Host, Host]
    ) -> Effect:
        a, b = pair[0].name, pair[1].name
        match kind:
            case "partitions":
                return self._partition(a, b, one_way=share < 0.25)
            case "crashes":
                return f"crash {host.name}", host.crash, _reboot(host)
            case "kills":
                return f"kill {host.name}", host.kill, _reboot(host)
            case "pauses":
                return f"pause {host.name}", host.pause, host.resume
            case "clock_drift":
                return self._clock_fault(host, share)
            case "disk" | "corruption":
                fault = draw_fault(
                    host.disk,
                    lambda bound: self._seeded.pick(_LABEL, bound),
                    corrupts=kind == "corruption",
                )
                return fault.text, fault.start, fault.stop
            case "resets":
                network = self._network
                return f"reset connections {a}={b}", lambda: network.reset_between(a, b), _nothing
            case _:
                return self._ailing_link(kind, share, end_s, a, b)

    def _ailing_link(self, kind: str, share: float, end_s: float, a: str, b: str) -> Effect:
        links = self._network.links
        if kind == "slow":
            factor = round(2 + share * 50, 1)
            return (
                f"slow {a}>{b} x{factor}",
                lambda: links.slow_down(a, b, factor),
                lambda: links.slow_down(a, b, None),
            )
        part = round(0.05 + share * 0.4, 3)
        if kind == "loss":
            until_ns = self._clock.now_ns + to_ns(end_s)
            return (
                f"lose {part:.1%} {a}>{b}",
                lambda: links.add_loss(a, b, part, until_ns),
                lambda: links.add_loss(a, b, None),
            )
        change = {"duplicates": links.duplicate, "reorders": links.reorder}[kind]
        return (
            f"{kind.removesuffix('s')} {part:.1%} of datagrams {a}>{b}",
            lambda: change(a, b, part),
            lambda: change(a, b, None),
        )

    def _clock_fault(self, host: Host, share: float) -> Effect:
        """A wall clock that is set, or both clocks running wrong; corrected when it is over."""
        clock = host.clock
        if self._seeded.pick(_LABEL, 2):
            seconds = round((share - 0.5) * 2 * _JUMP_MAX_S, 3)
            return (
                f"set the clock of {host.name} by {seconds:+g} s",
                lambda: clock.jump(seconds),
                lambda: clock.jump(-seconds),
            )
        rate = round((share - 0.5) * 2 * _DRIFT_MAX, 4)
        return (
            f"let the clock of {host.name} drift by {rate:+.2%}",
            lambda: clock.drift(rate),
            lambda: clock.drift(0),
        )

    def _partition(self, a: str, b: str, *, one_way: bool) -> Effect:
        links = self._network.links
        ways = [(a, b)] if one_way else [(a, b), (b, a)]

        def start() -> None:
            for source, target in ways:
                links.cut(source, target)

        def stop() -> None:
            for source, target in ways:
                links.mend(source, target)

        return f"partition {a}{'>' if one_way else '|'}{b}", start, stop


def _reboot(host: Host) -> Callable[[], None]:
    def reboot() -> None:
        if not host.up:
            host.restart()

    return reboot


def _nothing() -> None:
    return None
