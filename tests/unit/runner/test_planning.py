"""The same words are the same run, whoever asks; what cannot be a run is refused with pointers."""

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import yaml

from testops.domain.errors import BadInput
from testops.domain.run import Build
from testops.domain.stage import StageName
from testops.runner.builds import SharedBuilds
from testops.runner.kernel_names import functions_in
from testops.runner.planning import Asked, Means, Planned, find, plan
from testops.runner.projects import Project
from testops.runner.seeding import SeedFlags

REPOSITORY = Path(__file__).parents[3]
BUILD = Build("0" * 40, None)
ENGINE = "toron-v2.5H+.2"

# The whole of a small project as it was when ids were first given out.
FROZEN = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 2
    kernels:
      echo: {run: "sim/echo.py::echo"}
"""


def means(**changes: Any) -> Means:
    usual: dict[str, Any] = {
        "kernels_in": functions_in,
        "engine_version": ENGINE,
        "draw_seed": lambda: 99,
        "build_of": lambda _: BUILD,
        "run_command": lambda _: "testops run",
    }
    return Means(**(usual | changes))


def definition(**changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FROZEN)
    return loaded | changes


def planned(project: Project, suite: str | Mapping[str, Any] = "core", **changes: Any) -> Planned:
    return plan(Asked(suite, project.root, **changes), means())


def refused(project: Project, suite: str | Mapping[str, Any] = "core", **changes: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        planned(project, suite, **changes)
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_id_that_was_given_out_stays_what_it_was(project: Project) -> None:
    assert planned(project).run_id == "f2e0140fa1597d41"


def test_a_suite_with_gates_keeps_the_id_that_it_had_before_there_were_policies(
    project: Project,
) -> None:
    gates = [
        {"stage": "sim", "metric": "kernels_failed", "op": "<=", "threshold": 1},
        {"stage": "sim", "metric": "executions", "op": ">=", "threshold": 2.5, "severity": "warn"},
    ]
    assert planned(project, definition(gates=gates)).run_id == "c82717c0a637bc29"


def test_a_policy_is_part_of_the_question_by_what_it_says(project: Project) -> None:
    own = {"name": "own", "gates": [{"stage": "sim", "metric": "x", "op": "==", "threshold": 0}]}
    made = planned(project, definition(policy=own))
    assert made.run_id != planned(project).run_id
    asked = made.question["policy"]
    assert (asked["name"], asked["version"]) == ("own", 1)
    spelled = rfc8785.dumps(asked["definition"])
    assert asked["digest"] == hashlib.sha256(spelled).hexdigest()
    # A default that is written out is the same policy.
    same = planned(project, definition(policy={**own, "schema": 1, "required_stages": []}))
    assert same.question["policy"] == asked


def test_a_policy_of_a_request_goes_before_the_suites_own(project: Project) -> None:
    (project.root / "policies").mkdir()
    text = "name: {}\nrequired_stages: [sim]\n"
    for name in ("one", "two"):
        (project.root / "policies" / f"{name}.yaml").write_text(text.format(name))
    by_suite = planned(project, definition(policy="one"))
    asked = planned(project, definition(policy="one"), policy="two")
    assert [made.question["policy"]["name"] for made in (by_suite, asked)] == ["one", "two"]


@pytest.mark.parametrize("name", ["full", "regression_core"])
def test_the_ids_of_the_checked_in_suites_are_the_hash_of_what_is_written_there(name: str) -> None:
    asked = Asked(name, REPOSITORY, files_allowed=True)
    made = plan(asked, means())
    suite = made.found.suite_file.suite
    question = {
        "suite": suite.model_dump(mode="json", by_alias=True),
        "profile": made.found.profile.model_dump(mode="json", by_alias=True),
        "seeds": {"sim": 42, "chaos": 7},
        "sim_seeds": list(range(42, 52)),
        "build": {"commit": "0" * 40, "dirty": None},
        "engine_version": ENGINE,
        "stages": [stage.value for stage in suite.stages.named()],
        "salt": None,
    }
    assert made.run_id == hashlib.sha256(rfc8785.dumps(question)).hexdigest()[:16]


def test_a_definition_that_says_what_the_file_says_is_the_same_run(project: Project) -> None:
    named, given = planned(project), planned(project, definition())
    assert given.run_id == named.run_id
    assert given.reproduce == named.reproduce


def test_a_definition_of_its_own_is_fetched_by_the_command_that_reproduces_it(
    project: Project,
) -> None:
    made = planned(project, definition(description="mine"), profile={"name": "tiny"})
    assert made.suite_shown == "core"
    assert made.profile == "tiny"
    assert f"/v1/test-runs/{made.run_id}/suite && " in made.reproduce
    assert made.reproduce.endswith(
        f"testops run run-{made.run_id}.suite.json --profile run-{made.run_id}.profile.json"
        " --seed 42 --chaos-seed 7"
    )


def test_salt_seeds_build_and_stages_each_make_another_question(project: Project) -> None:
    questions = [
        planned(project),
        planned(project, salt="again"),
        planned(project, seeds=SeedFlags(sim="5")),
        planned(project, seeds=SeedFlags(sim_range="5:9")),
        planned(project, workspace="other"),
        planned(project, build=Build("abc", None, "1.2.3", stated=True)),
        planned(project, definition(stages=definition()["stages"] | {"snapshot-compare": {}})),
        planned(
            project,
            definition(stages=definition()["stages"] | {"snapshot-compare": {}}),
            only=frozenset({StageName.SIM}),
        ),
    ]
    assert len({made.run_id for made in questions}) == len(questions)
    assert questions[3].sim_seeds == (5, 6, 7, 8)
    assert "--seeds 5:9 " in questions[3].reproduce


def test_the_order_of_keys_does_not_matter(project: Project) -> None:
    turned = dict(reversed(definition(description="mine").items()))
    assert (
        planned(project, turned).run_id == planned(project, definition(description="mine")).run_id
    )


def test_the_servers_environment_chooses_no_seed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_SEED", "1")
    assert planned(project).seeds.sim == 42


def test_a_build_that_was_named_is_not_read(project: Project) -> None:
    def read(_: Path) -> Build:
        raise AssertionError("the project was read")

    made = plan(Asked("core", project.root, build=BUILD), means(build_of=read))
    assert made.build == BUILD


def test_finding_reads_no_build(project: Project) -> None:
    def read(_: Path) -> Build:
        raise AssertionError("the project was read")

    assert find(Asked("core", project.root), means(build_of=read)).sim_seeds == (42, 43)


@pytest.mark.parametrize(
    "name",
    ["../core", "suites/core.yaml", "/etc/passwd", "core.yaml", "", "CORE", "a\x00b", "core\n"],
)
def test_a_request_names_no_files(project: Project, name: str) -> None:
    assert "is not the name of a suite" in str(refused(project, name))
    assert "is not the name of a profile" in str(refused(project, profile=name or "/"))


def test_a_workspace_without_suites_is_not_the_folder_around_it(project: Project) -> None:
    inner = project.root / "inner"
    inner.mkdir()
    with pytest.raises(BadInput, match="there is no suite 'core'"):
        plan(Asked("core", inner), means())


def test_every_fault_of_a_definition_has_its_pointer(project: Project) -> None:
    bad = definition(seeds={"sim": -1, "chaos": "x"}, more=1)
    error = refused(project, bad)
    assert [fault.pointer for fault in error.faults] == ["/seeds/sim", "/seeds/chaos", "/more"]
    assert error.pointer == "/seeds/sim"
    assert str(error).startswith("suite: /seeds/sim: -1 is not allowed; it must be ")
    assert str(error).endswith("(and 2 more)")


def test_a_pointer_escapes_what_rfc_6901_escapes(project: Project) -> None:
    bad = definition(stages={"sim": {"kernels": {"a/b~c": {"run": "sim/echo.py::echo"}}}})
    assert refused(project, bad).pointer == "/stages/sim/kernels/a~1b~0c"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("sim/none.py::echo", "there is no file sim/none.py"),
        ("sim/echo.py::ecko", "has no kernel ecko; did you mean 'echo'?"),
        ("../echo.py::echo", "leaves the project"),
    ],
)
def test_a_kernel_that_is_not_there_is_pointed_at(project: Project, run: str, said: str) -> None:
    error = refused(project, definition(stages={"sim": {"kernels": {"echo": {"run": run}}}}))
    assert said in str(error)
    assert error.pointer == "/stages/sim/kernels/echo/run"


def test_planning_runs_no_line_of_the_project(project: Project) -> None:
    (project.root / "sim" / "echo.py").write_text(
        "raise SystemExit(1)\nasync def echo(world):\n    pass\n"
    )
    assert planned(project).suite == "core"


def test_functions_are_found_wherever_a_module_binds_them(tmp_path: Path) -> None:
    file = tmp_path / "kernels.py"
    file.write_text(
        "import os\nfrom elsewhere import one as two\nthree = wrap(two)\n"
        "if os.name:\n    def four(): ...\nelse:\n    async def five(): ...\n"
        "try:\n    def six(): ...\nexcept ImportError:\n    def seven(): ...\n"
        "class Eight:\n    def nine(self): ...\n"
    )
    assert functions_in(file) == ("two", "three", "four", "five", "six", "seven")
    file.write_text("def ten(): ...\n")
    assert functions_in(file) == ("ten",)


@pytest.mark.parametrize("text", ["def broken(:\n", "(" * 100_000, "a\x00b", "#" * 1_000_001])
def test_a_kernel_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kernels.py"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"kernels\.py"):
        functions_in(file)


def test_suites_that_run_commands_need_a_workspace_that_allows_it(project: Project) -> None:
    stages = {"unit": {"python": "bin/sh", "arguments": ["-p", "x"]}, "lint": {"mypy": {}}}
    given = definition(stages=stages)
    error = refused(project, given, commands_allowed=False)
    assert [fault.pointer for fault in error.faults] == [
        "/stages/lint",
        "/stages/unit",
        "/stages/unit/python",
        "/stages/unit/arguments",
    ]
    assert planned(project, given).stages == (StageName.LINT, StageName.UNIT)
    assert planned(project, commands_allowed=False).suite == "core"


def test_all_who_wait_share_a_reading_that_began_after_they_came(tmp_path: Path) -> None:
    reading, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def read(_: Path) -> Build:
        calls.append(1)
        number = len(calls)
        if number == 1:
            reading.set()
            assert go_on.wait(10)
        return Build(str(number), None)

    shared = SharedBuilds(read)
    answers: list[str | None] = []

    def ask() -> None:
        answers.append(shared.build_of(tmp_path).commit)

    first = threading.Thread(target=ask)
    first.start()
    assert reading.wait(10)
    late = [threading.Thread(target=ask) for _ in range(20)]
    for thread in late:
        thread.start()
    while len(shared._next) != 1:
        pass
    go_on.set()
    for thread in (first, *late):
        thread.join(10)
    # Nobody who came while the first was read was given its answer.
    assert answers[0] == "1"
    assert "1" not in answers[1:]
    assert len(calls) <= 1 + len(late)


def test_an_error_of_a_shared_reading_reaches_everybody_and_the_next_is_new(tmp_path: Path) -> None:
    outcomes: list[Build | None] = [None, BUILD]

    def read(_: Path) -> Build:
        outcome = outcomes.pop(0)
        if outcome is None:
            raise OSError("gone")
        return outcome

    shared = SharedBuilds(read)
    with pytest.raises(OSError, match="gone"):
        shared.build_of(tmp_path)
    assert shared.build_of(tmp_path) == BUILD
