"""What a suite may say about a runner, and that saying nothing changes no run's id."""

from typing import Any

import pytest
from pydantic import ValidationError

from testops.domain.stage import StageName
from testops.domain.suite import Suite


def suite_with(**stage: Any) -> Suite:
    plain = {"schema": 1, "name": "core", "seeds": {"sim": 1, "chaos": 2}}
    stages = {
        "lint": {"ruff": {}, **stage},
        "sim": {"kernels": {"echo": {"run": "sim/echo.py::echo"}}},
    }
    return Suite.model_validate({**plain, "stages": stages})


def spelled(suite: Suite) -> dict[str, Any]:
    body: dict[str, Any] = suite.model_dump(mode="json", by_alias=True)["stages"]["lint"]
    return body


NEW = {"cores": 2, "memory_mb": 512, "processes": 64, "exclusive": True}


def test_fields_that_came_later_are_not_spelled_while_they_say_nothing() -> None:
    assert not set(spelled(suite_with())) & set(NEW)
    assert spelled(suite_with(processes=1024)) == spelled(suite_with())


@pytest.mark.parametrize(("name", "value"), NEW.items())
def test_a_field_that_says_something_is_part_of_the_question(name: str, value: object) -> None:
    given = suite_with(**{name: value})
    assert spelled(given)[name] == value
    again = Suite.model_validate(given.model_dump(mode="json", by_alias=True))
    assert again == given


def test_a_stage_takes_one_core_and_a_simulation_all_of_them() -> None:
    named = suite_with().stages.named()
    assert named[StageName.LINT].cores_of(8) == 1
    assert named[StageName.SIM].cores_of(8) == 8
    assert named[StageName.SIM].memory_mb_of(8) == 2048 + 8 * 256
    assert suite_with(memory_mb=512).stages.named()[StageName.LINT].memory_mb_of(8) == 512
    assert suite_with(cores=4).stages.named()[StageName.LINT].cores_of(2) == 2


@pytest.mark.parametrize("wrong", [{"cores": 0}, {"memory_mb": 1}, {"processes": 0}])
def test_limits_that_nothing_could_run_in_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        suite_with(**wrong)
