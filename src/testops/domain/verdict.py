"""What a judgement can be, and the exit code it becomes; reaching one belongs to `warroom`."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """One of four; `inconclusive` blocks like `fail`, because missing evidence is not evidence."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def blocks(self) -> bool:
        return self in (Verdict.FAIL, Verdict.INCONCLUSIVE)


# From the mildest to the one that decides.
_WEIGHT = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.INCONCLUSIVE: 2, Verdict.FAIL: 3}


def worst(verdicts: Iterable[Verdict], *, when_empty: Verdict = Verdict.INCONCLUSIVE) -> Verdict:
    """The verdict that decides: fail before inconclusive before warn before pass.

    Nothing judged is `inconclusive` unless the caller says otherwise.
    """
    return max(verdicts, key=_WEIGHT.__getitem__, default=when_empty)


class ExitCode(IntEnum):
    """What every command of ours answers to its shell."""

    HOLDS = 0
    FAILED = 1
    BAD_INPUT = 2
    NONDETERMINISM = 3
    INCONCLUSIVE = 4
    INTERNAL = 70
    INTERRUPTED = 130


# From the code that decides to the one that gives way: 2 > 3 > 1 > 4 > 0. An interruption or a bug
# of ours says that the judgement itself never came about, so both go before any judgement.
_DECIDES = (
    ExitCode.INTERRUPTED,
    ExitCode.INTERNAL,
    ExitCode.BAD_INPUT,
    ExitCode.NONDETERMINISM,
    ExitCode.FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.HOLDS,
)


def combine_exit(codes: Iterable[int]) -> ExitCode:
    """The one exit code of several; `HOLDS` when there is none."""
    return min((ExitCode(code) for code in codes), key=_DECIDES.index, default=ExitCode.HOLDS)


def exit_code_of(verdict: Verdict, *, strict: bool = False) -> ExitCode:
    """The exit code of a verdict on its own; `strict` makes a warning a failure."""
    match verdict:
        case Verdict.PASS:
            return ExitCode.HOLDS
        case Verdict.WARN:
            return ExitCode.FAILED if strict else ExitCode.HOLDS
        case Verdict.FAIL:
            return ExitCode.FAILED
        case Verdict.INCONCLUSIVE:
            return ExitCode.INCONCLUSIVE
