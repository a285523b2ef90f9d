"""The public face: declare kernels, run them, explore seeds, verify, replay."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from toron import ENGINE_VERSION
from toron.core.clock import to_ns
from toron.core.places import Places
from toron.errors import BadKernel, ToronError
from toron.search import branch as _branch
from toron.search import explore as _explore
from toron.search import inevitable as _inevitable
from toron.search import shrink as _shrink
from toron.search import verify as _verify
from toron.search.clusters import mark_of
from toron.search.frames import read_frame, write_frame
from toron.search.outcome import Execution, Outcome
from toron.search.pool import WALL_LIMIT_S, Request, Worker
from toron.search.references import (
    MARK,
    KernelOptions,
    KernelRef,
    Token,
    check_kernel,
    options_of,
    parse_seed,
    parse_seed_range,
)
from toron.search.strategies import DEFAULT_STRATEGY, check_strategy
from toron.search.worker import perform
from toron.world.boundary.edge import Edge
from toron.world.world import prepare_draws

if TYPE_CHECKING:
    from toron.search.explain.explanation import Explanation
    from toron.search.traces.events import Story

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_WORKERS_KEPT = 4
_SECONDS_MAX = 1e9
_workers: dict[Path, Worker] = {}


@overload
def kernel(function: Kernel, /) -> Kernel: ...


@overload
def kernel(
    *, seeds: int = ..., time_limit: float = ..., leaks: bool = ...
) -> Callable[[Kernel], Kernel]: ...


def kernel(
    function: Kernel | None = None,
    /,
    *,
    seeds: int = 100,
    time_limit: float = 3600.0,
    leaks: bool = False,
) -> Kernel | Callable[[Kernel], Kernel]:
    """Mark an ``async def`` with one argument (the `World`) or none as a kernel.

    ``seeds`` is how many seeds an exploration uses when it is not told; ``time_limit`` is in
    virtual seconds, and a run that reaches it is inconclusive. ``leaks=True`` fails a run for tasks
    that it leaves pending and for what nobody awaited; see `World.forbid_leaks`.
    """
    if seeds < 1 or time_limit <= 0:
        raise BadKernel(f"kernel(seeds={seeds}, time_limit={time_limit}): both must be above 0")

    def mark(marked: Kernel) -> Kernel:
        check_kernel(marked, getattr(marked, "__qualname__", repr(marked)))
        setattr(marked, MARK, KernelOptions(seeds, time_limit, leaks))
        return marked

    return mark if function is None else mark(function)


def _reference_of(function: Callable[..., Any]) -> KernelRef | None:
    """Where a fresh process finds ``function``, or None for one that only exists in this one."""
    file = _source_file(function)
    name = getattr(function, "__qualname__", None)
    if file is None or name is None or "." in name or not Path(file).is_file():
        return None
    return KernelRef(Path(file).resolve(), name)


def _source_file(function: Callable[..., Any]) -> str | None:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.getsourcefile(function)


def _worker(path: Path) -> Worker:
    known = _workers.get(path)
    if known is not None and known.is_outdated():
        _workers.pop(path).stop()
        known = None
    if known is None:
        while len(_workers) >= _WORKERS_KEPT:
            _workers.pop(next(iter(_workers))).stop()
        known = _workers[path] = Worker(path)
    return known


@atexit.register
def _stop_workers() -> None:
    for worker in _workers.values():
        worker.stop()
    _workers.clear()


def execute(
    function: Callable[..., Any] | KernelRef,
    *,
    seed: int,
    chaos_seed: int = 0,
    level: str = "digest",
    strategy: str = DEFAULT_STRATEGY,
    tape: Sequence[tuple[str, int]] | None = None,
    records_tape: bool = False,
    reseeds: Sequence[tuple[int, int]] = (),
) -> Execution:
    """`run`, with the trace, what deviated from the harmless run, and what the program printed.

    With a ``tape`` only its deviations are taken, and no strategy chooses.
    """
    seed, chaos_seed = parse_seed(seed, "seed"), parse_seed(chaos_seed, "chaos_seed")
    if not isinstance(function, KernelRef):
        check_kernel(function, getattr(function, "__qualname__", repr(function)))
    reference = function if isinstance(function, KernelRef) else _reference_of(function)
    here: Callable[..., Any] | None = None
    if reference is None:
        assert not isinstance(function, KernelRef)
        reference = KernelRef(
            _path_of(function), getattr(function, "__name__", type(function).__name__)
        )
        here = function
    request = Request(
        reference.name,
        seed,
        chaos_seed,
        level,
        strategy=check_strategy(strategy, explores=tape is not None),
        tape=None if tape is None else tuple(tape),
        records_tape=records_tape,
        reseeds=tuple(reseeds),
    )
    if here is not None:
        return _execute_here(here, request)
    return _worker(reference.path).execute(request)


def run(
    function: Callable[..., Any] | KernelRef,
    *,
    seed: int,
    chaos_seed: int = 0,
    strategy: str = DEFAULT_STRATEGY,
) -> Outcome:
    """Execute a kernel once and return its `Outcome`.

    A function that stands in a file runs in a fresh process with a fixed hash seed, which imports
    that file: equal seeds give equal bytes anywhere. One that exists only here (a closure, a lambda
    of a test) runs in a fork of this process, where the hash seed is this process's own.
    """
    return execute(function, seed=seed, chaos_seed=chaos_seed, strategy=strategy).outcome


def _path_of(function: Callable[..., Any]) -> Path:
    file = _source_file(function)
    return Path(file).resolve() if file else Path.cwd() / "?"


def _execute_here(function: Callable[..., Any], request: Request) -> Execution:
    path = _path_of(function)
    prepare_draws()
    answers, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the caller stay behind
        child = os.fork()
    if child == 0:
        os.close(answers)
        _answer_and_exit(function, path, write_end, request)
    os.close(write_end)
    try:
        message = read_frame(answers)
    except EOFError as error:
        raise ToronError(f"the process that ran {function!r} died") from error
    finally:
        os.close(answers)
        os.waitpid(child, 0)
    if message["kind"] != "outcome":
        raise ToronError(message["message"])
    return Worker(path).execution_from(message, request)


def _answer_and_exit(function: Callable[..., Any], path: Path, fd: int, request: Request) -> None:
    """In the forked child: one execution, one answer, the end."""
    try:
        # A test runner has put its own streams here, and they may hold text of the parent's.
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        places = Places(Path.cwd())
        edge = Edge(places.of_frame, [Path.cwd(), path.parent])
        edge.install()
        edge.settle()
        asked = request.to_json(WALL_LIMIT_S)
        write_frame(fd, perform(asked, edge, places, function, options_of(function)))
    except BaseException as error:  # noqa: BLE001  (reported to the parent, then the process ends)
        write_frame(fd, {"kind": "error", "message": f"{type(error).__name__}: {error}"})
    os._exit(0)


def branches_of(count: int | None, numbers: str | None = None) -> list[int]:
    """The numbers of branches: the first ``count``, or those of a range ``A:B``."""
    if numbers is not None:
        if count is not None:
            raise BadKernel("--branches and --seeds exclude each other")
        wanted = parse_seed_range(numbers)
        if wanted[-1] > _branch.SALT_MAX:
            raise BadKernel(f"--seeds {numbers}: branches have numbers up to 2^53")
        return list(wanted)
    if count is None:
        raise BadKernel("--branches N is missing: how many times to fork the run")
    if count < 1:
        raise BadKernel(f"--branches {count} must be at least 1")
    return list(range(count))


def branch(
    function: Callable[..., Any] | KernelRef,
    *,
    seed: int,
    at: float,
    branches: int | Iterable[int] = 100,
    chaos_seed: int = 0,
    strategy: str = DEFAULT_STRATEGY,
    jobs: int = 1,
    on_branch: Callable[[int, Outcome], None] | None = None,
) -> _branch.Branching:
    """Fork a run at ``at`` virtual seconds; each copy goes on under its own number.

    ``branches`` is how many, or their numbers. Branch 0 is the run itself; in every other one all
    that chance decides from that moment on is new: schedule, network, the program's entropy, faults
    that have not begun.
    """
    reference = function if isinstance(function, KernelRef) else _reference_of(function)
    if reference is None:
        raise BadKernel(f"{function!r} does not stand in a file; only such kernels can be branched")
    salts = branches_of(branches) if isinstance(branches, int) else list(dict.fromkeys(branches))
    if not salts:
        raise BadKernel("branch(branches=[]): name at least one")
    base = Request(
        reference.name,
        parse_seed(seed, "seed"),
        parse_seed(chaos_seed, "chaos_seed"),
        strategy=check_strategy(strategy),
    )
    return _branch.branch(
        _worker(reference.path),
        base,
        _moment(at),
        [parse_seed(salt, "branches") for salt in salts],
        jobs=_at_least_one(jobs),
        on_branch=on_branch,
    )


def inevitable(
    function: Callable[..., Any] | KernelRef,
    *,
    seed: int,
    chaos_seed: int = 0,
    strategy: str = DEFAULT_STRATEGY,
    points: int = 12,
    branches: int = 20,
    jobs: int = 1,
    on_point: Callable[[_inevitable.Point], None] | None = None,
) -> _inevitable.Inevitability:
    """Of a run that fails: the failure rate of branches over time, and from when on all fail."""
    reference = function if isinstance(function, KernelRef) else _reference_of(function)
    if reference is None:
        raise BadKernel(f"{function!r} does not stand in a file; only such kernels can be branched")
    if points < 1 or branches < 1:
        raise BadKernel(f"--points {points} and --branches {branches} must both be at least 1")
    base = Request(
        reference.name,
        parse_seed(seed, "seed"),
        parse_seed(chaos_seed, "chaos_seed"),
        strategy=check_strategy(strategy),
    )
    return _inevitable.inevitable(
        _worker(reference.path),
        base,
        points=points,
        branches=branches,
        jobs=_at_least_one(jobs),
        on_point=on_point,
    )


def _moment(at: float) -> int:
    """A virtual time in whole nanoseconds; BadKernel for what is none."""
    if not 0 <= at < _SECONDS_MAX:
        raise BadKernel(f"--at {at!r} must be 0 or more virtual seconds")
    return to_ns(at)


def _at_least_one(jobs: int) -> int:
    if jobs < 1:
        raise BadKernel(f"--jobs {jobs} must be at least 1")
    return jobs


def explore(
    function: Callable[..., Any] | KernelRef,
    *,
    seeds: Iterable[int] | None = None,
    chaos_seed: int | None = None,
    jobs: int = 1,
    strategy: str = DEFAULT_STRATEGY,
    beyond: bool = False,
) -> _explore.Exploration:
    """Execute a kernel under many seeds; failures come grouped by cause.

    A ``chaos_seed`` that is named is kept; else the default strategy varies the plan of faults.
    ``beyond`` also searches what stock asyncio would not do, where the strategy can.
    """
    reference = function if isinstance(function, KernelRef) else _reference_of(function)
    if seeds is None:
        seeds = range(
            KernelOptions().seeds if isinstance(function, KernelRef) else options_of(function).seeds
        )
    checked = [parse_seed(seed, "seeds") for seed in seeds]
    varies = chaos_seed is None
    chaos_seed = parse_seed(chaos_seed or 0, "chaos_seed")
    if reference is not None:
        check_strategy(strategy, explores=True)
        search = _explore.Search(
            reference, checked, chaos_seed, _at_least_one(jobs), strategy, beyond, varies
        )
        exploration = _explore.explore(search)
        if exploration.failures:
            from toron.search.explain.labels import label_failures

            label_failures(exploration, reference)
        return exploration
    assert not isinstance(function, KernelRef)
    exploration = _explore.Exploration(function.__name__, chaos_seed, strategy)
    with exploration.timed():
        for seed in checked:
            outcome = run(function, seed=seed, chaos_seed=chaos_seed, strategy=strategy)
            exploration.add(outcome)
    return exploration


def verify(
    function: Callable[..., Any] | KernelRef,
    *,
    seeds: Iterable[int],
    chaos_seed: int = 0,
    jobs: int = 1,
    hash_seeds: _verify.HashSeeds = "varied",
    strategy: str = DEFAULT_STRATEGY,
) -> _verify.Verification:
    """Execute every seed in two processes and compare; see `toron verify`."""
    reference = function if isinstance(function, KernelRef) else _reference_of(function)
    if reference is None:
        raise BadKernel(f"{function!r} does not stand in a file; only such kernels can be verified")
    return _verify.verify(
        reference,
        [parse_seed(seed, "seeds") for seed in seeds],
        chaos_seed,
        jobs=jobs,
        hash_seeds=hash_seeds,
        strategy=check_strategy(strategy),
    )


class ReplayDiffers(ToronError):
    """A token was replayed and the behaviour is not the one it was made from.

    ``code_changed`` tells whether the program's files (or Python, or Toron) are others than then;
    if they are not, the program is not deterministic or a library below it has changed. ``outcome``
    is what happened now, and ``same_failure`` whether it fails as it did.
    """

    def __init__(
        self, message: str, execution: Execution, *, code_changed: bool, same_failure: bool
    ) -> None:
        super().__init__(message)
        self.execution = execution
        self.outcome = execution.outcome
        self.code_changed = code_changed
        self.same_failure = same_failure


def execute_token(token: Token, reference: KernelRef, *, level: str = "digest") -> Execution:
    """Execute what ``token`` stands for, once, and compare with nothing."""
    return execute(
        reference,
        seed=token.sim_seed,
        chaos_seed=token.chaos_seed,
        level=level,
        strategy=token.strategy,
        tape=token.tape,
        reseeds=token.reseeds,
    )


def replay(token: str) -> Outcome:
    """Execute again what ``token`` stands for; ReplayDiffers when it behaves otherwise now."""
    return replayed(token).outcome


def replayed(token: str, *, level: str = "digest") -> Execution:
    """`replay`, with what is kept of the trace at ``level``."""
    decoded = Token.decode(token)
    reference = decoded.kernel()
    execution = execute_token(decoded, reference, level=level)
    if not execution.outcome.trace_digest.startswith(decoded.digest):
        raise _difference(decoded, execution, _worker(reference.path).source)
    return execution


def _difference(token: Token, execution: Execution, source: str) -> ReplayDiffers:
    """What a replay with another digest means."""
    failure, cause = execution.outcome.failure, mark_of(execution.outcome.failure)
    changed = source != token.source or token.engine != ENGINE_VERSION
    same = bool(cause) and cause == token.cause
    if not changed:
        text = (
            "the replay behaves differently, and the code has not changed: a library has, or the "
            "program is not deterministic (see toron verify)"
        )
    elif same:
        text = "the code has changed since; the same failure still happens"
    elif failure is None:
        was = "it does not fail any more" if token.cause else "it behaves differently"
        text = f"the code has changed since; {was}"
    elif token.cause:
        text = f"the code has changed since; it fails with another cause now: {failure.cause}"
    else:
        text = f"the code has changed since; it fails now: {failure.cause}"
    return ReplayDiffers(text, execution, code_changed=changed, same_failure=same)


def shrink(failed: Outcome | str, *, budget: int = _shrink.BUDGET_RUNS, jobs: int = 1) -> Outcome:
    """The same failure in a run that deviates as little as possible from the harmless one.

    ``failed`` is a failing `Outcome` or its token; ``budget`` is in runs. The token of the result
    holds the deviations that are left; see `shrunk` for them as values.
    """
    return shrunk(failed, budget=budget, jobs=jobs).outcome


def shrunk(
    failed: Outcome | str, *, budget: int = _shrink.BUDGET_RUNS, jobs: int = 1
) -> _shrink.Shrunk:
    """`shrink`, with the deviations that are left and what it took."""
    if budget < 1 or jobs < 1:
        raise BadKernel(f"shrink(budget={budget}, jobs={jobs}): both must be at least 1")
    token = Token.decode(failed if isinstance(failed, str) else failed.token)
    from toron.search.explain.labels import label_outcome

    reference = token.kernel()
    result = _shrink.shrink(reference, token, budget=budget, jobs=jobs)
    if not result.interrupted:
        result.outcome = label_outcome(result.outcome, reference)
    return result


def told(run: str | Outcome) -> Story:
    """What a run did, event by event; of a replay that behaves otherwise now, what it did now."""
    from toron.search.traces.model import story_of  # a program under test has no use for it

    token = run if isinstance(run, str) else run.token
    try:
        return story_of(replayed(token, level="events"))
    except ReplayDiffers as differs:
        return story_of(
            differs.execution, differs=str(differs), is_unstable=not differs.code_changed
        )


def trace(
    run: str | Outcome,
    *,
    format: str = "text",  # noqa: A002  (as the option of the command is called)
    against: str | Outcome | None = None,
) -> str:
    """What a run did, by its token or outcome: ``text``, ``html``, ``perfetto`` or ``ndjson``.

    ``against`` is a second run: text and page then show where the two differ. The run is executed
    again; when it behaves otherwise now, the trace is of what happened now, and says so.
    """
    from toron.search.traces.formats import check_format, lines_of

    form = check_format(format, of_two=against is not None)
    other = told(against) if against is not None else None
    return "".join(f"{line}\n" for line in lines_of(told(run), form, against=other))


def explain(
    failed: Outcome | str, *, shrink: bool = True, script: Path | None = None
) -> Explanation:
    """Why the run of a token, or of an outcome, failed; see `toron explain`.

    ``script`` is where the program that fails on stock asyncio is written, where there can be one.
    """
    from toron.search.explain.explain import Wanted
    from toron.search.explain.explain import explain as explained

    token = Token.decode(failed if isinstance(failed, str) else failed.token)
    return explained(token, Wanted(shrinks=shrink, script=script))
