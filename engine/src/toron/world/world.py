"""`World`, the face that a kernel sees: hosts, network, faults, properties, outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from toron.core.clock import SECOND_NS, Clock
from toron.core.loop import Shared
from toron.core.trace import Trace
from toron.core.values import canonical, dumps
from toron.world.faults import FaultPlanner
from toron.world.hosts import Host
from toron.world.links import DEFAULT_LATENCY, Link
from toron.world.network import Network

MAIN_HOST = "main"
OUTPUTS_MAX = 10_000

Condition = Callable[[], object] | bool


class PropertyLedger(Protocol):
    """Where a world files its properties; implemented by `toron.checks`."""

    def always(self, name: str, condition: Condition) -> None:
        """See `World.always`."""
        ...

    def unreachable(self, name: str) -> None:
        """See `World.unreachable`."""
        ...

    def eventually(self, name: str, condition: Callable[[], object], within_s: float) -> None:
        """See `World.eventually`."""
        ...

    def sometimes(self, name: str, condition: Condition) -> None:
        """See `World.sometimes`."""
        ...

    def reachable(self, name: str) -> None:
        """See `World.reachable`."""
        ...


class Net:
    """The network of a world, as a kernel steers it."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def link(
        self,
        a: str | Host,
        b: str | Host,
        *,
        latency: float | tuple[float, float] = DEFAULT_LATENCY,
        loss: float = 0.0,
        bandwidth: float | None = None,
        one_way: bool = False,
    ) -> None:
        """Shape the link between two hosts, both directions unless ``one_way``.

        ``latency`` is seconds or a range of them, ``loss`` a share of packets from 0 to below 1,
        ``bandwidth`` bytes a second.
        """
        low, high = (latency, latency) if isinstance(latency, (int, float)) else latency
        if not 0 <= low <= high:
            raise ValueError(f"latency {latency!r} must be seconds or a range (low, high) of them")
        if not 0 <= loss < 1:
            raise ValueError(f"loss {loss!r} must be a share of packets from 0 to below 1")
        if bandwidth is not None and bandwidth <= 0:
            raise ValueError(f"bandwidth {bandwidth!r} must be bytes a second above 0")
        link = Link((float(low), float(high)), loss, bandwidth)
        source, target = _name(a), _name(b)
        self._network.links.set(source, target, link)
        if not one_way:
            self._network.links.set(target, source, link)

    def partition(self, a: str | Host, b: str | Host, *, one_way: bool = False) -> None:
        """Drop all packets between two hosts until `heal`."""
        source, target = _name(a), _name(b)
        self._network.trace.add("partition", f"{source}{'>' if one_way else '|'}{target}")
        self._network.links.cut(source, target)
        if not one_way:
            self._network.links.cut(target, source)

    def heal(self, a: str | Host | None = None, b: str | Host | None = None) -> None:
        """Undo the partition of two hosts, or, without arguments, all that ails the network."""
        if a is None or b is None:
            self._network.trace.add("heal", "all")
            self._network.links.mend_all()
            return
        source, target = _name(a), _name(b)
        self._network.trace.add("heal", f"{source}|{target}")
        self._network.links.mend(source, target)
        self._network.links.mend(target, source)


class World:
    """A simulated world. A kernel gets one; see the package for an example."""

    def __init__(
        self,
        *,
        clock: Clock,
        network: Network,
        trace: Trace,
        ledger: PropertyLedger,
        planner: FaultPlanner,
        shared: Shared,
    ) -> None:
        self._clock = clock
        self._network = network
        self._trace = trace
        self._ledger = ledger
        self._planner = planner
        self._shared = shared
        self._hosts: dict[str, Host] = {}
        self.net = Net(network)
        self.outputs: dict[str, Any] = {}

    @property
    def now(self) -> float:
        """Virtual seconds since the run began."""
        return self._clock.now_ns / SECOND_NS

    async def sleep(self, seconds: float) -> None:
        """Wait so many virtual seconds; costs no real time."""
        await asyncio.sleep(seconds)

    def host(self, name: str) -> Host:
        """The host called ``name``, made on first use. Other hosts reach it by this name."""
        known = self._hosts.get(name)
        if known is None:
            if not name or name != name.strip().lower() or "." in name or name == "localhost":
                raise ValueError(
                    f"host name {name!r} must be a lower-case word other than localhost"
                )
            known = self._hosts[name] = Host(name, self._network, self._shared)
        return known

    @property
    def hosts(self) -> list[Host]:
        """The hosts of this world as they were made, the kernel's own left out."""
        return [host for name, host in self._hosts.items() if name != MAIN_HOST]

    def faults(
        self,
        *,
        partitions: bool = False,
        crashes: bool = False,
        loss: bool = False,
        slow: bool = False,
        resets: bool = False,
        hosts: list[str] | None = None,
        within: float = 30.0,
    ) -> list[str]:
        """Draw faults from CHAOS_SEED for the next ``within`` seconds, and return the plan.

        Of the allowed kinds a random subset is used. ``hosts`` limits it to some hosts; make the
        hosts first. After ``within`` seconds the network is whole and the hosts are up again.
        """
        allowed = {
            "partitions": partitions,
            "crashes": crashes,
            "loss": loss,
            "slow": slow,
            "resets": resets,
        }
        chosen = [self.host(name) for name in hosts] if hosts is not None else self.hosts
        if not chosen:
            raise ValueError("faults() needs hosts to act on; make them with world.host() first")
        kinds = [kind for kind, is_allowed in allowed.items() if is_allowed]
        plan = self._planner.draw(kinds, chosen, within)
        self._trace.add("plan", "; ".join(plan))
        return plan

    def always(self, name: str, condition: Condition) -> None:
        """``condition`` must hold after every step from now on (a value: right now)."""
        self._ledger.always(name, condition)

    def eventually(self, name: str, condition: Callable[[], object], *, within: float) -> None:
        """``condition`` must come true within so many virtual seconds."""
        self._ledger.eventually(name, condition, within)

    def sometimes(self, name: str, condition: Condition) -> None:
        """``condition`` should be true here in some run of an exploration."""
        self._ledger.sometimes(name, condition)

    def reachable(self, name: str) -> None:
        """Some run of an exploration should get here."""
        self._ledger.reachable(name)

    def unreachable(self, name: str) -> None:
        """No run may get here."""
        self._ledger.unreachable(name)

    def record(self, name: str, value: Any) -> None:
        """Make ``value`` an output of the run, part of its snapshot; a later one replaces it.

        Plain values only; a set is stored sorted. Raises TypeError for what has no stable form.
        """
        if name not in self.outputs and len(self.outputs) >= OUTPUTS_MAX:
            raise ValueError(f"a run records {OUTPUTS_MAX} outputs at most")
        stored = canonical(value, name)
        self.outputs[name] = stored
        self._trace.add("record", f"{name} {dumps(stored)}")


def _name(host: str | Host) -> str:
    return host if isinstance(host, str) else host.name
