"""A suite that cannot be used is refused in one line that names the field and the fix."""

from pathlib import Path

import pytest

from testops.domain.errors import BadInput
from testops.runner.projects import Project
from testops.runner.suites import (
    SuiteFile,
    load_profile,
    load_suite,
    resolve_sim,
    suite_schema,
)

HEAD = "schema: 1\nname: core\nseeds: {sim: 1, chaos: 2}\n"
SIM = 'stages:\n  sim:\n    kernels:\n      echo: {run: "sim/echo.py::echo"}\n'


def kernels_in(path: Path) -> list[str]:
    return ["echo", "ledger"]


def load(project: Project, text: str, name: str = "core.yaml") -> SuiteFile:
    (project.suites / name).write_text(text)
    return load_suite(Path(name).stem, working_folder=project.root)


def refusal(project: Project, text: str, name: str = "core.yaml") -> str:
    with pytest.raises(BadInput) as caught:
        resolve_sim(load(project, text, name), kernels_in)
    message = str(caught.value)
    assert "\n" not in message
    assert str(project.root) not in message or "looked in" in message
    return message


def test_an_unknown_suite_lists_the_known_ones_and_the_nearest(project: Project) -> None:
    with pytest.raises(BadInput, match=r"no suite 'cor' .*did you mean 'core'\? known: core"):
        load_suite("cor", working_folder=project.root)


def test_a_syntax_error_names_line_and_column(project: Project) -> None:
    message = refusal(project, HEAD + "stages: [unclosed\n")
    assert message.startswith("suites/core.yaml:5:1: not valid YAML: ")


def test_a_key_given_twice_names_both_lines(project: Project) -> None:
    message = refusal(project, HEAD + "name: other\n" + SIM)
    assert message == (
        "suites/core.yaml:4:1: the key /name was already given on line 2; keep one of the two"
    )


def test_an_unknown_field_gets_pointer_nearest_name_and_the_known_ones(project: Project) -> None:
    message = refusal(project, HEAD + SIM.replace("kernels:", "kernls:"))
    assert message.startswith("suites/core.yaml:6: /stages/sim/kernls: unknown field; ")
    assert "did you mean 'kernels'? known fields: timeout_s, attempts_max, cores" in message


def test_a_wrong_type_names_what_was_given_and_what_is_wanted(project: Project) -> None:
    message = refusal(project, HEAD.replace("sim: 1", "sim: one") + SIM)
    assert message == (
        "suites/core.yaml:3: /seeds/sim: wrong type, got text 'one'; it must be a valid integer"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("sim: 1", "sim: -1") + SIM, "/seeds/sim: -1 is not allowed"),
        (HEAD.replace("sim: 1", "sim: true") + SIM, "/seeds/sim: wrong type, got boolean True"),
        (HEAD.replace("sim: 1", f"sim: {2**64}") + SIM, "/seeds/sim: "),
        (HEAD.replace("name: core\n", "") + SIM, "/name: the field is missing"),
        (HEAD.replace("schema: 1", "schema: 2") + SIM, "/schema: 2 is not allowed"),
        (HEAD + "stages: {}\n", "/stages: name at least one of lint, unit, sim"),
        (HEAD + "stages: {snapshot-compare: {}}\n", "/stages: snapshot-compare needs a sim stage"),
        (HEAD + "stages: {sim: {}}\n", "/stages/sim: give either kernels or suite"),
        (HEAD + "stages: {load: {}}\n", "/stages/load: unknown field"),
        (HEAD + "stages: 7\n", "/stages: wrong type, got int 7"),
        (HEAD + SIM + "gates: [{stage: sim, metric: x, op: '~', threshold: 1}]\n", "/gates/0/op: "),
        (HEAD + SIM + "gates: [{stage: sim, metric: x, op: '<', threshold: .nan}]\n", "threshold"),
        ("", "the file is empty"),
        ("- a\n", "the file holds no fields"),
        ("a: &x [1]\nb: *x\n", "the alias *x is not supported"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "deeper than 40 levels"),
        (HEAD + SIM.replace("sim/echo.py::echo", "sim/echo.py"), "is not a valid value"),
        (HEAD + SIM.replace("sim/echo.py", "../echo.py"), "leaves the project"),
        (HEAD + SIM.replace("sim/echo.py", "/etc/echo.py"), "leaves the project"),
        (HEAD + SIM + '      two: {run: "sim/echo.py::echo"}\n', "is already the kernel echo"),
    ],
)
def test_each_mistake_is_named(project: Project, text: str, said: str) -> None:
    assert said in refusal(project, text)


def test_a_missing_kernel_file_is_named_with_its_line(project: Project) -> None:
    message = refusal(project, HEAD + SIM.replace("sim/echo.py", "sim/gone.py"))
    assert message == (
        "suites/core.yaml:7: /stages/sim/kernels/echo/run: there is no file sim/gone.py;"
        " correct the path or add the file"
    )


def test_a_kernel_that_the_file_does_not_have_lists_those_it_has(project: Project) -> None:
    message = refusal(project, HEAD + SIM.replace("::echo", "::lejer"))
    assert "sim/echo.py has no kernel lejer; did you mean 'ledger'? its kernels are:" in message


def test_a_name_other_than_the_files_is_refused(project: Project) -> None:
    message = refusal(project, HEAD + SIM, name="other.yaml")
    assert (
        message == "suites/other.yaml: /name: is 'core', but the file is called other; write"
        " name: other"
    )


def test_a_json_suite_says_where_its_syntax_breaks(project: Project) -> None:
    (project.suites / "core.yaml").unlink()
    message = refusal(project, '{"schema": 1,\n "name" "core"}', name="core.json")
    assert message.startswith("suites/core.json:2:9: not valid JSON: ")


def test_a_file_beyond_the_bound_is_refused_unread(project: Project) -> None:
    assert "larger than" in refusal(project, "# " + "x" * 1_100_000)


def test_a_suite_outside_suites_belongs_to_the_project_one_stands_in(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "trial.yaml"
    elsewhere.write_text(HEAD + SIM)
    loaded = load_suite(str(elsewhere), working_folder=project.root / "sim")
    assert loaded.project == project
    assert resolve_sim(loaded, kernels_in).kernels[0].path == project.root / "sim" / "echo.py"


def test_a_suite_by_its_path_belongs_to_the_folder_around_suites(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("away")
    loaded = load_suite(str(project.suites / "core.yaml"), working_folder=away)
    assert loaded.project.root == project.root


def test_without_a_name_the_only_suite_is_meant_and_of_several_default(project: Project) -> None:
    assert load_suite(None, working_folder=project.root).suite.name == "core"
    (project.suites / "other.yaml").write_text(HEAD.replace("core", "other") + SIM)
    with pytest.raises(BadInput, match=r"several suites \(core, other\)"):
        load_suite(None, working_folder=project.root)
    (project.suites / "default.yaml").write_text(HEAD.replace("core", "default") + SIM)
    assert load_suite(None, working_folder=project.root).suite.name == "default"


def test_a_sim_stage_by_reference_is_filed_under_the_suite_it_names(project: Project) -> None:
    text = HEAD.replace("core", "whole") + "stages: {sim: {suite: core}}\n"
    plan = resolve_sim(load(project, text, "whole.yaml"), kernels_in)
    assert plan.suite == "core"
    assert [kernel.name for kernel in plan.kernels] == ["echo"]


def test_a_reference_to_a_reference_is_refused(project: Project) -> None:
    for name, referred in (("one", "two"), ("two", "core")):
        text = HEAD.replace("core", name) + f"stages: {{sim: {{suite: {referred}}}}}\n"
        (project.suites / f"{name}.yaml").write_text(text)
    with pytest.raises(BadInput, match="suite two has no kernels of its own"):
        resolve_sim(load_suite("one", working_folder=project.root), kernels_in)


def test_the_offline_profile_needs_no_file_and_another_does(project: Project) -> None:
    assert load_profile("offline", project).network.policy == "loopback-only"
    with pytest.raises(BadInput, match="no profile 'big'"):
        load_profile("big", project)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sizes: {accounts: -1}", "/sizes/accounts: -1 is not allowed"),
        ("network: {policy: anything}", "/network/policy: "),
        ("distributions: {x: {kind: uniform, min: 2, max: 1}}", "min is larger than max"),
        ("distributions: {x: {kind: uniform, low: 2, max: 1}}", "/distributions/x/"),
    ],
)
def test_a_wrong_profile_names_the_field(project: Project, line: str, said: str) -> None:
    project.profiles.mkdir()
    (project.profiles / "big.yaml").write_text(f"schema: 1\nname: big\n{line}\n")
    with pytest.raises(BadInput) as caught:
        load_profile("big", project)
    assert said in str(caught.value)


def test_the_schema_names_every_stage_as_files_spell_it() -> None:
    stages = suite_schema()["$defs"]["Stages"]["properties"]
    assert list(stages) == ["lint", "unit", "sim", "snapshot-compare"]
