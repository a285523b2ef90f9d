"""`testops gates` and `testops waivers`, as a person uses them: real commands on a real project."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from testops.cli import main

SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    kernels:
      echo: {run: "sim/echo.py::echo"}
"""
KERNEL = """\
import toron


@toron.kernel
async def echo(world):
    world.record("answer", 1)
"""
POLICY = """\
schema: 1
name: release
score: {pass: 90, warn: 50}
gates:
  - {stage: sim, metric: executions, op: ">=", threshold: 5, weight: 1}
  - {stage: sim, metric: kernels, op: ">=", threshold: 1, weight: 1}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose suite was run once by its policy; `shown.json` is what people see of it."""
    root = tmp_path_factory.mktemp("ran") / "project"
    for folder in ("suites", "policies", "sim"):
        (root / folder).mkdir(parents=True)
    (root / "suites" / "core.yaml").write_text(SUITE)
    (root / "policies" / "release.yaml").write_text(POLICY)
    (root / "sim" / "echo.py").write_text(KERNEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("SIM_SEED", "CHAOS_SEED", "TESTOPS_DEBUG", "TESTOPS_URL"):
            patch.delenv(name, raising=False)
        assert command("run", "core", "--policy", "release", "--report-path", "shown.json") == 0
    return root


@pytest.fixture(autouse=True)
def project(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, where we stand."""
    shutil.copytree(ran, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("SIM_SEED", "CHAOS_SEED", "TESTOPS_DEBUG", "TESTOPS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "project"


def shown(project: Path) -> dict[str, Any]:
    """The run that the project has."""
    body: dict[str, Any] = json.loads((project / "shown.json").read_text())
    return body


def record_of(project: Path) -> Path:
    return project / f"snapshots/runs/{shown(project)['run_id']}/attempt-1.json"


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """The exit code, and the one JSON object that the command printed."""
    capsys.readouterr()
    code = command(*arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def own_gate(project: Path, gate: str) -> None:
    (project / "suites" / "core.yaml").write_text(f"{SUITE}gates:\n  - {gate}\n")


def later(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_gate_is_listed_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, body = answered(capsys, "gates", "list", "core", "--policy", "release")
    gates = {gate["name"]: gate for gate in body["gates"]}
    assert code == 0
    assert gates["sim.executions"]["weight"] == 1
    assert gates["sim.kernels_failed"]["key"]
    assert command("gates", "list") == 0
    assert "sim.kernels_failed" in capsys.readouterr().out


def test_a_gate_that_cannot_go_red_is_exit_1_and_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("gates", "selftest", "core", "--policy", "release") == 0
    own_gate(project, '{stage: sim, metric: kernels, op: ">=", threshold: 0}')
    capsys.readouterr()
    assert command("gates", "selftest") == 1
    said = capsys.readouterr().out
    assert "✗ sim.kernels" in said
    assert "cannot go red" in said


def test_a_run_by_a_policy_says_its_score_and_is_explained(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shown(project)
    assert (run["exit_code"], run["verdict"]) == (0, "warn")
    assert run["score"] == {"value": 50.0, "pass": 90.0, "warn": 50.0}
    assert (run["policy"]["name"], run["policy"]["version"]) == ("release", 1)
    assert command("gates", "explain", run["run_id"][:8]) == 0
    said = capsys.readouterr().out
    assert "policy release version 1" in said
    assert "score 50.0" in said
    assert "executions is 1, wanted >= 5, off by 4 (reports/determinism.json)" in said


def test_a_record_is_judged_again_by_the_policy_that_it_had_or_another(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = str(record_of(project))
    # The file may change; the record has what judged it.
    (project / "policies" / "release.yaml").write_text(
        POLICY.replace("threshold: 5", "threshold: 1")
    )
    code, body = answered(capsys, "gates", "evaluate", "--results", record)
    assert (code, body["verdict"], body["score"]["value"]) == (0, "warn", 50)
    code, body = answered(capsys, "gates", "evaluate", "--results", record, "--policy", "release")
    assert (code, body["verdict"], body["was"]) == (0, "pass", "warn")


def test_what_came_later_is_no_ground_of_an_earlier_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(project)
    own_gate(
        project,
        "{stage: sim, metric: executions, relative: {at_most_percent: 100, to: last}}",
    )
    body = json.loads(record.read_text())
    later = {**body, "finished_at": "2030-01-01T00:00:00+00:00", "attempt": 2}
    # What failed and was outvoted by the score is no ground.
    record.write_text(json.dumps({**body, "gates": []}))
    record.with_name("attempt-2.json").write_text(json.dumps(later))
    code, found = answered(capsys, "gates", "evaluate", "--results", str(record))
    assert (code, found["verdict"]) == (4, "inconclusive")
    code, found = answered(
        capsys, "gates", "evaluate", "--results", str(record.with_name("attempt-2.json"))
    )
    gate = next(gate for gate in found["gates"] if gate["name"] == "sim.executions.2")
    assert gate["baseline_runs"] == [body["run_id"]]


def test_a_policy_about_stages_that_were_not_run_says_which_are_missing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "policies" / "whole.yaml").write_text("name: whole\nrequired_stages: [lint]\n")
    assert command("run", "core", "--policy", "whole") == 4
    said = capsys.readouterr().out
    assert "lint.errors: it has no such stage" in said
    assert "policy   whole version 1" in said


def test_evidence_of_another_build_or_of_no_end_proves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(project)
    asked = ("gates", "evaluate", "--results", str(record))
    assert command(*asked) == 0
    code, body = answered(capsys, *asked, "--commit", "abc1234")
    assert (code, body["verdict"]) == (4, "inconclusive")
    whole = json.loads(record.read_text())
    record.write_text(json.dumps({**whole, "state": "cancelled"}))
    assert command(*asked) == 4


def test_evidence_of_a_commit_that_was_only_stated_proves_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(project)
    whole = json.loads(record.read_text())
    asked = ("gates", "evaluate", "--results", str(record), "--commit", "abc1234")
    for stated, code in ((False, 0), (True, 4)):
        build = {"commit": "abc1234" + "0" * 33, "dirty": None, "stated": stated}
        record.write_text(json.dumps({**whole, "build": build}))
        assert command(*asked) == code


@pytest.mark.parametrize("commit", ["", "a", "main", "ABC1234"])
def test_what_would_fit_any_commit_is_bad_input(
    project: Path, commit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = str(record_of(project))
    assert command("gates", "evaluate", "--results", record, "--commit", commit) == 2
    assert "--commit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"stages": []}', '{"stages": [{"name": 1}]}']
)
def test_what_is_no_record_is_bad_input(
    project: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "strange.json").write_text(content)
    assert command("gates", "evaluate", "--results", "strange.json") == 2
    assert "strange.json" in capsys.readouterr().err


def test_rounded_numbers_are_no_evidence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("gates", "evaluate", "--results", "shown.json") == 2
    assert "exact numbers" in capsys.readouterr().err


def test_a_waiver_from_its_grant_to_its_end(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_gate(project, '{stage: sim, metric: executions, op: ">=", threshold: 5}')
    assert command("run", "core") == 1
    grant = ("waivers", "add", "core", "sim.executions", "--owner", "Ada", "--reason", "T-1")
    assert command(*grant, "--expires", later(days=2), "--up-to", "1") == 0
    code, run = answered(capsys, "run", "core")
    assert (code, run["verdict"]) == (0, "warn")
    gate = next(gate for gate in run["gates"] if gate["name"] == "sim.executions")
    assert (gate["waiver"]["owner"], gate["verdict"]) == ("Ada", "warn")
    assert "waived by Ada" in gate["reason"]

    path = project / "waivers.yaml"
    path.write_text(path.read_text().replace(later(days=2)[:11], "2020-01-01T"))
    capsys.readouterr()
    assert command("run", "core") == 1
    assert "expired" in capsys.readouterr().out
    assert command("gates", "check", "core") == 1
    assert command("waivers", "list") == 0
    assert command("waivers", "remove", "core", "sim.executions") == 0
    assert answered(capsys, "waivers", "list")[1] == {"waivers": []}
    assert command("waivers", "remove", "core", "sim.executions") == 2


def test_a_gate_of_a_policy_that_only_runs_name_is_waived_with_the_policy(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grant = ("waivers", "add", "core", "sim.executions", "--owner", "Ada", "--reason", "T-1")
    assert command(*grant, "--expires", later(days=1)) == 2
    assert "has no gate 'sim.executions'" in capsys.readouterr().err
    assert command(*grant, "--expires", later(days=1), "--policy", "release") == 0
    assert command("gates", "check", "core", "--policy", "release") == 0
    assert command("run", "core", "--policy", "release") == 0
    assert "waived by Ada" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gate", "expires", "words"),
    [
        ("sim.nothing", later(days=1), "has no gate"),
        ("sim.kernels_failed", later(days=91), "90 days"),
        ("sim.kernels_failed", later(days=-1), "in the past"),
        ("sim.kernels_failed", "tomorrow", "RFC 3339"),
        ("sim.determinism_percent", later(days=1), "cannot be waived"),
    ],
    ids=["no gate", "too long", "over", "no moment", "never waived"],
)
def test_a_waiver_that_nobody_may_grant_is_bad_input(
    gate: str, expires: str, words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grant = ("waivers", "add", "core", gate, "--owner", "Ada", "--reason", "T-1")
    assert command(*grant, "--expires", expires) == 2
    assert words in capsys.readouterr().err
    assert not (project / "waivers.yaml").exists()


def test_a_moment_in_the_file_needs_no_quotes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until = later(days=9)
    (project / "waivers.yaml").write_text(
        "schema: 1\nwaivers:\n"
        "  - {suite: core, gate: sim.kernels_failed, owner: Ada, reason: T-1, expires: "
        f"{until}}}\n"
    )
    code, body = answered(capsys, "waivers", "list")
    assert code == 0
    assert body["waivers"][0]["expires"] == until


def test_a_waiver_in_the_file_that_nobody_may_grant_stops_the_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "waivers.yaml").write_text(
        "schema: 1\nwaivers:\n  - {suite: core, gate: sim.kernels, owner: Ada, reason: x,"
        f" expires: '{later(days=200)}'}}\n"
    )
    assert command("run", "core") == 2
    assert "waivers.yaml:3: /waivers/0/expires" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("none", "there is no policy 'none'"),
        ("../release", "not the name of a policy"),
        ("server:release", "not the name of a policy"),
    ],
)
def test_a_policy_that_is_not_there_is_bad_input(
    policy: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("run", "core", "--policy", policy) == 2
    assert words in capsys.readouterr().err


def test_where_no_policy_is_yet_nobody_is_sent_to_init_which_writes_none(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "policies")
    assert command("run", "core", "--policy", "none") == 2
    assert "policies); write one there" in capsys.readouterr().err


def test_a_suite_that_wants_a_servers_policy_says_where_that_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "suites" / "core.yaml").write_text(f"{SUITE}policy: {{server: release}}\n")
    assert command("run", "core") == 2
    assert "TESTOPS_URL" in capsys.readouterr().err


def test_what_is_wrong_with_a_policy_in_place_is_named_with_its_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "policy:\n  name: own\n  gates:\n    - {stage: sim, metric: x, op: '>=', treshold: 1}\n"
    (project / "suites" / "core.yaml").write_text(SUITE + text)
    assert command("gates", "list") == 2
    assert "suites/core.yaml:11: /policy/gates/0" in capsys.readouterr().err
