"""One test as its runner told it: the shape that JUnit, CTRF and our own stages are turned into.

How a file spells it belongs to `reports.formats`; whether it is flaky over many runs to
`reports.flaky`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

# What one test may say; a report of ten thousand talkative tests must still open.
MESSAGE_MAX = 2_000
DETAIL_MAX = 20_000
OUTPUT_MAX = 20_000


class Outcome(StrEnum):
    """How a test ended. An `error` is outside of its body: a fixture, or an import."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the code; a skipped test says nothing at all."""
        return self in (Outcome.PASSED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Try:
    """An earlier try of a test that was then repeated."""

    outcome: Outcome
    message: str = ""
    duration_s: float | None = None
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return _without_nothing(
            {
                "outcome": self.outcome.value,
                "message": self.message,
                "duration_s": self.duration_s,
                "detail": self.detail,
            }
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Try":
        return cls(
            Outcome(body["outcome"]),
            body.get("message", ""),
            body.get("duration_s"),
            body.get("detail", ""),
        )


@dataclass(frozen=True, slots=True)
class TestCase:
    """One test of one run.

    `name` is unique in its `suite`, `group` is the class or module that JUnit calls `classname`,
    `said` the word of its runner where that is finer than ours (`xfailed`). `outcome` is that of
    the last try; `tries` are those before it, oldest first.
    """

    __test__ = False  # the name begins with Test; pytest must not collect it

    name: str
    outcome: Outcome
    suite: str = ""
    group: str = ""
    file: str = ""
    line: int | None = None
    duration_s: float | None = None
    message: str = ""
    detail: str = ""
    said: str = ""
    tries: tuple[Try, ...] = ()
    stdout: str = ""
    stderr: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def flaky(self) -> bool:
        """Whether it passed in the end, in this very run, and not at first."""
        return self.outcome is Outcome.PASSED and any(not one.outcome.holds for one in self.tries)

    def bounded(self) -> "TestCase":
        """The same with its texts cut to their limits, each cut said in the text."""
        return replace(
            self,
            message=shortened(self.message, MESSAGE_MAX),
            detail=shortened(self.detail, DETAIL_MAX),
            stdout=shortened(self.stdout, OUTPUT_MAX),
            stderr=shortened(self.stderr, OUTPUT_MAX),
            tries=tuple(
                replace(
                    one,
                    message=shortened(one.message, MESSAGE_MAX),
                    detail=shortened(one.detail, DETAIL_MAX),
                )
                for one in self.tries
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Its JSON, in which what is not known is absent."""
        return _without_nothing(
            {
                "name": self.name,
                "outcome": self.outcome.value,
                "suite": self.suite,
                "group": self.group,
                "file": self.file,
                "line": self.line,
                "duration_s": self.duration_s,
                "message": self.message,
                "detail": self.detail,
                "said": self.said,
                "tries": [one.to_json() for one in self.tries],
                "stdout": self.stdout,
                "stderr": self.stderr,
                "properties": [list(pair) for pair in self.properties],
            }
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "TestCase":
        """The test that `to_json` spelled."""
        return cls(
            name=body["name"],
            outcome=Outcome(body["outcome"]),
            suite=body.get("suite", ""),
            group=body.get("group", ""),
            file=body.get("file", ""),
            line=body.get("line"),
            duration_s=body.get("duration_s"),
            message=body.get("message", ""),
            detail=body.get("detail", ""),
            said=body.get("said", ""),
            tries=tuple(Try.from_json(one) for one in body.get("tries", ())),
            stdout=body.get("stdout", ""),
            stderr=body.get("stderr", ""),
            properties=tuple((key, value) for key, value in body.get("properties", ())),
        )


def counted(cases: Sequence[TestCase]) -> dict[str, int]:
    """How many there are of each outcome, and of them flaky; every outcome is named."""
    counts = {outcome.value: 0 for outcome in Outcome}
    for case in cases:
        counts[case.outcome.value] += 1
    return {"tests": len(cases), **counts, "flaky": sum(case.flaky for case in cases)}


def shortened(text: str, length_max: int) -> str:
    """`text` with its middle left out where it is too long: beginning and end say most."""
    if len(text) <= length_max:
        return text
    half = max(1, length_max // 2)
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _without_nothing(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value not in (None, "", [])}
