"""`World`, the face that a kernel sees: hosts, network, faults, properties, outputs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from toron.core.clock import SECOND_NS, Clock
from toron.core.loop import Shared
from toron.core.trace import Trace
from toron.core.values import brief, canonical, dumps
from toron.errors import RunRejected
from toron.world.disk.host_disk import Disks
from toron.world.faults import FaultPlanner
from toron.world.hosts import Host
from toron.world.net import Net
from toron.world.network import Network

if TYPE_CHECKING:  # the layer above, which implements `PropertyLedger`
    from hypothesis.strategies import SearchStrategy

    from toron.checks.history import History
    from toron.checks.models import Model
    from toron.checks.serializability import Level

MAIN_HOST = "main"
OUTPUTS_MAX = 10_000
REJECTED = "the run was rejected: its data were not wanted"
"""The property that counts the runs which `World.assume` or a filter of a draw has ended."""

T = TypeVar("T")
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

    def history(self, name: str) -> History:
        """See `World.history`."""
        ...

    def linearizable(
        self, name: str, history: History, model: Model, steps_max: int | None
    ) -> None:
        """See `World.linearizable`."""
        ...

    def serializable(
        self, name: str, history: History, level: Level, steps_max: int | None
    ) -> None:
        """See `World.serializable`."""
        ...

    def forbid_leaks(self) -> None:
        """See `World.forbid_leaks`."""
        ...


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
        disks: Disks,
    ) -> None:
        self._clock = clock
        self._network = network
        self._trace = trace
        self._ledger = ledger
        self._planner = planner
        self._shared = shared
        self._disks = disks
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
            known = Host(name, self._network, self._shared, self._disks.of(name))
            self._hosts[name] = known
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
        kills: bool = False,
        pauses: bool = False,
        clock_drift: bool = False,
        disk: bool = False,
        corruption: bool = False,
        loss: bool = False,
        slow: bool = False,
        resets: bool = False,
        duplicates: bool = False,
        reorders: bool = False,
        hosts: list[str] | None = None,
        within: float = 30.0,
    ) -> list[str]:
        """Draw faults from CHAOS_SEED for the next ``within`` seconds, and return the plan.

        Of the allowed kinds a random subset is used. ``crashes`` are power cuts, ``kills`` end only
        the process, ``clock_drift`` lets clocks jump and drift, ``disk`` fails, fills and slows
        disks, ``corruption`` also flips bits and misdirects writes, ``duplicates`` and ``reorders``
        are of datagrams. ``hosts`` limits it to some hosts; make the hosts first. After ``within``
        seconds all of it is over: await `quiet`, and demand that the program recovers.
        """
        allowed = {
            "partitions": partitions,
            "crashes": crashes,
            "loss": loss,
            "slow": slow,
            "resets": resets,
            "kills": kills,
            "pauses": pauses,
            "clock_drift": clock_drift,
            "disk": disk,
            "corruption": corruption,
            "duplicates": duplicates,
            "reorders": reorders,
        }
        chosen = self.hosts if hosts is None else [self.host(name) for name in hosts]
        if not chosen:
            raise ValueError("faults() needs hosts to act on; make them with world.host() first")
        kinds = [kind for kind, is_allowed in allowed.items() if is_allowed]
        plan = self._planner.draw(kinds, chosen, within)
        self._trace.add("plan", "; ".join(plan))
        return plan

    async def quiet(self) -> None:
        """Wait until the planned faults are over, and mend what is left: liveness must hold now.

        The network is whole, hosts are up and running, disks work and keep what they have, clocks
        run at the right rate.
        """
        left_ns = self._planner.over_ns - self._clock.now_ns
        if left_ns > 0:
            await asyncio.sleep((left_ns + 1) / SECOND_NS)
        self._trace.add("quiet", "")
        self.net.heal()
        for host in self.hosts:
            host.disk.heal()
            host.resume()
            if not host.up:
                host.restart()
            if host.clock.skew is not None:
                host.clock.drift(0)

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

    def history(self, name: str) -> History:
        """The history called ``name``, made on first use: what clients asked for and were told.

        ``with history.call("c1", "write", 7) as call: await store.write(7); call.ok()``, or
        ``await history.record("c1", "read", None, store.read())``.
        """
        return self._ledger.history(name)

    def linearizable(
        self, name: str, history: History, model: Model, *, steps_max: int | None = None
    ) -> None:
        """``history`` must be linearizable by ``model`` (`toron.models`) when the run has ended.

        One that cannot be judged in ``steps_max`` steps makes the run inconclusive.
        """
        self._ledger.linearizable(name, history, model, steps_max)

    def serializable(
        self,
        name: str,
        history: History,
        *,
        level: Level = "serializable",
        steps_max: int | None = None,
    ) -> None:
        """The transactions of ``history`` must keep what ``level`` promises.

        Judged when the run has ended; see `toron.check_serializable`.
        """
        self._ledger.serializable(name, history, level, steps_max)

    def forbid_leaks(self) -> None:
        """Fail the run for tasks that the kernel leaves pending, and for what nobody awaited.

        Like ``@toron.kernel(leaks=True)``, from here on; `toron.checks.leaks` says what counts.
        """
        self._ledger.forbid_leaks()

    def record(self, name: str, value: Any) -> None:
        """Make ``value`` an output of the run, part of its snapshot; a later one replaces it.

        Plain values only; a set is stored sorted. Raises TypeError for what has no stable form.
        """
        if name not in self.outputs and len(self.outputs) >= OUTPUTS_MAX:
            raise ValueError(f"a run records {OUTPUTS_MAX} outputs at most")
        stored = canonical(value, name)
        self.outputs[name] = stored
        self._trace.add("record", f"{name} {dumps(stored)}")

    # Data

    def choose(self, name: str, options: Sequence[T]) -> T:
        """One of ``options``, chosen by the seed; the first is the simplest one.

        The choice is on the tape beside those of the schedule: it is replayed and shrunk with them.
        """
        if not isinstance(options, Sequence):
            raise TypeError(
                f"choose({name!r}) takes a list or another sequence, not a "
                f"{type(options).__name__}: the order of the options is part of the choice"
            )
        if not options:
            raise ValueError(f"choose({name!r}) has no options to choose from")
        position = self._shared.choices.pick(_data_label(name), len(options))
        self._trace.add("choose", f"{name} {position} {brief(options[position])}")
        return options[position]

    def draw(self, strategy: SearchStrategy[T], label: str = "draw") -> T:
        """A value of a strategy of Hypothesis, made of choices of this run.

        Equal seeds give equal values; shrinking a failure shrinks them with its schedule. A filter
        that finds nothing ends the run as `assume` does. RuntimeError without Hypothesis.
        """
        try:
            from toron.world.draw import draw_from
        except ImportError as error:
            raise RuntimeError(
                f"world.draw needs Hypothesis 6.140 or newer ({error}); install it (pip install "
                "hypothesis), or use world.choose, which needs nothing"
            ) from error

        choices, on_tape = self._shared.choices, _data_label(label)
        value: T
        value, digest = draw_from(strategy, lambda bound: choices.pick(on_tape, bound))
        self._trace.add("draw", f"{label} {brief(value)} {digest}")
        return value

    def assume(self, condition: object, why: str = "an assumption does not hold") -> None:
        """End the run here unless ``condition`` is true: it passes, and says nothing.

        Runs that end so are counted in the properties; an exploration in which all do is
        inconclusive.
        """
        if not condition:
            raise RunRejected(why)


def _data_label(name: str) -> str:
    return "data." + "_".join(name.split())


def prepare_draws() -> None:
    """Let Hypothesis load what it needs to draw, if the program has imported it.

    A Hypothesis that cannot is no matter for kernels that draw nothing; `World.draw` will say why.
    """
    if sys.modules.get("hypothesis") is not None:
        with contextlib.suppress(Exception):
            from toron.world.draw import warm

            warm()
