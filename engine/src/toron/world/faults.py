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
from toron.core.clock import Clock, to_ns
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
        self.over_ns = 0
        """When all planned faults are over."""

    def draw(self, kinds: Sequence[str], hosts: Sequence[Host], horizon_s: float) -> list[str]:
        """Draw a plan for ``hosts`` over the next ``horizon_s`` seconds and schedule it."""
        pairs = [(a, b) for a in hosts for b in hosts if a is not b]
        usable = [kind for kind in kinds if kind in KINDS_OF_HOSTS or pairs]
        chosen = [kind for kind in usable if self._seeded.pick(_LABEL, 2)]
        if usable and not chosen:
            chosen = [usable[self._seeded.pick(_LABEL, len(usable))]]
        faults: list[Fault] = []
        for kind in chosen:
            for _ in range(1 + self._seeded.pick(_LABEL, _WINDOWS_MAX)):
                begin_s, end_s = self._window(horizon_s)
                host = hosts[self._seeded.pick(_LABEL, len(hosts))]
                pair = pairs[self._seeded.pick(_LABEL, len(pairs))] if pairs else (host, host)
                faults.append(self._fault(kind, begin_s, end_s, host, pair))
        faults = self._kept(faults)
        faults.sort(key=lambda fault: (fault.begin_s, fault.end_s, fault.text))
        for fault in faults:
            self._schedule(fault)
        self.over_ns = max(self.over_ns, self._clock.now_ns + to_ns(horizon_s))
        lines = [f"{fault.begin_s:.3f}-{fault.end_s:.3f} s {fault.text}" for fault in faults]
        self.plan += lines
        return lines

    def _kept(self, faults: list[Fault]) -> list[Fault]:
        """What a shrunk run still has: each fault of a plan can be left out alone, or end early."""
        counts: dict[str, int] = {}
        kept: list[Fault] = []
        for fault in faults:
            count = counts[fault.kind] = counts.get(fault.kind, 0) + 1
            share = self._choices.keeps(f"chaos.fault {fault.kind} {count}")
            if share == WHOLE:
                kept.append(fault)
            elif share:
                length_s = (fault.end_s - fault.begin_s) * share / WHOLE
                kept.append(replace(fault, end_s=fault.begin_s + length_s))
        return kept

    def _window(self, horizon_s: float) -> tuple[float, float]:
        begin_s = horizon_s * 0.8 * self._seeded.pick(_LABEL, _MILLI) / _MILLI
        longest_s = max(_SHORTEST_S, (horizon_s - begin_s) / 2)
        length_s = _SHORTEST_S + (longest_s - _SHORTEST_S) * (
            self._seeded.pick(_LABEL, _MILLI) / _MILLI
        )
        return begin_s, min(begin_s + length_s, horizon_s)

    def _schedule(self, fault: Fault) -> None:
        trace, now_ns = self._network.trace, self._clock.now_ns

        def start() -> None:
            trace.add("fault", fault.text)
            fault.start()

        def stop() -> None:
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
