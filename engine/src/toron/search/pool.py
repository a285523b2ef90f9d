"""Starts worker processes, asks them for executions and survives whatever they do.

A worker is a fresh interpreter with a fixed hash seed and, where the system allows it, without
address randomisation; `verify` also starts some with another hash seed and random addresses. A
worker that dies or hangs is an answer (kind ``crash`` or ``limit``), never a wait without end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from toron.core.wakes import Stall, Wake
from toron.errors import BadKernel, ToronError, WorkerDied
from toron.search import clusters, watchdog
from toron.search.frames import FrameCut, frame_of, read_frame
from toron.search.outcome import Execution, Failure, Outcome, TraceEvent
from toron.search.references import make_token, project_root, source_digest
from toron.search.strategies import DEFAULT_STRATEGY
from toron.search.worker import GO

ADDR_NO_RANDOMIZE = 0x0040000
_PERSONALITY_QUERY = 0xFFFFFFFF
START_LIMIT_S = 60.0
WALL_LIMIT_S = 120.0
_MARGIN_S = 10.0
_ENVIRONMENT = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
    "VIRTUAL_ENV",
)
"""All of the environment that reaches a program under test: no result may depend on the rest."""
_STARTS_FAILED_MAX = 2
_spawning = threading.Lock()
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="toron-spawner")
"""Lives as long as this process. `PR_SET_PDEATHSIG` means the thread that forked, not its process:
a worker started by a thread of `in_parallel` would be killed when that has no more to do."""
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which interpreter conditions a worker runs."""

    hash_seed: int = 0
    random_addresses: bool = False


FIXED = Conditions()


@dataclass(frozen=True, slots=True)
class Request:
    """One execution to ask for."""

    name: str
    sim_seed: int
    chaos_seed: int
    level: str = "digest"
    time_limit_s: float | None = None
    strategy: str = DEFAULT_STRATEGY
    tape: tuple[tuple[str, int], ...] | None = None
    """Deviations from the harmless run; None: the strategy and the seeds choose."""
    records_tape: bool = False
    """Whether the execution comes with its deviations."""
    surveys: bool = False
    """Whether the execution of a tape says where it could have deviated."""
    reseeds: tuple[tuple[int, int], ...] = ()
    """When (virtual ns) the run goes on under which salt: a branch, from the start."""

    def to_json(self, wall_limit_s: float) -> dict[str, Any]:
        """What a worker is sent."""
        return {**asdict(self), "wall_limit_s": wall_limit_s}


class Worker:
    """One worker process for one kernel file. Use as a context manager."""

    def __init__(
        self,
        path: Path,
        conditions: Conditions = FIXED,
        *,
        wall_limit_s: float = WALL_LIMIT_S,
        readable: Sequence[Path] = (),
    ) -> None:
        self.path = path.resolve()
        self.conditions = conditions
        self.wall_limit_s = wall_limit_s
        self._readable = [str(folder) for folder in readable]
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = self._stuck = -1
        self._closed = False
        self._stopping = threading.Lock()
        self._starts_failed = 0
        self._sent = 0
        """Bytes of the last request; the system writes `PIPE_BUF` of them at once or not at all."""
        self.kernels: dict[str, int] = {}
        self._sources: dict[Path, tuple[int, int]] = {}
        self._source = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The number of its process, while there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and import the program; BadKernel when it does not import."""
        answers, write_end = os.pipe()
        command = [sys.executable, "-P", "-X", "utf8", "-m", "toron.search.worker"]
        stuck = watchdog.report_file()
        command += [str(write_end), str(stuck), str(self.path), str(self.root)]
        command += self._readable
        with _spawning:
            if self._closed:
                os.close(answers)
                os.close(write_end)
                os.close(stuck)
                raise WorkerDied(f"the worker for {self.path} was closed")
            process = _spawner.submit(self._spawn, command, [write_end, stuck]).result()
            self._answers, self._stuck, self._process = answers, stuck, process
        os.close(write_end)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a worker that reads nothing is no hang
        try:
            message = self._read(time.monotonic() + START_LIMIT_S)
        except EOFError as error:
            self.stop()
            raise WorkerDied(f"the worker for {self.path} died while it started") from error
        except TimeoutError as error:
            self.stop()
            raise WorkerDied(f"importing {self.path} took more than {START_LIMIT_S:g} s") from error
        if message["kind"] == "refused":
            self.stop()
            raise BadKernel(message["message"])
        self.kernels = message["kernels"]
        files = [Path(file) for file in message["sources"] if Path(file).is_file()]
        self._sources = {file: _stamp(file) for file in files}
        self._source = source_digest(self._sources)

    @property
    def source(self) -> str:
        """A digest of the program's files as they were imported."""
        if not self._source and self.path.is_file():
            self._source = source_digest([self.path])
        return self._source

    def is_outdated(self) -> bool:
        """Whether the program was edited since it was imported."""
        return any(
            not file.is_file() or _stamp(file) != stamp for file, stamp in self._sources.items()
        )

    def _spawn(self, command: list[str], inherited: list[int]) -> subprocess.Popen[bytes]:
        """In the thread that starts all workers: the system kills a worker with its thread."""
        with _addresses(self.conditions.random_addresses):
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=None,
                pass_fds=inherited,
                env=self._environment(),
                start_new_session=True,
            )

    @property
    def root(self) -> Path:
        """What file names in results are relative to."""
        working = Path.cwd().resolve()
        return working if self.path.is_relative_to(working) else project_root(self.path)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        home = str(Path(__file__).resolve().parents[2])
        paths = [home, *filter(None, [kept.get("PYTHONPATH")])]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONHASHSEED": str(self.conditions.hash_seed),
            "TZ": "UTC",
        }

    def close(self) -> None:
        """Stop, and start never again: another thread may be about to."""
        with _spawning:
            self._closed = True
        self.stop()

    def stop(self) -> None:
        """End the process and everything that it forked."""
        with self._stopping:
            process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        os.close(self._answers)
        os.close(self._stuck)

    def _read(self, deadline: float) -> dict[str, Any]:
        answers = self._answers
        return read_frame(answers, lambda: _await(answers, select.POLLIN, deadline))

    def _send(self, stdin: int, asked: dict[str, Any], deadline: float) -> None:
        view = memoryview(GO + frame_of(asked))
        self._sent = len(view)
        while view:
            try:
                view = view[os.write(stdin, view) :]
            except BlockingIOError:
                _await(stdin, select.POLLOUT, deadline)

    def execute(self, request: Request, *, forgives: bool = True) -> Execution:
        """Run one execution in a fork of the clean process; BadKernel for an unknown name.

        A process that died is tried once more: the machine may have killed it. What dies twice
        dies by itself, and comes back as kind ``crash``; so does, unless this ``forgives``, what
        died once, because a crash in C that comes and goes is found in no other way.
        """
        execution = self._attempt_or_say(request)
        if not _died(execution):
            return execution
        again = self._attempt_or_say(request)
        if forgives or _died(again):
            return again
        assert execution.outcome.failure is not None
        text = f"{execution.outcome.failure.message}; a second try: {again.outcome.verdict}"
        return self.cut_short(request, "crash", text)

    def _attempt_or_say(self, request: Request) -> Execution:
        """`_attempt`, with a process that does not start as an answer too.

        After the second that did not, none is started again: each may take its whole time limit.
        """
        if self._starts_failed >= _STARTS_FAILED_MAX:
            text = f"the worker for {self.path} did not start, {self._starts_failed} times"
            return self.cut_short(request, "crash", text)
        try:
            return self._attempt(request)
        except WorkerDied as died:
            if self._closed:
                raise
            return self.cut_short(request, "crash", str(died))

    def _attempt(self, request: Request) -> Execution:
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            self._starts_failed += 1
            self.start()
            self._starts_failed = 0
        try:
            answer, end = self._ask(request)
        except TimeoutError:
            place = watchdog.stuck_at(self._stuck)
            self.stop()
            text = f"no answer within {self.wall_limit_s:g} s of real time; the process was killed"
            if place:
                text += f"; it was stuck at {place}, in C code or in a loop that never waits"
            return self.cut_short(request, "limit", text)
        except (EOFError, BrokenPipeError) as error:
            self.stop()
            is_cut = isinstance(error, FrameCut)
            who = "process of this execution died while it answered" if is_cut else "worker died"
            return self.cut_short(request, "crash", f"the {who}")
        if answer is None:
            if end["unread"] or self._sent > select.PIPE_BUF:
                self.stop()  # the request is half read: what is left in the pipe is no request
            return self.cut_short(request, "crash", death_of(end["status"]))
        if answer["kind"] == "refused":
            raise BadKernel(answer["message"])
        if answer["kind"] == "error":
            raise ToronError(f"Toron failed inside the worker:\n{answer['message']}")
        return self.execution_from(answer, request)

    def converse(self, request: Request, forks: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Execute ``request`` and fork it as ``forks`` says: what comes back, ``end`` the last.

        Each message must come within the time that one execution may take. TimeoutError when none
        does, EOFError when the worker died: it is stopped then, and starts anew when it is asked.
        """
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self.start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            asked = {**request.to_json(self.wall_limit_s), "forks": forks}
            self._send(process.stdin.fileno(), asked, time.monotonic() + self.wall_limit_s)
            message: dict[str, Any] = {"kind": ""}
            while message["kind"] != "end":
                message = self._read(time.monotonic() + self.wall_limit_s + _MARGIN_S)
                yield message
        except BrokenPipeError as error:
            self.stop()
            raise EOFError("the worker process died") from error
        except BaseException:  # also a reader that wants no more: the rest would be in the way
            self.stop()
            raise

    def _ask(self, request: Request) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """The answer of one execution, if it gave one, and how its process ended."""
        process, deadline = self._process, time.monotonic() + self.wall_limit_s
        assert process is not None
        assert process.stdin is not None
        self._send(process.stdin.fileno(), request.to_json(self.wall_limit_s), deadline)
        answer: dict[str, Any] | None = None
        message = self._read(deadline)
        while message["kind"] != "end":
            answer = message
            message = self._read(deadline)
        return answer, message

    def execution_from(self, answer: dict[str, Any], request: Request) -> Execution:
        """An answer as a value, with the token that replays it."""
        data = answer["outcome"]
        outcome = Outcome.from_json(data)
        mark = clusters.mark_of(outcome.failure)
        request = replace(request, name=outcome.kernel)
        token = self._token(request, outcome.trace_digest, mark)
        return Execution(
            outcome=replace(outcome, token=token),
            events=[TraceEvent(*event) for event in answer["events"]],
            tail=answer["tail"],
            stderr=answer["stderr"],
            count=answer["count"],
            tape=[(key, value) for key, value in answer["tape"]],
            wakes=[Wake(*wake) for wake in answer["wakes"]],
            stalls=[Stall(*stall) for stall in answer["stalls"]],
            offers=[(key, most) for key, most in answer["offers"]],
            cancelled=answer["cancelled"],
            expiries=[(point, value, due_ns) for point, value, due_ns in answer["expiries"]],
            states=answer.get("states", 0),
        )

    def _token(self, request: Request, digest: str, cause: str = "") -> str:
        return make_token(
            self.path,
            request.name,
            request.sim_seed,
            request.chaos_seed,
            digest,
            source=self.source,
            strategy=request.strategy,
            tape=request.tape,
            cause=cause,
            reseeds=request.reseeds,
        )

    def cut_short(self, request: Request, kind: Any, text: str) -> Execution:
        """The outcome of an execution that was killed or died."""
        token = self._token(request, "")
        outcome = Outcome(
            kernel=request.name,
            sim_seed=request.sim_seed,
            chaos_seed=request.chaos_seed,
            verdict="inconclusive",
            trace_digest="",
            outputs={},
            properties={},
            failure=Failure(kind, text, 0, "", cause=f"{kind} {clusters.template(text)}"),
            steps=0,
            virtual_ns=0,
            token=token,
            strategy=request.strategy,
        )
        return Execution(outcome, [], [], "")


def _stamp(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_mtime_ns, state.st_size


def _await(fd: int, event: int, deadline: float) -> None:
    """Wait until ``fd`` is ready or its other side is gone; TimeoutError at the deadline."""
    # Not `select`: in a large test session descriptors go beyond what it can hold.
    poll = select.poll()
    poll.register(fd, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
        raise TimeoutError


def _died(execution: Execution) -> bool:
    failure = execution.outcome.failure
    return execution.outcome.was_cut_short and failure is not None and failure.kind == "crash"


def death_of(status: int) -> str:
    """How a process ended that should have answered."""
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return f"the process of this execution was killed by {name}"
    code = os.waitstatus_to_exitcode(status)
    return f"the process of this execution ended by itself with exit code {code} (os._exit?)"


@contextlib.contextmanager
def _addresses(random: bool) -> Iterator[None]:
    """Start processes without address randomisation, where the system allows it.

    The setting is inherited, so it is made here and taken back; inside a container a seccomp
    filter may forbid it, and `verify` then finds what moves.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = libc.personality(_PERSONALITY_QUERY)
    if before == -1:
        yield
        return
    wanted = before & ~ADDR_NO_RANDOMIZE if random else before | ADDR_NO_RANDOMIZE
    libc.personality(wanted)
    try:
        yield
    finally:
        libc.personality(before)


def in_parallel(
    items: Sequence[_T],
    work: Callable[[_T, int], _R],
    *,
    jobs: int,
) -> Iterator[_R]:
    """``work(item, lane)`` for each item on ``jobs`` threads, results in the order of the items.

    Two items never share a lane at one time, so a lane may own a worker process.
    """
    lanes = list(range(max(1, jobs)))
    free = threading.Condition()

    def on_lane(item: _T) -> _R:
        with free:
            lane = lanes.pop()
        try:
            return work(item, lane)
        finally:
            with free:
                lanes.append(lane)

    threads = ThreadPoolExecutor(max_workers=max(1, jobs))
    pending: dict[Future[_R], int] = {}
    done: dict[int, _R] = {}
    position, next_out = 0, 0
    try:
        while position < len(items) or pending:
            while position < len(items) and len(pending) < 2 * max(1, jobs):
                pending[threads.submit(on_lane, items[position])] = position
                position += 1
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                done[pending.pop(future)] = future.result()
            while next_out in done:
                yield done.pop(next_out)
                next_out += 1
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
