"""Why a test failed: planted kinds, told apart by repeating; bounded, and never a verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.unit.runner.conftest import FakeClock

from testops.domain.run import Run
from testops.domain.stage import StageReport
from testops.domain.suite import UnitStage
from testops.domain.test_case import Outcome, TestCase
from testops.reports.flaky import Kind as Judged
from testops.reports.flaky import flaky_report
from testops.runner.projects import Project
from testops.runner.service import Request, Tools, answer
from testops.runner.stages import unit
from testops.runner.stages.unit_causes import TESTS_MAX, Cause, Inquiry, Kind
from testops.runner.test_history import runs_with_tests
from testops.telemetry.clock import SystemClock

P, F = Outcome.PASSED, Outcome.FAILED


@dataclass
class World:
    """Tests that end as planted: `needs` says after which others a test fails."""

    needs: Mapping[str, set[str]]
    chance: set[str] = field(default_factory=set)
    clock: FakeClock = field(default_factory=FakeClock)
    cost_s: float = 1.0
    asked: list[list[str]] = field(default_factory=list)

    def repeat(self, tests: Sequence[str], limit_s: float) -> Mapping[str, Outcome]:
        assert limit_s > 0
        self.asked.append(list(tests))
        self.clock.seconds += self.cost_s
        return {
            test: F
            if test in self.needs
            and test not in self.chance
            and self.needs[test] <= set(tests[:number])
            else P
            for number, test in enumerate(tests)
        }

    def causes(self, cases: Sequence[TestCase], budget_s: float = 60.0) -> dict[str, Cause]:
        return Inquiry(self.repeat, self.clock, budget_s).causes(cases)


def cases(count: int, *failing: str) -> list[TestCase]:
    names = [f"t.py::t{number}" for number in range(count)]
    return [TestCase(name, F if name in failing else P) for name in names]


def test_the_polluter_is_found_among_a_thousand() -> None:
    victim, polluter = "t.py::t999", "t.py::t123"
    world = World({victim: {polluter}})
    assert world.causes(cases(1000, victim)) == {victim: Cause(Kind.ORDER, polluter)}
    # Again in order, alone, and halving ten times two.
    assert len(world.asked) <= 2 + 2 * 10 + 1


def test_two_polluters_together_name_nobody() -> None:
    victim = "t.py::t9"
    world = World({victim: {"t.py::t1", "t.py::t8"}})
    assert world.causes(cases(10, victim)) == {victim: Cause(Kind.ORDER)}


def test_chance_and_a_plain_failure_are_told_apart() -> None:
    chance, plain = "t.py::t2", "t.py::t3"
    world = World({chance: set(), plain: set()}, chance={chance})
    found = world.causes(cases(5, chance, plain))
    assert found == {chance: Cause(Kind.FLAKY), plain: Cause(Kind.ALONE_TOO)}


def test_what_time_did_not_suffice_for_is_not_said() -> None:
    victim = "t.py::t3"
    world = World({victim: {"t.py::t1"}}, cost_s=50)
    assert world.causes(cases(4, victim), budget_s=60) == {victim: Cause(Kind.ORDER)}
    # What is cheap to know of every test comes before what is dear to know of one.
    plain = "t.py::t4"
    world = World({victim: {"t.py::t1"}, plain: set()}, cost_s=20)
    found = world.causes(cases(5, victim, plain), budget_s=60)
    assert found == {victim: Cause(Kind.ORDER), plain: Cause(Kind.ALONE_TOO)}
    world = World({victim: {"t.py::t1"}}, cost_s=100)
    assert world.causes(cases(4, victim), budget_s=60) == {}
    assert World({victim: set()}).causes(cases(4, victim), budget_s=0) == {}


def test_at_most_so_many_are_asked_about_and_an_outage_not_at_all() -> None:
    failing = [f"t.py::t{number}" for number in range(TESTS_MAX + 5)]
    world = World({name: set() for name in failing})
    assert len(world.causes(cases(100, *failing))) == TESTS_MAX
    world.asked.clear()
    assert world.causes(cases(TESTS_MAX + 6, *failing)) == {}
    assert world.asked == []


def test_a_module_that_cannot_be_imported_is_no_test_to_repeat() -> None:
    world = World({})
    assert world.causes([TestCase("t.py", Outcome.ERROR)]) == {}
    assert world.asked == []


# --- with the real pytest -----------------------------------------------------------------------

PLANTED = """
import pathlib
STATE = []
COUNTER = pathlib.Path("counter")

def test_fine(): pass
def test_polluter(): STATE.append(1)
def test_bystander(): pass
def test_victim(): assert not STATE
def test_broken(): assert 1 == 2
def test_chance():
    count = int(COUNTER.read_text()) if COUNTER.exists() else 0
    COUNTER.write_text(str(count + 1))
    assert count % 2
"""
SUITE = "schema: 1\nname: core\nseeds: {sim: 42, chaos: 7}\nstages:\n  unit: {order: file%s}\n"


@pytest.fixture
def planted(project: Project, tools: Tools, request_for: Callable[..., Request]) -> Any:
    (project.root / "tests").mkdir()
    (project.root / "tests" / "test_it.py").write_text(PLANTED)

    def run(more: str = "") -> StageReport:
        (project.suites / "core.yaml").write_text(SUITE % more)
        real = replace(tools, clock=SystemClock())
        done: Run = answer(request_for(), real, listener=lambda _: None, told=lambda _: None)
        return next(one for one in done.stages if one.verdict is not None)

    return run


def test_planted_kinds_are_told_apart_and_change_no_verdict(
    planted: Callable[..., StageReport], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy this machine is.
    monkeypatch.setattr(unit, "BUDGET_S", 500.0)
    report = planted()
    said = {one.message.split(":")[2]: one.message for one in report.findings}
    polluter, victim = "tests/test_it.py::test_polluter", "tests/test_it.py::test_victim"
    assert f"passes alone: depends on order, fails after {polluter};" in said["test_victim"]
    assert f"reproduce: python -m pytest {polluter} {victim}" in said["test_victim"]
    assert "(fails alone too)" in said["test_broken"]
    assert "passed when repeated with the same seed in the same order: flaky" in said["test_chance"]
    kinds = {one.test.rpartition("::")[2]: one.kind for one in found(project)}
    assert kinds == {
        "test_victim": Judged.ORDER,
        "test_broken": Judged.FAILING,
        "test_chance": Judged.FLAKY,
    }
    (project.root / "counter").unlink()
    silent = planted(", classify_failures: false")
    assert (silent.verdict, silent.metrics) == (report.verdict, report.metrics)
    assert not any("alone" in one.message for one in silent.findings)


def found(project: Project) -> Any:
    return flaky_report(runs_with_tests(project, suite="core", last=10)).suspects


KINDS = """
import socket
def test_new(): assert {sum} == 4
def test_outside(): raise socket.gaierror(-2, "Name or service not known")
"""


def test_new_code_outages_and_the_surroundings_are_told_apart(
    planted: Callable[..., StageReport], project: Project
) -> None:
    module = project.root / "tests" / "test_it.py"
    module.write_text(KINDS.format(sum="2 + 2"))
    off = ", classify_failures: false"
    planted(off)
    module.write_text("import os\ndef test_new(): os._exit(1)\n")
    planted(off + ", attempts_max: 1")
    module.write_text(KINDS.format(sum="2 + 3"))
    planted(off)
    report = flaky_report(runs_with_tests(project, suite="core", last=10))
    kinds = {one.test.rpartition("::")[2]: one.kind for one in report.suspects}
    assert kinds == {"test_new": Judged.REGRESSION, "test_outside": Judged.INFRASTRUCTURE}
    assert [one.reason.partition(" (")[0] for one in report.outages] == ["pytest ended early"]


def test_the_switch_moves_no_run_id_while_it_is_on() -> None:
    assert "classify_failures" not in UnitStage().model_dump(mode="json")
    assert UnitStage(classify_failures=False).model_dump(mode="json")["classify_failures"] is False


RERUN = """
import pytest
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for last in (False, True):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        bad = any(report.failed for report in reports)
        for report in reports:
            if report.failed and not last:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not bad:
            break
    return True
"""


def test_a_failure_that_a_plugin_repeats_away_has_still_failed(
    planted: Callable[..., StageReport], project: Project
) -> None:
    tests = project.root / "tests"
    (tests / "conftest.py").write_text(RERUN)
    (tests / "test_it.py").write_text(
        "N = []\ndef test_once():\n    N.append(1)\n    assert N[1:]\n"
    )
    report = planted(", classify_failures: false")
    metrics = {name: metric.value for name, metric in report.metrics.items()}
    assert (metrics["tests"], metrics["passed"], metrics["failed"]) == (1, 0, 1)
    assert [one.kind for one in found(project)] == [Judged.FLAKY]
    assert "flakyFailure" in (project.reports / "junit.xml").read_text()
