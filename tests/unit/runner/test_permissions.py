"""Where commands are not allowed, all that would run one is named, with who may allow it."""

from typing import Any

import pytest

from testops.domain.suite import Suite
from testops.runner.permissions import command_faults

KERNELS = {"kernels": {"echo": {"run": "sim/echo.py::echo"}}}


def faults(**stages: Any) -> list[str]:
    plain = {"schema": 1, "name": "core", "seeds": {"sim": 1, "chaos": 2}}
    suite = Suite.model_validate({**plain, "stages": stages})
    found = command_faults(suite.stages.named(), "shop")
    assert all("testops workspaces allow-commands shop" in fault.fix for fault in found)
    return [fault.pointer for fault in found]


def test_a_suite_that_only_simulates_needs_no_permission() -> None:
    assert faults(sim=KERNELS, **{"snapshot-compare": {}}) == []


@pytest.mark.parametrize(
    ("stages", "pointers"),
    [
        ({"lint": {"ruff": {}}}, ["/stages/lint"]),
        ({"unit": {}}, ["/stages/unit"]),
        ({"lint": {"mypy": {}, "python": "bin/sh"}}, ["/stages/lint", "/stages/lint/python"]),
        (
            {"unit": {"python": "sh", "arguments": ["-x"], "environment": {"A": "b"}}},
            [
                "/stages/unit",
                "/stages/unit/python",
                "/stages/unit/arguments",
                "/stages/unit/environment",
            ],
        ),
    ],
)
def test_every_way_to_a_command_is_named(stages: dict[str, Any], pointers: list[str]) -> None:
    assert faults(**stages) == pointers
