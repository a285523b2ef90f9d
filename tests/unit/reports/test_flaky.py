"""Chance, order, surroundings and new code are told apart by the runs they left."""

from collections.abc import Mapping, Sequence

import pytest

from testops.domain.test_case import Outcome, TestCase, Try
from testops.reports.flaky import Kind, Suspect, TestRun, flaky_report
from testops.reports.test_record import Circumstances, read_test_record, write_test_record

P, F, E, S = Outcome.PASSED, Outcome.FAILED, Outcome.ERROR, Outcome.SKIPPED
OPEN, LOOPBACK = "open", "loopback-only"
numbers = iter(range(1_000_000))


def run(
    tests: Mapping[str, Outcome] | Sequence[TestCase],
    *,
    seed: int = 1,
    build: str = "c1",
    network: str = LOOPBACK,
    broken: str = "",
) -> TestRun:
    cases = (
        tuple(TestCase(name, outcome) for name, outcome in tests.items())
        if isinstance(tests, Mapping)
        else tuple(tests)
    )
    conditions = Circumstances("seeded", seed, network)
    number = next(numbers)
    return TestRun(
        f"run{number}", 1, build, seed, broken, conditions, cases, f"testops run --seed {seed}"
    )


def only(*runs: TestRun) -> Suspect:
    (suspect,) = flaky_report(runs).suspects
    return suspect


def case(outcome: Outcome, message: str = "", **told: str) -> list[TestCase]:
    properties = tuple((f"testops.{name}", value) for name, value in told.items())
    return [TestCase("t", outcome, message=message, properties=properties)]


def test_both_outcomes_under_one_seed_of_one_build_are_flaky() -> None:
    suspect = only(run({"t": P}), run({"t": F}), run({"t": P}))
    assert (suspect.kind, suspect.passed, suspect.failed) == (Kind.FLAKY, 2, 1)
    assert suspect.reason == "seed 1: passed 2, failed 1 times"
    assert suspect.next_step == "testops run --seed 1"


def test_the_same_outcomes_of_two_builds_are_a_regression_and_not_flaky() -> None:
    suspect = only(run({"t": P}, build="c1"), run({"t": F}, build="c2"), run({"t": F}, build="c2"))
    assert suspect.kind is Kind.REGRESSION
    assert suspect.build == "c2"


def test_a_regression_that_a_newer_build_does_not_have_is_over() -> None:
    runs = [run({"t": P}, build="1"), run({"t": F}, build="2"), run({"t": P}, build="3")]
    assert flaky_report(runs).suspects == ()


def test_a_test_that_is_flaky_stays_so_though_the_newest_build_passed_once() -> None:
    runs = [run({"t": P}, build="1"), run({"t": F}, build="1"), run({"t": P}, build="2")]
    assert only(*runs).kind is Kind.FLAKY


def test_a_test_that_never_passed_is_failing_and_no_regression() -> None:
    assert only(run({"t": F}), run({"t": F}, seed=2)).kind is Kind.FAILING


def test_each_seed_with_an_outcome_of_its_own_is_order() -> None:
    good = {"victim": P, "a": P, "b": P, "polluter": P}
    bad = {"a": P, "polluter": P, "victim": F, "b": P}
    suspect = only(
        run(good, seed=1), run(bad, seed=2), run(good, seed=1), run(bad, seed=2),
        run({"a": P, "victim": P, "b": P, "polluter": P}, seed=3),
    )  # fmt: skip
    assert (suspect.test, suspect.kind) == ("victim", Kind.ORDER)
    # Before it in every run that failed, and in none that passed.
    assert suspect.polluters == ("polluter",)


def test_without_a_seed_run_twice_nobody_can_tell() -> None:
    suspect = only(run({"t": P}, seed=1), run({"t": F}, seed=2))
    assert suspect.kind is Kind.UNCLEAR
    assert suspect.next_step == "testops run --seed 2"


def test_what_the_stage_found_out_settles_it() -> None:
    order = only(run({"t": P}, seed=1), run(case(F, cause="order-dependent", polluter="p"), seed=2))
    assert (order.kind, order.polluters) == (Kind.ORDER, ("p",))
    flaky = only(run(case(F, cause="flaky")))
    assert flaky.kind is Kind.FLAKY
    data = only(run({"t": P}, seed=1), run(case(F, cause="fails-alone"), seed=2))
    assert data.kind is Kind.FAILING
    assert "its data comes from the seed" in data.reason


def test_a_test_that_a_plugin_repeated_until_it_passed_is_flaky() -> None:
    again = TestCase("t", P, tries=(Try(F, "no"),))
    assert only(run([again])).kind is Kind.FLAKY


MANY = {f"t{number}": P for number in range(10)}


def test_an_outage_is_not_counted_against_the_tests_in_it() -> None:
    mass = run(dict.fromkeys(MANY, E))
    report = flaky_report([run(MANY), mass, run(MANY)])
    assert [outage.run for outage in report.outages] == [mass.shown]
    assert "100 % of its tests failed at once" in report.outages[0].reason
    assert {one.kind for one in report.suspects} <= {Kind.INFRASTRUCTURE}


def test_code_that_breaks_everything_is_no_outage() -> None:
    report = flaky_report([run(MANY, build="1"), run(dict.fromkeys(MANY, F), build="2")])
    assert report.outages == ()
    assert {one.kind for one in report.suspects} == {Kind.REGRESSION}


def test_a_stage_that_did_not_come_to_its_end_is_an_outage() -> None:
    report = flaky_report([run({"t": P}), run({}, broken="the tests did not end within 2 s")])
    assert report.outages[0].reason == "the tests did not end within 2 s"
    assert report.suspects == ()


@pytest.mark.parametrize(
    ("message", "network", "kind"),
    [
        ("gaierror: [Errno -2] Name or service not known", LOOPBACK, Kind.INFRASTRUCTURE),
        ("OSError: [Errno 28] No space left on device", LOOPBACK, Kind.INFRASTRUCTURE),
        ("connect to 192.0.2.9:443: Connection refused", LOOPBACK, Kind.INFRASTRUCTURE),
        ("ConnectionRefusedError: [Errno 111] Connection refused", OPEN, Kind.INFRASTRUCTURE),
        # Its own server was not up: that is the test's fault, and chance.
        ("connect to 127.0.0.1:80: Connection refused", OPEN, Kind.FLAKY),
        ("ConnectionRefusedError: [Errno 111] Connection refused", LOOPBACK, Kind.FLAKY),
        ("AssertionError: refused to dance", OPEN, Kind.FLAKY),
    ],
)
def test_failures_of_the_surroundings_are_excused(message: str, network: str, kind: Kind) -> None:
    suspect = only(run({"t": P}, network=network), run(case(F, message), network=network))
    assert suspect.kind is kind
    assert suspect.excused == int(kind is Kind.INFRASTRUCTURE)


def test_builds_without_a_name_are_never_the_same_code() -> None:
    assert (
        flaky_report([run({"t": P}, build=""), run({"t": F}, build="")]).suspects[0].kind
        is Kind.REGRESSION
    )


def test_skipped_tests_say_nothing() -> None:
    assert flaky_report([run({"t": P}), run({"t": S})]).suspects == ()


def test_a_record_of_tests_comes_back() -> None:
    conditions = Circumstances("file", 7, OPEN, in_workers=True)
    cases = (TestCase("t", F, message="\ud800"),)
    assert read_test_record(write_test_record(conditions, cases)) == (conditions, cases)
