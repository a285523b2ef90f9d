"""Decides how long a packet takes between two hosts, and whether it gets through now.

Ordering within a stream, retransmission and closing belong to `tcp`.
"""

from __future__ import annotations

from dataclasses import dataclass

from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS

_RESOLUTION = 1 << 20
LOOPBACK_LATENCY = (0.000_010, 0.000_060)
DEFAULT_LATENCY = (0.000_300, 0.002_000)


@dataclass(frozen=True, slots=True)
class Link:
    """One direction between two hosts: latency (s), share of lost packets, bytes a second."""

    latency: tuple[float, float] = DEFAULT_LATENCY
    loss: float = 0.0
    bandwidth: float | None = None


LOOPBACK = Link(latency=LOOPBACK_LATENCY)


class Links:
    """The links of a world, what is cut between them, and what a fault adds."""

    def __init__(self, choices: ChoiceSource) -> None:
        self._choices = choices
        self._links: dict[tuple[str, str], Link] = {}
        self._cuts: dict[tuple[str, str], int] = {}
        self._slow: dict[tuple[str, str], float] = {}
        self._lossy: dict[tuple[str, str], tuple[float, int]] = {}
        self._busy_until_ns: dict[tuple[str, str], int] = {}

    def set(self, source: str, target: str, link: Link) -> None:
        """Use ``link`` from ``source`` to ``target``."""
        self._links[source, target] = link

    def get(self, source: str, target: str) -> Link:
        """The link from ``source`` to ``target``; a host reaches itself by loopback."""
        return LOOPBACK if source == target else self._links.get((source, target), Link())

    def cut(self, source: str, target: str) -> None:
        """Stop packets from ``source`` to ``target``; cuts nest, and each needs its own mending."""
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        """Undo one cut."""
        left = self._cuts.get((source, target), 0) - 1
        if left > 0:
            self._cuts[source, target] = left
        else:
            self._cuts.pop((source, target), None)

    def mend_all(self) -> None:
        """Undo every cut, slow-down and burst of loss."""
        self._cuts.clear()
        self._slow.clear()
        self._lossy.clear()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether packets from ``source`` to ``target`` are dropped now."""
        return (source, target) in self._cuts

    def slow_down(self, source: str, target: str, factor: float | None) -> None:
        """Multiply latency by ``factor`` (None: no longer)."""
        if factor is None:
            self._slow.pop((source, target), None)
        else:
            self._slow[source, target] = factor

    def add_loss(self, source: str, target: str, loss: float | None, until_ns: int = 0) -> None:
        """Lose a share of packets until then on top of the link's own loss (None: no longer)."""
        if loss is None:
            self._lossy.pop((source, target), None)
        else:
            self._lossy[source, target] = (loss, until_ns)

    def latency_ns(self, source: str, target: str) -> int:
        """Draw how long one packet takes."""
        low, high = self.get(source, target).latency
        share = self._choices.pick(f"net.latency:{source}>{target}", _RESOLUTION) / _RESOLUTION
        seconds = (low + (high - low) * share) * self._slow.get((source, target), 1.0)
        return max(1, round(seconds * SECOND_NS))

    def is_lost(self, source: str, target: str, sent_ns: int) -> bool:
        """Draw whether one packet is lost.

        ``sent_ns`` may lie ahead, for a retransmission that is drawn with its first attempt: a
        burst of loss that is over by then must not reach it.
        """
        added, until_ns = self._lossy.get((source, target), (0.0, 0))
        loss = self.get(source, target).loss + (added if sent_ns < until_ns else 0.0)
        if loss <= 0:
            return False
        return self._choices.pick(f"net.loss:{source}>{target}", _RESOLUTION) < loss * _RESOLUTION

    def transmission_ns(self, source: str, target: str, size: int, now_ns: int) -> int:
        """When a packet of ``size`` bytes has left ``source``, given the link's bandwidth."""
        bandwidth = self.get(source, target).bandwidth
        if bandwidth is None:
            return now_ns
        begin_ns = max(now_ns, self._busy_until_ns.get((source, target), 0))
        end_ns = begin_ns + round(size / bandwidth * SECOND_NS)
        self._busy_until_ns[source, target] = end_ns
        return end_ns
