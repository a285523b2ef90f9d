"""`world.net`: the network as a kernel steers it. What a link does belongs to `links`."""

from __future__ import annotations

from typing import Protocol

from toron.world.links import DEFAULT_LATENCY, SHAPES, Distribution, Latency, Link
from toron.world.network import Network


class Named(Protocol):
    """A host, or whatever else has its name."""

    name: str


LatencyLike = float | tuple[float, float] | tuple[str, float] | tuple[str, float, float]


class Net:
    """The network of a world, as a kernel steers it."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def link(
        self,
        a: str | Named,
        b: str | Named,
        *,
        latency: LatencyLike = DEFAULT_LATENCY,
        loss: float = 0.0,
        bandwidth: float | None = None,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        one_way: bool = False,
    ) -> None:
        """Shape the link between two hosts, both directions unless ``one_way``.

        ``latency`` is seconds, a range of them, or a distribution: ``("normal", mean, deviation)``,
        ``("lognormal", median, sigma)``, ``("exponential", mean)``, ``("pareto", least, alpha)``,
        ``("uniform", low, high)``. ``loss`` is a share of packets from 0 to below 1, which streams
        feel as delay; ``duplicate`` and ``reorder`` are shares of datagrams; ``bandwidth`` is bytes
        a second.
        """
        shares = {"loss": loss, "duplicate": duplicate, "reorder": reorder}
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"{name} {share!r} must be a share of packets from 0 to below 1")
        if bandwidth is not None and bandwidth <= 0:
            raise ValueError(f"bandwidth {bandwidth!r} must be bytes a second above 0")
        link = Link(_latency(latency), loss, bandwidth, duplicate, reorder)
        source, target = _name(a), _name(b)
        self._network.links.set(source, target, link)
        if not one_way:
            self._network.links.set(target, source, link)

    def partition(self, a: str | Named, b: str | Named, *, one_way: bool = False) -> None:
        """Drop all packets between two hosts until `heal`."""
        source, target = _name(a), _name(b)
        self._network.trace.add("partition", f"{source}{'>' if one_way else '|'}{target}")
        self._network.links.cut(source, target)
        if not one_way:
            self._network.links.cut(target, source)

    def blackhole(self, a: str | Named, b: str | Named) -> None:
        """Let the connections that are open between two hosts stop, without a reset, until `heal`.

        As behind a middlebox that has forgotten them: new connections get through, datagrams too.
        """
        source, target = _name(a), _name(b)
        self._network.trace.add("blackhole", f"{source}|{target}")
        self._network.swallow_between(source, target)

    def reset(self, a: str | Named, b: str | Named) -> None:
        """Reset every connection that is open between two hosts; both ends see ECONNRESET."""
        source, target = _name(a), _name(b)
        self._network.trace.add("reset", f"{source}|{target}")
        self._network.reset_between(source, target)

    def heal(self, a: str | Named | None = None, b: str | Named | None = None) -> None:
        """Undo partition and black hole of two hosts, or, without arguments, all of them."""
        if a is None or b is None:
            self._network.trace.add("heal", "all")
            self._network.links.mend_all()
            self._network.release_between()
            return
        source, target = _name(a), _name(b)
        self._network.trace.add("heal", f"{source}|{target}")
        self._network.links.mend(source, target)
        self._network.links.mend(target, source)
        self._network.release_between(source, target)


def _latency(given: LatencyLike) -> Latency:
    """A latency as the links know it; ValueError names what is wrong with it."""
    if isinstance(given, (int, float)):
        low = high = float(given)
    elif isinstance(given[0], str):
        return _distribution(given)
    else:
        low, high = float(given[0]), float(given[1])
    if not 0 <= low <= high:
        raise ValueError(f"latency {given!r} must be seconds or a range (low, high) of them")
    return low, high


def _distribution(given: tuple[object, ...]) -> Distribution:
    shape, *numbers = given
    if shape not in SHAPES:
        known = ", ".join(SHAPES)
        raise ValueError(f"latency {given!r} names no distribution; known are {known}")
    names = SHAPES[str(shape)][1]
    if len(numbers) != len(names):
        raise ValueError(f"latency {given!r} must be ({shape!r}, {', '.join(names)})")
    floats = [float(number) for number in numbers]  # type: ignore[arg-type]
    if any(number < 0 for number in floats) or (shape == "pareto" and floats[1] == 0):
        raise ValueError(f"latency {given!r} must have positive parameters")
    if shape == "uniform" and floats[0] > floats[1]:
        raise ValueError(f"latency {given!r} must have low before high")
    return Distribution(str(shape), *floats)


def _name(host: str | Named) -> str:
    return host if isinstance(host, str) else host.name
