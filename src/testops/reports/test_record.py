"""`reports/tests.json`: every test of a run with what flaky detection needs to compare runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testops.domain.test_case import TestCase

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What besides the code decides how tests end. `order` is `seeded` or `file`."""

    order: str
    seed: int
    network: str
    # Divided among processes: the sequence of tests is then that of their ends.
    in_workers: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "order": self.order,
            "seed": self.seed,
            "network": self.network,
            "in_workers": self.in_workers,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Circumstances":
        return cls(**body)


def write_test_record(circumstances: Circumstances, cases: Sequence[TestCase]) -> str:
    """The file; the tests stand in the order in which they were executed."""
    body = {
        "schema": SCHEMA,
        "circumstances": circumstances.to_json(),
        "tests": [case.to_json() for case in cases],
    }
    return json.dumps(body, ensure_ascii=True) + "\n"


def read_test_record(text: str) -> tuple[Circumstances, tuple[TestCase, ...]]:
    """What `write_test_record` wrote; ValueError, KeyError or TypeError where it is something else.

    Whoever reads records of many runs leaves out one that is broken, and says so.
    """
    body = json.loads(text)
    if body["schema"] != SCHEMA:
        raise ValueError(f"schema {body['schema']}")
    cases = tuple(TestCase.from_json(one) for one in body["tests"])
    return Circumstances.from_json(body["circumstances"]), cases
