"""Every command answers with the exit code of the design, and says in one line what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testops.cli import main, run_suite_main, snapshot_compare_main

SUITE = """\
schema: 1
name: core
seeds: {sim: 42, chaos: 7}
stages:
  sim:
    seed_count: 2
    kernels:
      echo: {run: "sim/echo.py::echo"}
  snapshot-compare: {}
"""
KERNEL = """\
import random


async def echo(world):
    await world.sleep(1)
    world.record("answer", random.randrange(1000))
"""

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one real kernel, and no seeds in the environment."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "core.yaml").write_text(SUITE)
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "echo.py").write_text(marked(KERNEL))
    monkeypatch.chdir(tmp_path)
    for name in ("SIM_SEED", "CHAOS_SEED", "TESTOPS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def marked(text: str) -> str:
    return text.replace("async def", "@toron.kernel\nasync def").replace(
        "import random", "import random\n\nimport toron"
    )


def code_of(entry: Callable[[list[str]], None], *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        entry(list(arguments))
    return int(str(ended.value.code))


def command(*arguments: str) -> int:
    return code_of(main, *arguments)


def run_suite(*arguments: str) -> int:
    return code_of(run_suite_main, *arguments)


def compare(*arguments: str) -> int:
    return code_of(snapshot_compare_main, *arguments)


def test_run_suite_leaves_a_bundle_its_content_and_the_determinism_report(project: Path) -> None:
    assert run_suite("--suite", "core", "--profile", "offline") == 0
    assert len(list((project / "snapshots").glob("run-*.tar.gz"))) == 1
    assert (project / "snapshots/dev/kernels/echo/42-7.json").is_file()
    report = json.loads((project / "reports/determinism.json").read_text())
    assert (report["executions"], report["identical"], report["determinism_percent"]) == (2, 2, 100)


def test_approve_then_compare_holds_and_a_changed_behaviour_does_not(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--base", "snapshots/golden", "--target", "snapshots/dev")
    assert command("run", "core") == 4
    run_id = next((project / "snapshots").glob("run-*.tar.gz")).name[4:12]
    assert command("snapshot", "approve", run_id, "--who", "Ada", "--why", "first") == 0
    assert command("run", "core") == 0
    assert compare(*both) == 0
    kernel = project / "sim/echo.py"
    kernel.write_text(kernel.read_text().replace("1000", "10"))
    capsys.readouterr()
    assert command("run", "core") == 1
    said = capsys.readouterr().out
    assert "echo, seed 42, chaos seed 7: /outputs/answer  was " in said
    assert "toron run sim/echo.py::echo --seed 42 --chaos-seed 7" in said
    assert compare(*both) == 1
    record = json.loads(next((project / "snapshots/golden").rglob("*.json")).read_text())
    assert (record["who"], record["why"]) == ("Ada", "first")


def test_seeds_without_a_baseline_are_inconclusive() -> None:
    assert run_suite("--suite", "core") == 0
    assert command("snapshot", "approve", "snapshots/dev", "--who", "Ada", "--why", "first") == 0
    assert command("run", "core") == 0
    assert command("run", "core", "--seed", "1000") == 4


def test_json_is_one_object_on_standard_output_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_SEED", "5")
    assert run_suite("--suite", "core", "--chaos-seed", "6", "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert {
        "run_id",
        "state",
        "verdict",
        "attempt",
        "suite",
        "profile",
        "seeds",
        "stages",
        "gates",
        "reproduce",
    } <= set(body)
    assert body["seeds"] == {"sim": 5, "chaos": 6}
    assert body["reproduce"] == (
        "python sim/run_suite.py --suite core --profile offline --seed 5 --chaos-seed 6"
    )
    sim = next(stage for stage in body["stages"] if stage["name"] == "sim")
    assert (sim["state"], sim["verdict"], sim["attempts"]) == ("ran", "pass", 1)
    assert sim["metrics"]["executions"] == 2


def test_a_range_overrides_the_seeds_of_the_suite(project: Path) -> None:
    assert run_suite("--suite", "core", "--seeds", "3:6", "--report-path", "out/run.json") == 0
    names = sorted(path.name for path in (project / "snapshots/dev/kernels/echo").iterdir())
    assert names == ["3-7.json", "4-7.json", "5-7.json"]
    assert json.loads((project / "out/run.json").read_text())["seeds"]["sim"] == 3


def test_equal_behaviour_is_equal_bytes_wherever_the_project_stands(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_suite("--suite", "core") == 0
    first = next((project / "snapshots").glob("run-*.tar.gz")).read_bytes()
    other = tmp_path_factory.mktemp("other") / "deeper"
    (other / "suites").mkdir(parents=True)
    (other / "sim").mkdir()
    for name in ("suites/core.yaml", "sim/echo.py"):
        (other / name).write_text((project / name).read_text())
    monkeypatch.chdir(other / "sim")
    assert run_suite("--suite", "core") == 0
    assert next((other / "snapshots").glob("run-*.tar.gz")).read_bytes() == first


def test_a_kernel_that_iterates_a_set_is_exit_3_with_its_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "sim/echo.py").write_text(
        "import toron\n\n\n@toron.kernel\nasync def echo(world):\n"
        "    world.record('order', list({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}))\n"
    )
    suite = project / "suites/core.yaml"
    suite.write_text(suite.read_text().replace('echo"', 'echo", verify: varied'))
    assert run_suite("--suite", "core") == 3
    said = capsys.readouterr().out
    assert "sim/echo.py:6" in said
    assert "toron verify sim/echo.py::echo --seeds 42:43" in said


def test_a_kernel_that_fails_is_exit_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "sim/echo.py").write_text(
        "import toron\n\n\n@toron.kernel\nasync def echo(world):\n    raise ValueError('boom')\n"
    )
    assert run_suite("--suite", "core") == 1
    assert "ValueError: boom" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nope"], "there is no suite 'nope'"),
        (["run", "core", "--seed", "x"], "--seed: 'x' is not a seed"),
        (["run", "core", "--seeds", "5"], "--seeds: '5' is not a range"),
        (["run", "core", "--seed", "1", "--seeds", "1:2"], "were both given"),
        (["run", "core", "--jobs", "0"], "--jobs"),
        (["run", "core", "--profile", "nope"], "no profile 'nope'"),
        (["run", "core", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["snapshot", "approve", "nope", "--why", "x"], "no run or bundle 'nope'"),
        (["snapshot", "compare", "--base", "x", "--target", "y"], "y: there is no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.startswith("error: ")
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""
    assert not (project / "snapshots").exists()


@pytest.mark.parametrize("name", ["SIM_SEED", "CHAOS_SEED"])
def test_a_bad_seed_in_the_environment_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "x")
    assert run_suite("--suite", "core") == 2
    assert capsys.readouterr().err.startswith(f"error: {name}: 'x' is not a seed")


def test_a_missing_target_is_exit_2_and_says_which_command_makes_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "snapshots/golden").mkdir(parents=True)
    assert compare("--base", "snapshots/golden", "--target", "snapshots/dev") == 2
    assert "sim/run_suite.py" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_exit_4(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "snapshots").write_text("in the way")
    assert run_suite("--suite", "core") == 4
    assert capsys.readouterr().err.startswith("error: ")
    assert (project / "snapshots").read_text() == "in the way"


def test_a_bug_of_ours_is_exit_70_without_a_traceback_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("testops.wiring.answer", broken)
    assert command("run", "core") == 70
    said = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: planted" in said
    assert "Traceback" not in said
    monkeypatch.setenv("TESTOPS_DEBUG", "1")
    assert command("run", "core") == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_is_exit_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("testops.wiring.answer", interrupted)
    assert command("run", "core") == 130
    assert "interrupted" in capsys.readouterr().err


def test_suites_are_listed_checked_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("suites") == 0
    assert capsys.readouterr().out.startswith("core")
    assert command("suites", "check", "core") == 0
    assert command("suites", "schema") == 0
    assert "kernels" in capsys.readouterr().out


def test_doctor_names_a_suite_that_cannot_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("doctor") == 0
    (project / "sim/echo.py").unlink()
    assert command("doctor") == 4
    assert "FAIL  suite core: " in capsys.readouterr().out


def test_versions_name_what_a_result_depends_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("versions") == 0
    printed = capsys.readouterr().out
    assert "toron-v2.5H+." in printed
    assert "deflate" in printed
