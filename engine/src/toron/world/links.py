"""Decides how long a packet takes between two hosts, and whether it gets through now.

Ordering within a stream, retransmission and closing belong to `tcp`, datagrams to `udp`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS

_RESOLUTION = 1 << 20
LOOPBACK_LATENCY = (0.000_010, 0.000_060)
DEFAULT_LATENCY = (0.000_300, 0.002_000)
LATENCY_MAX_S = 3_600.0
_REORDER_FACTOR = 4


def _normal(share: float, mean: float, deviation: float) -> float:
    return statistics.NormalDist(mean, deviation).inv_cdf(share) if deviation else mean


def _lognormal(share: float, median: float, sigma: float) -> float:
    return median * math.exp(_normal(share, 0.0, sigma))


def _exponential(share: float, mean: float, _unused: float) -> float:
    return -mean * math.log1p(-share)


def _pareto(share: float, least: float, alpha: float) -> float:
    return float(least / (1 - share) ** (1 / alpha))


def _uniform(share: float, low: float, high: float) -> float:
    return low + (high - low) * share


SHAPES: dict[str, tuple[Callable[[float, float, float], float], tuple[str, ...]]] = {
    "uniform": (_uniform, ("low", "high")),
    "normal": (_normal, ("mean", "deviation")),
    "lognormal": (_lognormal, ("median", "sigma")),
    "exponential": (_exponential, ("mean",)),
    "pareto": (_pareto, ("least", "alpha")),
}
"""The named distributions of latency, in seconds, and their parameters."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A named distribution of latency; one draw is one number through the inverse of its CDF."""

    shape: str
    first: float
    second: float = 0.0

    def at(self, share: float) -> float:
        """The latency below which ``share`` of all packets are; never negative, never forever."""
        seconds = SHAPES[self.shape][0](share, self.first, self.second)
        return min(max(seconds, 0.0), LATENCY_MAX_S)


Latency = tuple[float, float] | Distribution


@dataclass(frozen=True, slots=True)
class Link:
    """One direction between two hosts.

    Latency in seconds (a range or a distribution), the shares of packets that are lost and, of
    datagrams, doubled or sent out of order, and bytes a second.
    """

    latency: Latency = DEFAULT_LATENCY
    loss: float = 0.0
    bandwidth: float | None = None
    duplicate: float = 0.0
    reorder: float = 0.0


LOOPBACK = Link(latency=LOOPBACK_LATENCY)
_DEFAULT = Link()


class _Way:
    """One direction between two hosts as it is now: its link, and what a fault adds to it."""

    __slots__ = (
        "added_duplicate",
        "added_loss",
        "added_loss_until_ns",
        "added_reorder",
        "busy_until_ns",
        "cuts",
        "datagrams_until_ns",
        "factor",
        "latency_label",
        "link",
        "loss_label",
        "name",
    )

    def __init__(self, source: str, target: str) -> None:
        self.name = f"{source}>{target}"
        self.link = LOOPBACK if source == target else _DEFAULT
        self.latency_label = f"net.latency:{self.name}"
        self.loss_label = f"net.loss:{self.name}"
        self.busy_until_ns = 0
        self.datagrams_until_ns = 0
        self.mend()

    def mend(self) -> None:
        self.cuts = 0
        self.factor = 1.0
        self.added_loss, self.added_loss_until_ns = 0.0, 0
        self.added_duplicate = 0.0
        self.added_reorder = 0.0

    def is_whole(self) -> bool:
        added = self.added_loss + self.added_duplicate + self.added_reorder
        return self.cuts == 0 and self.factor == 1.0 and added == 0.0


class Links:
    """The links of a world, what is cut between them, and what a fault adds."""

    def __init__(self, choices: ChoiceSource) -> None:
        self._choices = choices
        self._ways: dict[tuple[str, str], _Way] = {}
        self.on_cut: Callable[[str, str], None] = _nothing
        """Told of every cut, so that connections which probe their peer notice it."""

    def _way(self, source: str, target: str) -> _Way:
        way = self._ways.get((source, target))
        if way is None:
            way = self._ways[source, target] = _Way(source, target)
        return way

    def set(self, source: str, target: str, link: Link) -> None:
        """Use ``link`` from ``source`` to ``target``; loopback stays what it is."""
        if source != target:
            self._way(source, target).link = link

    def get(self, source: str, target: str) -> Link:
        """The link from ``source`` to ``target``; a host reaches itself by loopback."""
        return self._way(source, target).link

    # What a fault does, and undoes

    def cut(self, source: str, target: str) -> None:
        """Stop packets from ``source`` to ``target``; cuts nest, and each needs its own mending."""
        self._way(source, target).cuts += 1
        self.on_cut(source, target)

    def mend(self, source: str, target: str) -> None:
        """Undo one cut."""
        way = self._way(source, target)
        way.cuts = max(0, way.cuts - 1)

    def mend_all(self) -> None:
        """Undo every cut and all that a fault has added to a link."""
        for way in self._ways.values():
            way.mend()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether packets from ``source`` to ``target`` are dropped now."""
        way = self._ways.get((source, target))
        return way is not None and way.cuts > 0

    def slow_down(self, source: str, target: str, factor: float | None) -> None:
        """Multiply latency by ``factor`` (None: no longer)."""
        self._way(source, target).factor = 1.0 if factor is None else factor

    def add_loss(self, source: str, target: str, loss: float | None, until_ns: int = 0) -> None:
        """Lose a share of packets until then on top of the link's own loss (None: no longer)."""
        way = self._way(source, target)
        way.added_loss, way.added_loss_until_ns = (0.0, 0) if loss is None else (loss, until_ns)

    def duplicate(self, source: str, target: str, share: float | None) -> None:
        """Double a share of the datagrams on top of the link's own (None: no longer)."""
        self._way(source, target).added_duplicate = share or 0.0

    def reorder(self, source: str, target: str, share: float | None) -> None:
        """Let a share of the datagrams be overtaken by later ones (None: no longer)."""
        self._way(source, target).added_reorder = share or 0.0

    def ailing(self) -> list[str]:
        """The directions, as ``source>target``, that are cut or to which a fault adds something."""
        return [way.name for way in self._ways.values() if not way.is_whole()]

    # What happens to a packet

    def latency_ns(self, source: str, target: str) -> int:
        """Draw how long one packet takes."""
        way = self._ways.get((source, target)) or self._way(source, target)
        drawn = self._choices.pick(way.latency_label, _RESOLUTION)
        latency = way.link.latency
        if isinstance(latency, Distribution):
            seconds = latency.at((drawn + 0.5) / _RESOLUTION)
        else:
            low, high = latency
            seconds = low + (high - low) * (drawn / _RESOLUTION)
        return max(1, round(seconds * way.factor * SECOND_NS))

    def is_lost(self, source: str, target: str, sent_ns: int) -> bool:
        """Draw whether one packet is lost.

        ``sent_ns`` may lie ahead, for a retransmission that is drawn with its first attempt: a
        burst of loss that is over by then must not reach it.
        """
        way = self._ways.get((source, target)) or self._way(source, target)
        loss = way.link.loss + (way.added_loss if sent_ns < way.added_loss_until_ns else 0.0)
        return loss > 0 and self._drawn(way.loss_label) < loss * _RESOLUTION

    def transmission_ns(self, source: str, target: str, size: int, now_ns: int) -> int:
        """When a packet of ``size`` bytes has left ``source``, given the link's bandwidth."""
        way = self._ways.get((source, target)) or self._way(source, target)
        bandwidth = way.link.bandwidth
        if bandwidth is None:
            return now_ns
        begin_ns = max(now_ns, way.busy_until_ns)
        way.busy_until_ns = begin_ns + round(size / bandwidth * SECOND_NS)
        return way.busy_until_ns

    def datagram_ns(self, source: str, target: str, size: int, now_ns: int) -> list[int]:
        """When a datagram that is sent now arrives: once, never, twice, or after later ones.

        A link keeps the order of datagrams but for the share that it is told to reorder, as a path
        through one queue does; loopback loses, doubles and reorders nothing.
        """
        way = self._way(source, target)
        sent_ns = self.transmission_ns(source, target, size, now_ns)
        if self.is_lost(source, target, sent_ns):
            return []
        arrives_ns = sent_ns + self.latency_ns(source, target)
        if self._happens(f"net.reorder:{way.name}", way.link.reorder + way.added_reorder):
            delay_ns = [self.latency_ns(source, target) for _ in range(_REORDER_FACTOR)]
            arrives_ns += sum(delay_ns)
        else:
            arrives_ns = way.datagrams_until_ns = max(arrives_ns, way.datagrams_until_ns)
        if self._happens(f"net.duplicate:{way.name}", way.link.duplicate + way.added_duplicate):
            return [arrives_ns, arrives_ns + self.latency_ns(source, target)]
        return [arrives_ns]

    def _happens(self, label: str, share: float) -> bool:
        return share > 0 and self._drawn(label) < share * _RESOLUTION

    def _drawn(self, label: str) -> int:
        """Draw what is compared with the share of packets to which something happens."""
        return self._choices.pick(label, _RESOLUTION, default=_RESOLUTION - 1)


def _nothing(_source: str, _target: str) -> None:
    return None
