"""Every error Toron raises, one class for each different reaction of the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar


class ToronError(Exception):
    """Root of what Toron raises on purpose."""


class BadKernel(ToronError):
    """What was asked for cannot be run: a missing file, an unknown name, a bad seed or token.

    The message names the thing and the fix. The command line exits with 2.
    """


class EscapeError(ToronError, OSError):
    """The program reached for the real world; Toron refused, and names what and where.

    It is an ``OSError``, because that is what a program expects of a socket or a file that it may
    not have. Swallowing it does not help: the run is failed with kind ``escape`` all the same,
    because making one tells the boundary, whoever makes it.
    """

    noticed: ClassVar[Callable[[str], object] | None] = None
    """Told of every refusal; set by the boundary while a run goes on."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        if EscapeError.noticed is not None:
            EscapeError.noticed(message)


class WorkerDied(ToronError):
    """A worker process ended without an answer: killed, crashed in C, or over its wall limit."""


class StopRun(BaseException):
    """Root of what ends a run from inside the loop; no ``except Exception`` catches it."""


class Deadlock(StopRun):
    """Nothing is ready, no timer is set, nothing is on the wire: the run can never go on."""


class Livelock(StopRun):
    """The program takes step after step and never waits for anything."""


class LimitReached(StopRun):
    """A bound of the run was reached before the kernel ended; the run is inconclusive."""


class PropertyFailed(StopRun):
    """A property that must hold does not."""

    def __init__(self, name: str, message: str, where: str) -> None:
        super().__init__(message)
        self.name = name
        self.where = where


class RunRejected(StopRun):
    """The data that were drawn are none that the kernel wants: the run ends and says nothing."""
