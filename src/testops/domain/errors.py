"""Every error that TestOps raises on purpose: one class for each different reaction of a caller."""


class TestOpsError(Exception):
    """The root. Its message is one line: what happened, to what, and what to do next."""

    __test__ = False  # the name begins with Test; pytest must not collect it


class BadInput(TestOpsError):
    """What the caller gave cannot be used; nothing was done. Exit code 2.

    `where` is the file or field that is wrong, `fix` what to change; both are in the message.
    """

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        self.problem = _one_line(problem)
        self.where = _one_line(where)
        self.fix = _one_line(fix)
        head = f"{self.where}: {self.problem}" if where else self.problem
        super().__init__(f"{head}; {self.fix}" if fix else head)


class OutputNotWritable(TestOpsError):
    """A result could not be stored (disk full, no permission), so nothing is known. Exit code 4."""

    def __init__(self, problem: str, *, where: str = "", fix: str = "") -> None:
        self.problem = _one_line(problem)
        self.where = _one_line(where)
        self.fix = _one_line(fix or "free space or permit writing there, then run again")
        head = f"{self.where}: {self.problem}" if where else self.problem
        super().__init__(f"{head}; {self.fix}")


class InternalError(TestOpsError):
    """A bug of ours. Exit code 70."""


def _one_line(text: str) -> str:
    return " ".join(text.split())
