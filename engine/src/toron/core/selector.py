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
from toron.core.choices import ChoiceSource, shuffle
from toron.core.clock import SECOND_NS, Clock
from toron.core.foreign import library_on_stack, refusal
from toron.errors import Deadlock, EscapeError, LimitReached

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

    __slots__ = ("_objects", "_owners", "touched")

    def __init__(self) -> None:
        self._objects: dict[int, Pollable] = {}
        self._owners: dict[int, object] = {}
        self.touched: dict[int, None] = {}

    def add(self, fd: int, pollable: Pollable, owner: object) -> None:
        """Put ``pollable`` behind ``fd``, for the process ``owner``."""
        self._objects[fd] = pollable
        self._owners[fd] = owner

    def remove(self, fd: int) -> None:
        """Forget ``fd``, which is about to be closed."""
        self._objects.pop(fd, None)
        self._owners.pop(fd, None)
        self.touched.pop(fd, None)

    def remove_all_of(self, owner: object) -> None:
        """Forget the descriptors of a process that lost power: none is ever ready again."""
        for fd in [fd for fd, known in self._owners.items() if known is owner]:
            self.remove(fd)

    def get(self, fd: int) -> Pollable | None:
        """What stands behind ``fd``, or None when it is a descriptor of the real world."""
        return self._objects.get(fd)

    def touch(self, fd: int) -> None:
        """Say that the readiness of ``fd`` may have changed."""
        self.touched[fd] = None


class SimSelector(selectors.BaseSelector):
    """The selector of the simulated kernel."""

    def __init__(
        self,
        clock: Clock,
        agenda: Agenda,
        descriptors: Descriptors,
        choices: ChoiceSource,
        time_limit_ns: int,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._descriptors = descriptors
        self._choices = choices
        self._time_limit_ns = time_limit_ns
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.is_busy: Callable[[], bool] = _never
        """Whether the loop has something to run; what the world does by itself may start a task."""
        self.jumps = 0
        """How often time was advanced because nothing was ready."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a simulated descriptor; a real one is an escape, and is named."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is already registered")
        if self._descriptors.get(fd) is None:
            raise EscapeError(_why_refused(fileobj))
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._keys[fd] = key
        self._descriptors.touch(fd)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching; KeyError when it was not watched."""
        return self._keys.pop(self._fd_of(fileobj))

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch for other events."""
        fd = self._fd_of(fileobj)
        key = self._keys[fd]._replace(events=events, data=data)
        self._keys[fd] = key
        self._descriptors.touch(fd)
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

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready within ``timeout`` virtual seconds; see `select_until`."""
        deadline = None
        if timeout is not None:
            deadline = self._clock.now_ns + max(0, int(timeout * SECOND_NS))
        return self.select_until(deadline)

    def select_until(self, deadline_ns: int | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, in an order that the seed picks; advances time while nothing is.

        Raises Deadlock when nothing can ever become ready, LimitReached past the time limit.
        """
        clock, agenda = self._clock, self._agenda
        while True:
            agenda.run_due(clock.now_ns)
            ready = self._collect()
            if ready:
                if len(ready) > 1:
                    shuffle(self._choices, "schedule.io", ready)
                return ready
            if self.is_busy() or (deadline_ns is not None and deadline_ns <= clock.now_ns):
                return []
            next_ns = agenda.next_ns() if deadline_ns is None else agenda.first_ns()
            if deadline_ns is None:
                if next_ns is None:
                    raise Deadlock("nothing is ready, no timer is set and nothing is on the wire")
                wake_ns = next_ns
            else:
                wake_ns = deadline_ns if next_ns is None else min(deadline_ns, next_ns)
            if wake_ns > self._time_limit_ns:
                clock.advance_to(max(clock.now_ns, self._time_limit_ns))
                raise LimitReached(
                    f"the time limit of {self._time_limit_ns / SECOND_NS:g} virtual seconds "
                    "was reached before the kernel ended"
                )
            clock.advance_to(max(clock.now_ns, wake_ns))
            self.jumps += 1

    def _collect(self) -> list[tuple[selectors.SelectorKey, int]]:
        touched = self._descriptors.touched
        if not touched:
            return []
        ready: list[tuple[selectors.SelectorKey, int]] = []
        for fd in list(touched):
            key = self._keys.get(fd)
            pollable = self._descriptors.get(fd)
            mask = 0
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


def _never() -> bool:
    return False
