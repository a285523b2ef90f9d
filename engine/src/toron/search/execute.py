"""One execution, from the boot of the world to its outcome. Runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from toron.checks.leaks import DESTROYED, Leak
from toron.checks.models import BadHistory
from toron.checks.properties import Ledger
from toron.core.agenda import Agenda
from toron.core.baton import Baton
from toron.core.causes import Causes, Noting
from toron.core.choices import SEED_MAX, ChoiceSource, Reseedable, SeededChoices, substream
from toron.core.clock import Clock, to_ns
from toron.core.lines import LineRecorder
from toron.core.loop import Shared, SimLoop, SimTask, report_text, suspended_stack
from toron.core.places import Places
from toron.core.process import CURRENT
from toron.core.selector import Descriptors
from toron.core.tape import Deviation, RecordingTape, ReplayedTape
from toron.core.trace import Level, Trace
from toron.core.values import canonical, dumps, strip_addresses
from toron.core.wakes import Wakes
from toron.errors import (
    Deadlock,
    EscapeError,
    LimitReached,
    Livelock,
    PropertyFailed,
    RunRejected,
    StopRun,
)
from toron.search import clusters
from toron.search.outcome import INCONCLUSIVE_KINDS, Failure, FailureKind, Outcome
from toron.search.references import options_of
from toron.search.strategies import DEFAULT_STRATEGY, strategy_of
from toron.search.waits import stuck, watch_locks
from toron.world.boundary.edge import Edge
from toron.world.disk.host_disk import Disks, SocketFiles
from toron.world.faults import FaultPlanner
from toron.world.network import Network
from toron.world.world import MAIN_HOST, REJECTED, World

_MESSAGE_MAX = 2_000
_ROUNDS_TO_END = 100
"""How often what is ready is run after the kernel's end, before a task counts as left behind."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What to execute."""

    kernel: Callable[..., Any]
    name: str
    sim_seed: int
    chaos_seed: int
    time_limit_s: float
    level: Level = "digest"
    strategy: str = DEFAULT_STRATEGY
    tape: tuple[Deviation, ...] | None = None
    """What deviates from the harmless run; None: what the strategy and the seeds choose."""
    records_tape: bool = False
    surveys: bool = False
    """Whether to note where a run of a tape could deviate."""
    reseeds: tuple[tuple[int, int], ...] = ()
    """When (virtual ns) the run goes on under which salt: a branch, executed from the start."""
    forks: bool = False
    """Whether the run will be forked, so that it may be reseeded at any moment."""


def _choices(setup: Setup) -> tuple[ChoiceSource, Reseedable | None]:
    """What chooses, and where another strategy can take over if the run may become a branch."""
    if setup.tape is not None:
        seeded = SeededChoices(setup.sim_seed, setup.chaos_seed)
        return ReplayedTape(setup.tape, seeded, surveys=setup.surveys), None
    strategy = strategy_of(setup.strategy, setup.sim_seed, setup.chaos_seed)
    reseedable = Reseedable(strategy) if setup.reseeds or setup.forks else None
    source: ChoiceSource = strategy if reseedable is None else reseedable
    return RecordingTape(source) if setup.records_tape else source, reseedable


class Run:
    """The parts of one simulated world, wired together."""

    def __init__(self, setup: Setup, edge: Edge, places: Places) -> None:
        self.setup = setup
        self.edge = edge
        self.places = places
        self.clock = Clock()
        self.agenda = Agenda()
        self.choices, self._reseedable = _choices(setup)
        self.trace = Trace(self.clock, setup.level, places)
        self.wakes: Wakes | None = None
        self.lines = LineRecorder(self.trace, places.is_followed)
        self.descriptors = Descriptors() if setup.level == "digest" else Noting(self.trace)
        self.network = Network(
            clock=self.clock,
            agenda=self.agenda,
            choices=self.choices,
            trace=self.trace,
            descriptors=self.descriptors,
        )
        self.ledger = Ledger(self.clock, self.agenda, self.trace)
        self.baton = Baton(
            self.clock, self.agenda, self.choices, self.trace, to_ns(setup.time_limit_s)
        )
        self.network.baton = self.baton
        self._seeds = setup.sim_seed, setup.chaos_seed
        self.reseeds: list[tuple[int, int]] = []
        """Which branch of which branch the run is by now."""
        for at_ns, salt in setup.reseeds:
            self.baton.turns.at(at_ns, functools.partial(self.reseed, at_ns, salt))
        self.shared = Shared(
            clock=self.clock,
            agenda=self.agenda,
            choices=self.choices,
            trace=self.trace,
            descriptors=self.descriptors,
            baton=self.baton,
            resolver=self.network.resolve,
            after_step=self.ledger.after_step,
        )
        if setup.level != "digest":
            self.wakes = Wakes(Causes(self.trace, self.descriptors), self.trace)
            self.shared.causes = self.wakes
        seeded = SeededChoices(setup.sim_seed, setup.chaos_seed)
        self.planner = FaultPlanner(self.clock, self.agenda, self.choices, seeded, self.network)
        self.disks = Disks(
            clock=self.clock, choices=self.choices, trace=self.trace, name_of=places.path_of
        )
        self.network.socket_files = SocketFiles(self.disks)
        self.rejected = False
        self.world = World(
            clock=self.clock,
            network=self.network,
            trace=self.trace,
            ledger=self.ledger,
            planner=self.planner,
            shared=self.shared,
            disks=self.disks,
        )

    def reseed(self, at_ns: int, salt: int) -> None:
        """Go on as branch ``salt`` of this world at ``at_ns``: all that chance decides is new.

        That is the strategy's choices (of a mixture another part), the network, the program's
        entropy, and the planned faults that have not begun; those that have end as planned. A tape
        that is replayed goes on as it is. The heap is frozen, so that a branch that is a
        fork shares it with the others; in a replay too, because what the collector finds may be
        seen.
        """
        gc.freeze()
        self.reseeds.append((at_ns, salt))
        sim_seed, chaos_seed = (
            substream(seed, f"branch {salt}") & SEED_MAX for seed in self._seeds
        )
        self._seeds = sim_seed, chaos_seed
        if self._reseedable is not None:
            self._reseedable.reseed(strategy_of(self.setup.strategy, sim_seed, chaos_seed))
        self.edge.entropy.reseed(sim_seed)
        self.planner.redraw(SeededChoices(sim_seed, chaos_seed))

    @property
    def is_looping(self) -> bool:
        """Whether the kernel's event loop is running."""
        return self.loop._thread_id is not None  # type: ignore[attr-defined]

    def execute(self) -> Outcome:
        """Run the kernel to its end, or to what ends it."""
        watch_locks()
        self.edge.begin(self.network, self.shared, self.setup.sim_seed, self.disks)
        context = contextvars.copy_context()
        if self.setup.level == "full":
            context.run(self.lines.start)
            self.baton.on_start = self.lines.start
        failure = context.run(self._execute_in_context)
        self.lines.stop()
        self.trace.add("random", _digest(self.edge.entropy.state_digest_input()))
        self.edge.end()
        escapes = self.edge.refusals.escapes
        if escapes:
            what, where = escapes[0]
            failure = self._told("escape", what, where)
        if failure is not None:
            one_line = failure.message.replace("\n", " / ")
            self.trace.add("failure", f"{failure.kind} {one_line}")
        return self._outcome(failure)

    def _execute_in_context(self) -> Failure | None:
        self.baton.home = self.world.host(MAIN_HOST).process
        CURRENT.set(self.baton.home)
        self.loop = SimLoop(self.shared)
        self.shared.collect = gc.collect
        asyncio.set_event_loop(self.loop)
        failure = self._run_main()
        if not self.rejected:
            failure = self._after_main(failure)
        for loop in self.shared.loops:
            loop.fall_silent()
        return failure

    def _after_main(self, failure: Failure | None) -> Failure | None:
        """What else is wrong once the kernel has ended: left errors, histories, leaks."""
        if failure is None or failure.kind in ("deadlock", "limit"):
            failure = self._left_behind() or failure
        if failure is None or failure.kind == "limit":
            failure = self._history_failure() or failure
        if failure is None and self.ledger.leaks.watched:
            failure = self._leak_failure()
        return failure

    def _run_main(self) -> Failure | None:
        main: asyncio.Task[Any] | None = None
        try:
            main = self.loop.create_task(self._call_kernel())
            self.shared.kernel = main
            if options_of(self.setup.kernel).leaks:
                self.ledger.forbid_leaks()
            result = self.loop.run_until_complete(main)
            if result is not None:
                plain = _plain_or_name(result)
                self.trace.add("result", dumps(plain))
                self.world.outputs.setdefault("result", plain)
            if self.ledger.leaks.watched:
                self._note_pending()
            self._cancel_rest()
            self.ledger.at_end()
        except RunRejected as rejected:
            self._reject(str(rejected))
        except StopRun as stop:
            return self._stopped(stop)
        except asyncio.CancelledError as error:
            if self.shared.injected:  # what the kernel awaits was cancelled, and it says so
                return None
            return self._failure("exception", "the kernel was cancelled", error)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (it is the result)
            if _is_unsatisfied(error):
                self._reject(str(error))
                return None
            kind: FailureKind = "escape" if isinstance(error, EscapeError) else "exception"
            return self._failure(kind, _describe(error), error)
        return None

    def _history_failure(self) -> Failure | None:
        """What the histories of the run say, also of one that was cut short."""
        try:
            self.ledger.judge_histories()
        except PropertyFailed as stop:
            return self._stopped(stop)
        except LimitReached as stop:
            return self._told("limit", str(stop)[:_MESSAGE_MAX], "")
        except BadHistory as error:
            return self._failure("exception", _describe(error), error)
        return None

    def _note_pending(self) -> None:
        """Tasks that nobody will wait for: the kernel's own, and those of hosts that have ended."""
        for _ in range(_ROUNDS_TO_END):
            if not self.loop._ready:  # type: ignore[attr-defined]
                break
            self.loop.run_until_complete(asyncio.sleep(0))
        processes = [host.process for host in self.world.hosts if host.up and host.has_ended]
        processes.append(self.world.host(MAIN_HOST).process)
        for task in self.shared.all_tasks():
            if task.toron_process in (*processes, None) and not task.cancelling():
                name = task.toron_process.name if task.toron_process is not None else MAIN_HOST
                where = self.trace.place_of(suspended_stack(task))
                text = f"{task.toron_label} on {name} is still pending, and nobody waits for it"
                self.ledger.leaks.found.append(Leak(text, self.clock.now_ns, where))

    def _leak_failure(self) -> Failure | None:
        """What was left behind, when that is forbidden."""
        gc.collect()  # what is part of a cycle is only now seen to be lost
        found = list(self.ledger.leaks.found)
        for report, at_ns in self.shared.reported:
            task = report.get("task")
            if report.get("message") == DESTROYED and isinstance(task, SimTask):
                text = f"{task.toron_label} was destroyed while it was pending: nobody held it"
                code: Any = getattr(task.get_coro(), "cr_code", None)
                origin = (code.co_filename, code.co_firstlineno, code.co_qualname) if code else None
                found.append(Leak(text, at_ns, "", origin))
        if not found:
            return None
        first = found[0]
        where = first.where
        if first.origin is not None:
            file, line, function = first.origin
            where = f"{self.places.name_of(file)}:{line} in {function}"
        more = "".join(f"; {leak.text}" for leak in found[1:])
        cause = clusters.of_text("leaked_task", first.text, where)
        text = (first.text + more)[:_MESSAGE_MAX]
        return Failure("leaked_task", text, first.at_ns, where, cause=cause)

    def _reject(self, why: str) -> None:
        """The data of this run are not wanted: it is counted, and is no failure."""
        self.rejected = True
        self.ledger.reachable(REJECTED)
        self.trace.add("rejected", why)

    def _call_kernel(self) -> Any:
        takes_world = bool(inspect.signature(self.setup.kernel).parameters)
        return self.setup.kernel(self.world) if takes_world else self.setup.kernel()

    def _cancel_rest(self) -> None:
        """End the kernel's own tasks as `asyncio.run` does; other hosts simply lose power."""
        # From here on the notes go to the old one: these are no cancellations of the program's.
        self.shared.cancelled = dict(self.shared.cancelled)
        home = self.world.host(MAIN_HOST).process
        for host in self.world.hosts:
            if host.up:
                self.network.power_off(host.process)
                self.shared.bury(host.process)
        rest = [
            task
            for task in sorted(asyncio.all_tasks(self.loop), key=hash)
            if isinstance(task, SimTask) and task.toron_process in (home, None)
        ]
        for task in rest:
            task.cancel()
        if rest:
            gathered = asyncio.gather(*rest, return_exceptions=True)
            self.loop.run_until_complete(gathered)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())

    def _stopped(self, stop: StopRun) -> Failure:
        if isinstance(stop, PropertyFailed):
            cause = clusters.of_property(stop.name, stop.where)
            now_ns = self.clock.now_ns
            return Failure("property", str(stop), now_ns, stop.where, stop.name, cause)
        now = stuck(self.shared, self.places)
        if isinstance(stop, Livelock):
            return self._told("livelock", str(stop), now.where)
        text = f"{stop}; waiting: {now.text}"
        if isinstance(stop, Deadlock):
            cause = clusters.of_waits("deadlock", now.roots)
            return Failure("deadlock", text, self.clock.now_ns, now.where, cause=cause)
        assert isinstance(stop, LimitReached)
        cause = clusters.of_text("limit", str(stop), now.where)
        return Failure("limit", text, self.clock.now_ns, now.where, cause=cause)

    def _told(self, kind: FailureKind, text: str, where: str) -> Failure:
        cause = clusters.of_text(kind, text, where)
        return Failure(kind, text, self.clock.now_ns, where, cause=cause)

    def _left_behind(self) -> Failure | None:
        """The first exception that nobody looked at."""
        found: list[tuple[int, str, BaseException]] = []
        awaited = self._children_of_gathers()
        for task, at_ns in self.shared.failed_tasks:
            process = task.toron_process
            if task._log_traceback and task not in awaited:
                error = task.exception()
                assert error is not None
                name = process.name if process is not None else MAIN_HOST
                text = (
                    f"{_describe(error)} ended {task.toron_label} on {name}, and nobody awaited it"
                )
                found.append((at_ns, text, error))
        for label, error, at_ns in self.shared.failed_threads:
            found.append((at_ns, f"{_describe(error)} ended {label}", error))
        for report, at_ns in self.shared.reported:
            error = report.get("exception")
            # CPython 3.11 reports the cancellation of a stream handler as an error (gh-110894).
            if error is not None and not isinstance(error, asyncio.CancelledError):
                text = f"{report_text(report)}: {_describe(error)}"
                found.append((at_ns, text, error))
        if not found:
            return None
        at_ns, text, error = min(found, key=lambda item: item[0])
        kind: FailureKind = "escape" if isinstance(error, EscapeError) else "exception"
        return self._failure(kind, text, error, at_ns)

    def _children_of_gathers(self) -> set[SimTask]:
        """Tasks whose result a pending `gather` will look at, once all its children are done."""
        waiters = [getattr(task, "_fut_waiter", None) for task in self.shared.all_tasks()]
        children = [getattr(waiter, "_children", ()) for waiter in waiters]
        return {child for group in children for child in group if isinstance(child, SimTask)}

    def _failure(
        self, kind: FailureKind, text: str, error: BaseException, at_ns: int | None = None
    ) -> Failure:
        where = self.places.of_traceback(error.__traceback__)
        at_ns = self.clock.now_ns if at_ns is None else at_ns
        cause = clusters.of_error(error, self.places)
        return Failure(kind, text[:_MESSAGE_MAX], at_ns, where, cause=cause)

    def _outcome(self, failure: Failure | None) -> Outcome:
        if failure is None:
            verdict: Any = "pass"
        else:
            verdict = "inconclusive" if failure.kind in INCONCLUSIVE_KINDS else "fail"
        return Outcome(
            kernel=self.setup.name,
            sim_seed=self.setup.sim_seed,
            chaos_seed=self.setup.chaos_seed,
            verdict=verdict,
            trace_digest=self.trace.hexdigest(),
            outputs=self.world.outputs,
            properties=self.ledger.to_json(),
            failure=failure,
            steps=self.shared.steps,
            virtual_ns=self.clock.now_ns,
            token="",
            faults=self.planner.plan,
            strategy=self.setup.strategy,
        )

    @property
    def offers(self) -> list[Deviation]:
        """Where the run could have deviated, when it was a survey."""
        return self.choices.offers if isinstance(self.choices, ReplayedTape) else []

    @property
    def deviations(self) -> list[Deviation]:
        """What was chosen other than by default, when the run recorded or replayed a tape."""
        choices = self.choices
        return choices.deviations if isinstance(choices, (RecordingTape, ReplayedTape)) else []


def _describe(error: BaseException) -> str:
    """An exception as text; of a group, its members too."""
    if isinstance(error, BaseExceptionGroup):
        members = ", ".join(_describe(member) for member in error.exceptions)
        return f"{type(error).__name__}({error.message}: {members})"
    text = strip_addresses(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_unsatisfied(error: BaseException) -> bool:
    """Whether this is what `hypothesis.assume` raises; by name, because nobody need have it."""
    kind = type(error)
    return (kind.__module__, kind.__name__) == ("hypothesis.errors", "UnsatisfiedAssumption")


def _plain_or_name(value: Any) -> Any:
    try:
        return canonical(value, "result")
    except TypeError:
        return type(value).__qualname__


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
