"""The process in which kernels run: imports the program once, forks a clean copy per execution.

The parent half only waits: between two forks it allocates nothing that stays, so that every child
starts from the same heap and even containers ordered by address come out alike. The request itself
is read by the child. Nothing here is imported by the program under test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import astuple
from fcntl import ioctl
from pathlib import Path
from termios import FIONREAD
from typing import Any

from toron.core.places import Places
from toron.errors import BadKernel, ToronError
from toron.search.execute import Run, Setup
from toron.search.forks import Copies, Forks
from toron.search.frames import read_frame, write_frame
from toron.search.rare import SEEN, SEEN_AT, RareForks
from toron.search.references import (
    KernelOptions,
    find_kernel,
    kernel_names,
    load_module,
    options_of,
)
from toron.search.strategies import DEFAULT_STRATEGY
from toron.search.watchdog import watch
from toron.world.boundary.edge import Edge
from toron.world.world import prepare_draws

REQUESTS = 0
GO = b"G"
_PR_SET_PDEATHSIG = 1
_STDERR_MAX = 16_384


def main(arguments: list[str]) -> int:
    """``worker ANSWERS_FD STUCK_FD FILE ROOT [READABLE...]``: serve until the requests end."""
    answers, stuck, path, root = (
        int(arguments[0]),
        int(arguments[1]),
        Path(arguments[2]),
        Path(arguments[3]),
    )
    _die_with_parent()
    _die_first()
    os.dup2(2, 1)  # what the program prints must not meet anybody's JSON
    places = Places(root)
    project = [] if root == Path(root.anchor) else [root]  # from `/`, everything would be readable
    edge = Edge(places.of_frame, [*project, path.parent, *map(Path, arguments[4:])])
    edge.install()
    try:
        module = load_module(path)
        names = kernel_names(module)
        prepare_draws()
    except BadKernel as error:
        write_frame(answers, {"kind": "refused", "message": str(error)})
        return 2
    plain = {name: options_of(getattr(module, name)).seeds for name in names}
    sources = [str(path), *_imported(places)]
    write_frame(answers, {"kind": "ready", "kernels": plain, "sources": sources})
    edge.settle()
    _serve(answers, stuck, edge, places, module, path)
    return 0


def _imported(places: Places) -> list[str]:
    """The files of the project that the program has imported."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return sorted({file for file in files if isinstance(file, str) and places.is_program(file)})


def _serve(answers: int, stuck: int, edge: Edge, places: Places, module: Any, path: Path) -> None:
    _wait_for(os.fork() or os._exit(0))  # the first fork warms what forking itself allocates
    while os.read(REQUESTS, 1) == GO:
        child = os.fork()
        if child == 0:
            _child(answers, stuck, edge, places, module, path)
        status = _wait_for(child)
        unread = _unread() if status else 0
        write_frame(answers, {"kind": "end", "status": status, "unread": unread})


def _wait_for(child: int) -> int:
    return os.waitpid(child, 0)[1]


def _unread() -> int:
    """How much of its request a dead execution has left behind."""
    return int.from_bytes(ioctl(REQUESTS, FIONREAD, bytes(4)), sys.byteorder)


def _child(answers: int, stuck: int, edge: Edge, places: Places, module: Any, path: Path) -> None:
    """Read one request, execute it, answer, and leave without any clean-up."""
    try:
        _die_with_parent()
        request = read_frame(REQUESTS)
        watch(stuck, request["wall_limit_s"])
        try:
            kernel = find_kernel(module, path, request["name"])
        except BadKernel as error:
            write_frame(answers, {"kind": "refused", "message": str(error)})
        else:
            forks = _forks(request, answers, stuck)
            answer = perform(request, edge, places, kernel, options_of(kernel), forks)
            write_frame(answers, {**answer, "states": SEEN.get(SEEN_AT)})
    except BaseException:  # noqa: BLE001  (the last line of defence: reported, then the process ends)
        message = {"kind": "error", "message": traceback.format_exc(limit=20)}
        edge.end()
        write_frame(answers, message)
    os._exit(0)


def _forks(request: dict[str, Any], answers: int, stuck: int) -> Forks | RareForks | None:
    """How the execution is to be forked, if it is."""
    plan = request.get("forks")
    if plan is None:
        return None
    copies = Copies(stuck, request["wall_limit_s"], _die_with_parent)
    if "energy" in plan:
        return RareForks(SEEN, plan["energy"], plan["fanout"], answers, copies)
    points = [(at_ns, salts) for at_ns, salts in plan["points"]]
    return Forks(points, plan["jobs"], answers, plan["goes_on"], copies)


def perform(
    request: dict[str, Any],
    edge: Edge,
    places: Places,
    kernel: Callable[..., Any],
    options: KernelOptions,
    forks: Forks | RareForks | None = None,
) -> dict[str, Any]:
    """Execute ``request`` in this process, which can run nothing else afterwards."""
    captured = os.memfd_create("toron-stderr")
    os.dup2(captured, 1)
    os.dup2(captured, 2)
    setup = Setup(
        kernel=kernel,
        name=getattr(kernel, "__name__", type(kernel).__name__),
        sim_seed=request["sim_seed"],
        chaos_seed=request["chaos_seed"],
        time_limit_s=request.get("time_limit_s") or options.time_limit,
        level=request.get("level", "digest"),
        strategy=request.get("strategy", DEFAULT_STRATEGY),
        tape=_tape(request.get("tape")),
        records_tape=request.get("records_tape", False),
        surveys=request.get("surveys", False),
        reseeds=tuple((at_ns, salt) for at_ns, salt in request.get("reseeds", ())),
        forks=forks is not None,
    )
    run = Run(setup, edge, places)
    if forks is not None:
        forks.attach(run)
    outcome = run.execute()
    sys.stdout.flush()
    sys.stderr.flush()
    return {
        "kind": "outcome",
        "reseeds": run.reseeds,
        "outcome": outcome.to_json(),
        "events": [event.to_json() for event in run.trace.events],
        "count": run.trace.count,
        "tail": run.trace.last_lines(),
        "stderr": _tail_of(captured),
        "tape": run.deviations,
        "wakes": [] if run.wakes is None else [astuple(wake) for wake in run.wakes.notes],
        "stalls": [] if run.wakes is None else [astuple(stall) for stall in run.wakes.stalls],
        "offers": run.offers,
        "cancelled": list(run.shared.cancelled),
        "expiries": run.shared.expiries,
    }


def _tape(deviations: list[list[Any]] | None) -> tuple[tuple[str, int], ...] | None:
    return None if deviations is None else tuple((key, value) for key, value in deviations)


def _tail_of(fd: int) -> str:
    size = os.lseek(fd, 0, os.SEEK_END)
    os.lseek(fd, max(0, size - _STDERR_MAX), os.SEEK_SET)
    return os.read(fd, _STDERR_MAX).decode("utf-8", "replace")


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise ToronError("prctl(PR_SET_PDEATHSIG) failed; a killed run could leave processes")


def _die_first() -> None:
    """When the machine runs out of memory, an execution is what it should kill: it is reported."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Not `sys.exit`: C code that runs when an interpreter ends would call what Toron has put behind
    # C functions, which is gone by then.
    os._exit(code)
