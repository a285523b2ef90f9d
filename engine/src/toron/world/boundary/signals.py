"""Signals of simulated processes: each host has its own table of handlers, none is ever real.

A handler of `signal.signal` runs on the main thread, as the next thing the event loop does; one of
`loop.add_signal_handler` runs on its loop. Where there is none, the signal's default applies: it
ends the process, SIGINT by cancelling what the host was started with, as `asyncio.run` does.
"""

from __future__ import annotations

import contextvars
import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from toron.core.clock import to_ns
from toron.core.loop import Shared
from toron.core.process import CURRENT, Process
from toron.errors import EscapeError
from toron.world.boundary.aliases import Stand, replace
from toron.world.network import Network

_IGNORED = (signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT)
_UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)


class _Active:
    network: Network | None = None
    shared: Shared | None = None
    at_import: dict[int, Any] = {}  # noqa: RUF012  (the table of the process that imports)


def begin(network: Network, shared: Shared) -> None:
    """Signals belong to the hosts of this run from now on."""
    _Active.network, _Active.shared = network, shared
    network.on_signal = deliver


def deliver(process: Process, number: int) -> None:
    """Let ``process`` receive a signal."""
    network, shared = _Active.network, _Active.shared
    assert network is not None
    assert shared is not None
    name = signal.Signals(number).name
    network.trace.add("signal", f"{process.name} {name}")
    handler = _handlers(process).get(number, signal.SIG_DFL)
    if isinstance(handler, tuple):
        loop, handle = handler
        loop.run_signal_handler(handle)
    elif handler == signal.SIG_IGN or (handler == signal.SIG_DFL and number in _IGNORED):
        return
    elif callable(handler) and handler is not signal.default_int_handler:
        context = contextvars.copy_context()
        context.run(CURRENT.set, process)
        shared.loops[0].call_soon(handler, number, None, context=context)
    else:
        _default(process, number, name)


def _default(process: Process, number: int, name: str) -> None:
    host: Any = process.host
    if host.name == "main":
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(f"{name} ended the kernel's own process, which has no handler for it")
    if number == signal.SIGINT:
        host.interrupt()
    else:
        host.kill()


def _handlers(process: Process | None) -> dict[int, Any]:
    return _Active.at_import if process is None else process.signals


def _must_be_main(call: str) -> None:
    shared = _Active.shared
    if shared is not None and shared.baton.current is not shared.baton.main:
        raise ValueError(f"{call} only works in main thread of the main interpreter")


def _known(process: Process | None, number: int) -> Any:
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    handler = _handlers(process).get(number, _Active.at_import.get(number, default))
    return signal.SIG_DFL if isinstance(handler, tuple) else handler


def install() -> None:
    """Replace what `signal` and `os.kill` do."""
    stands: dict[str, Callable[..., Any]] = {
        "signal": _set_handler,
        "getsignal": lambda number: _known(CURRENT.get(None), int(number)),
        "raise_signal": _raise_signal,
        "set_wakeup_fd": _set_wakeup_fd,
        "siginterrupt": lambda *_arguments: None,
        "alarm": _alarm,
    }
    for name in ("pause", "sigwait", "sigwaitinfo", "sigtimedwait", "setitimer", "pthread_kill"):
        stands[name] = _refusal(name)
    for name, stand in stands.items():
        replace(signal, name, Stand(getattr(signal, name), stand))
    real_kill = os.kill

    def kill(pid: int, number: int, /) -> None:
        if pid != os.getpid():
            real_kill(pid, number)  # refused by the audit hook
        elif number:
            _raise_signal(number)

    replace(os, "kill", Stand(real_kill, kill))


def _set_handler(number: int, handler: Any, /) -> Any:
    _must_be_main("signal")
    number = signal.Signals(number)  # ValueError for what is none
    if number in _UNCATCHABLE:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if not callable(handler) and handler not in (signal.SIG_IGN, signal.SIG_DFL):
        raise TypeError(
            "signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object"
        )
    process = CURRENT.get(None)
    previous = _known(process, number)
    _handlers(process)[int(number)] = handler
    return previous


def _raise_signal(number: int, /) -> None:
    process = CURRENT.get(None)
    if process is None:
        raise EscapeError("raise_signal() outside of any simulated host")
    handler = _known(process, int(number))
    registered = process.signals.get(int(number))
    if callable(handler) and not isinstance(registered, tuple):
        handler(int(number), sys._getframe(1))  # at once: the caller is the main thread
    else:
        process.deliver(int(number))


def _set_wakeup_fd(_fd: int, **_options: bool) -> int:
    _must_be_main("set_wakeup_fd")
    return -1


def _alarm(seconds: int, /) -> int:
    network, process = _Active.network, CURRENT.get(None)
    if network is None or process is None:
        raise EscapeError("signal.alarm() before the run began")
    owner = process

    def ring() -> None:
        if owner.alive:
            deliver(owner, signal.SIGALRM)

    if seconds:
        network.agenda.at(network.clock.now_ns + to_ns(seconds), ring)
    return 0


def _refusal(name: str) -> Callable[..., None]:
    def refuse(*_arguments: Any) -> None:
        raise EscapeError(f"signal.{name}() is not simulated; use loop.add_signal_handler")

    return refuse
