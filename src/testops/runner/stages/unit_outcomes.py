"""What the unit plugin wrote, line by line, and the test cases that it makes.

Running the tests belongs to `unit`, asking why one failed to `unit_causes`.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from testops.domain.errors import InternalError
from testops.domain.stage import SAMPLES_MAX, Metric
from testops.domain.test_case import Outcome, TestCase, Try

SUITE = "unit"
# The plugin's words; JUnit would call an expected failure skipped, and so do we, with the word.
_OUTCOMES = {
    "passed": Outcome.PASSED,
    "failed": Outcome.FAILED,
    "error": Outcome.ERROR,
    "skipped": Outcome.SKIPPED,
    "xfailed": Outcome.SKIPPED,
    "xpassed": Outcome.PASSED,
}


class Tail:
    """Reads the plugin's lines while they are written, and tells the progress."""

    def __init__(self, path: Path, tell: Callable[[int, int], None] = lambda _, __: None) -> None:
        self.tests: list[dict[str, Any]] = []
        self.finished: dict[str, Any] | None = None
        self._path = path
        self._offset = 0
        self._total = 0
        self._tell = tell

    @property
    def skipped_over(self) -> int:
        """How many collected tests never ended; 0 where nobody says how many there are."""
        # With xdist the workers collect, and each that dies is an error of the test that it ran.
        return max(0, self._total - len({test["id"] for test in self.tests}))

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._offset += len(line)
            self._take(json.loads(line))
        self._tell(len(self.tests), max(self._total, len(self.tests)))

    def _take(self, entry: dict[str, Any]) -> None:
        match entry["type"]:
            case "test":
                self.tests.append(entry)
            case "collected":
                self._total = int(entry["count"])
            case "finished":
                self.finished = entry
            case other:
                raise InternalError(f"the unit plugin wrote an unknown line: {other}")


def cases_of(tests: Sequence[Mapping[str, Any]], suite: str = SUITE) -> tuple[TestCase, ...]:
    """A case for each test, in the order in which they were executed.

    A test that a plugin of the project repeats is one case: the last try counts as its outcome,
    and those before it are its tries.
    """
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for test in tests:
        by_id.setdefault(test["id"], []).append(test)
    return tuple(_case_of(told, suite) for told in by_id.values())


def durations(cases: Sequence[TestCase], source: str) -> list[Metric]:
    """How long a test took on this machine, of those that ran: for statistical gates."""
    ran = [case for case in cases if case.outcome is not Outcome.SKIPPED]
    walls = [case.duration_s for case in ran if case.duration_s is not None]
    if not walls:
        return []
    samples = tuple(walls[:SAMPLES_MAX])
    return [Metric("test_duration_s", statistics.median(walls), source, "s", samples)]


def _case_of(told: Sequence[Mapping[str, Any]], suite: str) -> TestCase:
    last = told[-1]
    file, _, inside = last["id"].partition("::")
    classes = inside.partition("[")[0].split("::")[:-1]
    outcome = _OUTCOMES[last["outcome"]]
    return TestCase(
        name=last["id"],
        outcome=outcome,
        suite=suite,
        group=".".join([file.removesuffix(".py").replace("/", "."), *classes]),
        file=file,
        line=last["defined"] or None,
        duration_s=last["seconds"],
        message=last["message"],
        detail=last["detail"],
        said=last["outcome"] if last["outcome"] != outcome.value else "",
        tries=tuple(
            Try(_OUTCOMES[one["outcome"]], one["message"], one["seconds"], one["detail"])
            for one in told[:-1]
        ),
        stdout=last["stdout"],
        stderr=last["stderr"],
        properties=tuple((name, value) for name, value in last["properties"]),
    ).bounded()
