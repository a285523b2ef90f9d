"""Stands where the loop expects the operating system's selector: knows who is ready, moves time.

Readiness is level-triggered, as epoll's default: a descriptor stays ready until it is drained. The
objects behind descriptors announce changes with `touch`, so that a poll looks at what may have
changed and not at every registered descriptor.
"""

from __future__ import annotations

import selectors
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from toron.core.agenda import Agenda
from toron.core.baton import Baton
from toron.core.choices import ChoiceSource
from toron.core.clock import SECOND_NS, Clock
from toron.core.foreign import library_on_stack, refusal
from toron.core.process import Process
from toron.errors import EscapeError

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Pollable(Protocol):
    """What stands behind a simulated descriptor."""

    def readable(self) -> bool:
        """Whether a read would not block now."""
        ...

    def writable(self) -> bool:
        """Whether a write would not block now."""
        ...

    def process_ended(self) -> None:
        """The process that holds it ends: what the system does then."""
        ...


def _name(fileobj: Any) -> str:
    # Not its number, which depends on what the parent process had open.
    return "a descriptor" if isinstance(fileobj, int) else f"the {type(fileobj).__qualname__}"


def _why_refused(fileobj: Any) -> str:
    watching = f"watching {_name(fileobj)} of the real world"
    library = library_on_stack(sys._getframe(1))
    if library is not None:
        return refusal(library, watching)
    return f"{watching}; the library behind it does its own I/O in C, which Toron cannot simulate"


class Descriptors:
    """The table of simulated descriptors, and which of them may have become ready."""

    __slots__ = ("_objects", "_owners", "_polled", "_watchers")

    def __init__(self) -> None:
        self._objects: dict[int, Pollable] = {}
        self._owners: dict[int, Process] = {}
        self._polled: dict[int, None] = {}
        self._watchers: list[dict[int, None]] = []

    def watch(self) -> dict[int, None]:
        """A set, in order, that is told of every descriptor whose readiness may have changed."""
        touched: dict[int, None] = {}
        self._watchers.append(touched)
        return touched

    def unwatch(self, touched: dict[int, None]) -> None:
        """Tell it no more."""
        self._watchers = [known for known in self._watchers if known is not touched]

    def add(self, fd: int, pollable: Pollable, owner: Process, *, is_polled: bool = False) -> None:
        """Put ``pollable`` behind ``fd``, for the process ``owner``.

        One that cannot announce its changes ``is_polled``: looked at whenever anybody looks.
        """
        if is_polled:
            self._polled[fd] = None
        self._objects[fd] = pollable
        self._owners[fd] = owner

    def remove(self, fd: int) -> None:
        """Forget ``fd``, which is about to be closed."""
        self._objects.pop(fd, None)
        self._owners.pop(fd, None)
        self._polled.pop(fd, None)
        for touched in self._watchers:
            touched.pop(fd, None)

    def owned_by(self, owner: Process) -> list[Pollable]:
        """What stands behind the descriptors of a process, in the order in which they were made."""
        return [self._objects[fd] for fd, known in self._owners.items() if known is owner]

    def is_paused(self, fd: int) -> bool:
        """Whether the process that has ``fd`` is stopped and cannot take what is ready."""
        owner = self._owners.get(fd)
        return owner is not None and owner.paused

    def remove_all_of(self, owner: Process) -> None:
        """Forget the descriptors of a process that lost power: none is ever ready again."""
        for fd in [fd for fd, known in self._owners.items() if known is owner]:
            self.remove(fd)

    def get(self, fd: int) -> Pollable | None:
        """What stands behind ``fd``, or None when it is a descriptor of the real world."""
        return self._objects.get(fd)

    @property
    def polled(self) -> dict[int, None]:
        """The descriptors whose changes nobody announces."""
        return self._polled

    def touch(self, fd: int) -> None:
        """Say that the readiness of ``fd`` may have changed."""
        for touched in self._watchers:
            touched[fd] = None


class SimSelector(selectors.BaseSelector):
    """The selector of the simulated kernel."""

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        descriptors: Descriptors,
        choices: ChoiceSource,
        baton: Baton,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._descriptors = descriptors
        self._choices = choices
        self._baton = baton
        self._touched = descriptors.watch()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.is_busy: Callable[[], bool] = _never
        """Whether the loop has something to run; what the world does by itself may start a task."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a simulated descriptor; a real one is an escape, and is named."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is already registered")
        if self._descriptors.get(fd) is None:
            raise EscapeError(_why_refused(fileobj))
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._touched[fd] = None
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching; KeyError when it was not watched."""
        return self._keys.pop(self._fd_of(fileobj))

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch for other events."""
        fd = self._fd_of(fileobj)
        key = self._keys[fd]._replace(events=events, data=data)
        self._keys[fd] = key
        self._touched[fd] = None
        return key

    def _fd_of(self, fileobj: Any) -> int:
        fd: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd >= 0:
            return fd
        # A socket closed before it was unregistered: the standard selectors search for it too.
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key.fd
        raise KeyError(f"{fileobj!r} is not registered")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The registered descriptors."""
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """The key of a registered object; KeyError otherwise."""
        return self._keys[self._fd_of(fileobj)]

    def close(self) -> None:
        """Forget everything."""
        self._keys.clear()
        self._descriptors.unwatch(self._touched)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready within ``timeout`` virtual seconds; see `select_until`."""
        deadline = None
        if timeout is not None:
            deadline = self._clock.now_ns + max(0, int(timeout * SECOND_NS))
        return self.select_until(deadline)

    def select_until(self, deadline_ns: int | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, in an order that the seed picks; time goes on while nothing is.

        Raises Deadlock when nothing can ever become ready, LimitReached past the time limit.
        """
        clock, agenda, baton = self._clock, self._agenda, self._baton
        if clock.now_ns > baton.turns.next_ns:
            baton.turns.reach(clock.now_ns)
        if len(baton.threads) > 1:
            baton.yield_point()
        while True:
            agenda.run_due(clock.now_ns)
            ready = self._collect()
            if ready:
                if len(ready) > 1:
                    order = self._choices.order("schedule.io", ready, _descriptor)
                    return ready if order is None else [ready[position] for position in order]
                return ready
            if self.is_busy() or (deadline_ns is not None and deadline_ns <= clock.now_ns):
                return []
            baton.wait(self._has_news, deadline_ns, "its event loop has something to do")

    def has_ready(self) -> bool:
        """Whether a poll would return at once with a descriptor."""
        return bool(self._collect())

    def _has_news(self) -> bool:
        return self.is_busy() or bool(self._collect())

    def _collect(self) -> list[tuple[selectors.SelectorKey, int]]:
        touched = self._touched
        if self._descriptors.polled:
            touched.update(self._descriptors.polled)
        if not touched:
            return []
        ready: list[tuple[selectors.SelectorKey, int]] = []
        for fd in list(touched):
            key = self._keys.get(fd)
            pollable = self._descriptors.get(fd)
            mask = 0
            if self._descriptors.is_paused(fd):
                continue
            if key is not None and pollable is not None:
                if key.events & READ and pollable.readable():
                    mask |= READ
                if key.events & WRITE and pollable.writable():
                    mask |= WRITE
            if mask:
                assert key is not None
                ready.append((key, mask))
            else:
                del touched[fd]
        return ready


def _descriptor(ready: tuple[selectors.SelectorKey, int]) -> str:
    return f"fd{ready[0].fd}"


def _never() -> bool:
    return False
