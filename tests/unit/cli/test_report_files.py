"""Reports of other tools on the command line: read, kept, merged, and refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testops.cli import main
from testops.domain.test_case import Outcome, TestCase
from testops.reports.formats.reading import Source
from testops.reports.imports import import_report
from testops.reports.test_record import Circumstances, write_test_record

FILES = Path(__file__).parents[2] / "fixtures" / "reports"
Answer = Callable[..., tuple[int, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    shutil.copytree(FILES, tmp_path / "given")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def report(project: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    def answer(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["report", *arguments])
        out = capsys.readouterr()
        return int(str(ended.value.code)), out.out + out.err

    return answer


def test_an_import_prints_the_metrics_of_gates_and_keeps_the_content(
    report: Answer, project: Path
) -> None:
    code, said = report("import", "given/k6-handle-summary.json", "--suite", "checkout")
    assert code == 0
    assert "k6, checkout" in said
    assert "p95_ms               13.9947 ms" in said
    (kept,) = (project / "reports" / "imported").iterdir()
    assert json.loads(kept.read_text())["metrics"]["error_percent"] == pytest.approx(
        9.756, abs=0.01
    )


def test_json_is_one_object_and_names_each_file(report: Answer) -> None:
    code, said = report("import", "--json", "given/ruff.sarif", "given/pytest-junit.xml")
    assert code == 0
    imported: list[dict[str, Any]] = json.loads(said)["imported"]
    assert [one["format"] for one in imported] == ["sarif", "junit"]
    assert all(Path(one["kept"]).is_file() for one in imported)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["gone.xml"], "gone.xml: cannot be read: No such file"),
        (["given/README.md"], "nobody knows this format"),
        (["given/ruff.sarif", "--as", "tap"], "--as: 'tap' is no format"),
        (["given/ruff.sarif", "--run", "ffff"], "--run: there is no run 'ffff'"),
        (["given/ruff.sarif", "--run", "../.."], "--run: there is no run"),
        (["--as", "k6"], "given/pytest-junit.xml: line 1, column 1: not valid JSON"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_nothing_is_kept(
    report: Answer, project: Path, arguments: list[str], problem: str
) -> None:
    code, said = report("import", "given/pytest-junit.xml", *arguments)
    assert code == 2
    assert problem in said
    assert not (project / "reports").exists()


def test_half_a_character_in_a_name_is_kept_and_printed(report: Answer, project: Path) -> None:
    test = {"name": "t[\ud800]", "status": "passed", "duration": 1}
    (project / "odd.json").write_text(json.dumps({"results": {"tool": {}, "tests": [test]}}))
    code, said = report("import", "--json", "odd.json")
    assert code == 0
    assert json.loads(said)["imported"][0]["tests"][0]["name"] == test["name"]


def test_shards_are_exported_as_one_file(report: Answer, project: Path) -> None:
    shards = ("given/coverage-shard-a.xml", "given/coverage-shard-b.info")
    code, said = report("export", *shards, "--as", "cobertura", "--to", "out/all.xml")
    assert (code, said.strip()) == (0, "out/all.xml: cobertura of 2 files")
    back = import_report(Source("all", (project / "out/all.xml").read_bytes()), root=project)
    assert {metric.name: metric.value for metric in back.metrics}["coverage_percent"] == 75


def test_junit_becomes_ctrf_and_findings_are_told_once(report: Answer, project: Path) -> None:
    assert report("export", "given/pytest-junit.xml", "--as", "ctrf", "--to", "c.json")[0] == 0
    assert json.loads((project / "c.json").read_text())["results"]["summary"]["tests"] == 5
    twice = ("given/ruff.sarif", "given/ruff.sarif")
    assert report("export", *twice, "--as", "sarif", "--to", "s.sarif")[0] == 0
    (run,) = json.loads((project / "s.sarif").read_text())["runs"]
    assert [one["occurrenceCount"] for one in run["results"]] == [2, 2, 2]


def test_a_file_of_another_kind_cannot_be_exported(report: Answer) -> None:
    code, said = report("export", "given/ruff.sarif", "--as", "junit", "--to", "x.xml")
    assert code == 2
    assert "sarif cannot be written as junit" in said


def record(
    project: Path,
    run_id: str,
    outcome: Outcome,
    *,
    suite: str = "core",
    state: str = "ran",
    attempt: int = 1,
) -> None:
    """What a run leaves in its folder, as far as tests are compared by it."""
    folder = project / "snapshots" / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    body = {
        "run_id": run_id,
        "attempt": attempt,
        "suite": suite,
        "seeds": {"sim": 42, "chaos": 7},
        "build": {"commit": "c0ffee", "dirty": None},
        "reproduce": "testops run core --seed 42",
        "finished_at": f"2026-01-0{attempt}T00:00:00+00:00",
        "stages": [{"name": "unit", "state": state, "reason": "the tests did not end"}],
    }
    (folder / f"attempt-{attempt}.json").write_text(json.dumps(body))
    if state == "ran":
        cases = [TestCase("t.py::test_it", outcome, message="no")]
        text = write_test_record(Circumstances("seeded", 42, "open"), cases)
        (folder / f"tests-{attempt}.json").write_text(text)


def test_flaky_tests_are_told_with_the_command_and_outages_apart(
    report: Answer, project: Path
) -> None:
    record(project, "aa", Outcome.PASSED)
    record(project, "aa", Outcome.FAILED, attempt=2)
    record(project, "bb", Outcome.FAILED, state="tool_error", attempt=3)
    record(project, "cc", Outcome.FAILED, suite="other")
    code, said = report("flaky", "--suite", "core")
    assert code == 0
    assert said.splitlines() == [
        "3 runs, 1 test, 1 suspect",
        "",
        "flaky  t.py::test_it  (1 failed, 1 passed)",
        "  seed 42: passed 1, failed 1 times",
        "  again: testops run core --seed 42",
        "",
        "outages, not counted against any test:",
        "  bb/3  the tests did not end",
    ]
    assert json.loads(report("flaky", "--json", "--last", "1")[1])["runs"] == 1


def test_a_record_of_tests_that_is_damaged_leaves_its_run_out(
    report: Answer, project: Path
) -> None:
    record(project, "aa", Outcome.PASSED)
    record(project, "aa", Outcome.FAILED, attempt=2)
    (project / "snapshots/runs/aa/tests-2.json").write_text('{"schema": 1, "tests": [')
    (project / "snapshots/runs/aa/attempt-3.json").write_text("half a rec")
    assert json.loads(report("flaky", "--json")[1]) == {
        "runs": 1,
        "tests": 1,
        "suspects": [],
        "outages": [],
    }


def test_an_import_names_the_run_that_it_belongs_to(report: Answer, project: Path) -> None:
    record(project, "aa", Outcome.PASSED)
    code, said = report("import", "--json", "--run", "aa", "given/pytest-junit.xml")
    (one,) = json.loads(said)["imported"]
    assert (code, one["run"]) == (0, "aa")
    assert json.loads((project / one["kept"]).read_text())["run"] == "aa"


def test_flaky_without_runs_says_what_to_run(report: Answer) -> None:
    code, said = report("flaky")
    assert code == 2
    assert "run a suite with a unit stage" in said
