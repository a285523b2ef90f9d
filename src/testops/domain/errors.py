"""Every error that TestOps raises on purpose: one class for each different reaction of a caller."""

from collections.abc import Sequence
from dataclasses import dataclass


class TestOpsError(Exception):
    """The root. Its message is one line: what happened, to what, and what to do next."""

    __test__ = False  # the name begins with Test; pytest must not collect it


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a document; `pointer` (RFC 6901) says where in it, "" is all of it."""

    pointer: str
    problem: str
    fix: str = ""


class BadInput(TestOpsError):
    """What the caller gave cannot be used; nothing was done. Exit code 2.

    `where` is the file or field that is wrong, `fix` what to change; both are in the message, which
    stays one line. `faults` has every one that is known; `pointer` is the first one's, None where
    no document was read.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: str = "",
        fix: str = "",
        pointer: str | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.problem = _one_line(problem)
        self.where = _one_line(where)
        self.fix = _one_line(fix)
        if pointer is not None and not faults:
            faults = (Fault(pointer, self.problem, self.fix),)
        self.faults = tuple(faults)
        self.pointer = self.faults[0].pointer if self.faults else None
        head = f"{self.where}: {self.problem}" if where else self.problem
        super().__init__(f"{head}; {self.fix}" if fix else head)


class IllegalMove(BadInput):
    """What was asked for does not follow from the state that something is in. Exit code 2.

    The document may be right and the moment wrong: a server answers 409 and not 422.
    """


class OutputNotWritable(TestOpsError):
    """A result could not be stored (disk full, no permission), so nothing is known. Exit code 4."""

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        self.problem = _one_line(problem)
        self.where = _one_line(where)
        self.fix = _one_line(fix or "free space or permit writing there, then run again")
        head = f"{self.where}: {self.problem}" if where else self.problem
        super().__init__(f"{head}; {self.fix}")


class StoreUnavailable(TestOpsError):
    """The database, or the server in front of it, does not answer. Exit code 4.

    Whether the last change was made is unknown: what is asked again must be harmless when it was.
    """


class InternalError(TestOpsError):
    """A bug of ours. Exit code 70."""


def _one_line(text: str) -> str:
    return " ".join(text.split())
