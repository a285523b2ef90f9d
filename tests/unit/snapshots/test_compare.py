"""A comparison passes on evidence only, and says of each delta what a person needs to see it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode, Verdict
from testops.snapshots import (
    Comparison,
    approve,
    compare_command,
    compare_paths,
    read_bundle,
    unpack_bundle,
)
from testops.snapshots.approve import baseline_path, record_path
from testops.snapshots.tally import DELTAS_PER_EXECUTION_MAX, DELTAS_REPORTED_MAX

RUN = "python sim/run_suite.py --profile offline --suite regression_core"


def golden_with(tmp_path: Path, *recipes: Recipe) -> Path:
    golden = tmp_path / "golden"
    for recipe in recipes:
        baseline = recipe.write(baseline_path(golden, recipe.header().key))
        record_path(baseline).write_text(json.dumps({"identity": read_bundle(baseline).identity}))
    golden.mkdir(exist_ok=True)
    return golden


def compared(tmp_path: Path, base: Recipe, target: Recipe) -> Comparison:
    return compare_paths(
        base.write(tmp_path / "base.tar.gz"), target.write(tmp_path / "target.tar.gz")
    )


def test_equal_behaviour_passes_from_a_folder_of_baselines_to_an_unpacked_bundle(
    tmp_path: Path,
) -> None:
    golden = golden_with(tmp_path, Recipe(seeds=(1, 2)), Recipe(suite="full"))
    unpack_bundle(Recipe(seeds=(1, 2)).write(tmp_path / "run.tar.gz"), tmp_path / "dev")
    comparison = compare_paths(golden, tmp_path / "dev")
    assert comparison.verdict is Verdict.PASS
    assert comparison.reason == "2 executions behave as the baseline says"
    assert comparison.base_identity == comparison.target_identity


def test_a_delta_names_kernel_seed_field_both_values_and_the_command(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path,
        Recipe(outputs={"balances": {"alice": 100}}, source="sim/kernels/core/ledger.py::ledger"),
        Recipe(outputs={"balances": {"alice": 90}}, source="sim/kernels/core/ledger.py::ledger"),
    )
    assert comparison.verdict is Verdict.FAIL
    [delta] = comparison.deltas
    assert delta.text() == (
        "kernel ledger, seed 7, chaos seed 3: /outputs/balances/alice was 100, is 90 (-10 %); "
        "reproduce: toron run sim/kernels/core/ledger.py::ledger --seed 7 --chaos-seed 3"
    )
    assert delta.text() in comparison.reason
    assert "testops snapshot approve" in comparison.fix


def test_without_a_source_the_command_runs_the_suite_at_the_seed(tmp_path: Path) -> None:
    [delta] = compared(tmp_path, Recipe(), Recipe(outputs={})).deltas
    assert delta.reproduce == f"{RUN} --seed 7 --chaos-seed 3"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": 1}, {}, "/outputs/a was 1, is absent"),
        ({}, {"a": None}, "/outputs/a was absent, is null"),
        ({"a": "x"}, {"a": 'y"'}, r'/outputs/a was "x", is "y\""'),
        ({"a": 1}, {"a": "1"}, '/outputs/a was the number 1, is the text "1"'),
        ({"a": ["x", "y", "z"]}, {"a": ["z", "x", "y"]}, "/outputs/a/0 moved from index 2 to 0"),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, "/outputs/a~1b/~0 was 1, is 2 (+100 %)"),
    ],
)
def test_each_kind_of_change_has_its_own_words(
    tmp_path: Path, old: Any, new: Any, said: str
) -> None:
    [delta] = compared(tmp_path, Recipe(outputs=old), Recipe(outputs=new)).deltas
    assert said in delta.text()


def test_properties_verdict_and_failure_are_behaviour_too(tmp_path: Path) -> None:
    held = {"no negative balance": {"kind": "always", "pass": 9, "fail": 0, "never_reached": False}}
    broken = {"no negative balance": {**held["no negative balance"], "fail": 1}}
    failure = {"kind": "property", "message": "broke", "virtual_ns": 5, "where": "a.py:7 in f"}
    comparison = compared(
        tmp_path,
        Recipe(properties=held),
        Recipe(properties=broken, verdict="fail", failure=failure),
    )
    assert [delta.field for delta in comparison.deltas] == [
        "/failure",
        "/properties/no negative balance/fail",
        "/verdict",
    ]


def test_a_comment_that_moves_a_failure_by_a_line_is_no_delta(tmp_path: Path) -> None:
    failure = {"kind": "exception", "message": "broke", "virtual_ns": 5, "where": "a.py:7 in f"}
    moved = {**failure, "where": "a.py:9 in f"}
    elsewhere = {**failure, "where": "a.py:9 in g"}
    base = Recipe(failure=failure, verdict="fail")
    same = compared(tmp_path, base, Recipe(failure=moved, verdict="fail"))
    assert same.verdict is Verdict.PASS
    other = compared(tmp_path, base, Recipe(failure=elsewhere, verdict="fail"))
    assert [delta.field for delta in other.deltas] == ["/failure/where"]


def test_another_way_to_the_same_outputs_is_a_delta_of_the_trace(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Recipe(digest="a" * 64), Recipe(digest="b" * 64, steps=11))
    [delta] = comparison.deltas
    assert (comparison.verdict, delta.kind, delta.field) == (
        Verdict.FAIL,
        "trace",
        "/trace_digest",
    )
    assert "outputs are equal, but the trace differs" in delta.text()
    assert "steps 10 -> 11" in delta.text()


def test_changed_outputs_are_not_reported_again_as_a_changed_trace(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Recipe(), Recipe(outputs={"a": 1}, digest="b" * 64))
    assert {delta.kind for delta in comparison.deltas} == {"added", "removed"}


def test_the_first_event_that_differs_is_shown_with_its_neighbours(tmp_path: Path) -> None:
    def trace(names: str) -> list[dict[str, Any]]:
        return [{"number": n, "text": text, "where": f"f:{n}"} for n, text in enumerate(names)]

    comparison = compared(
        tmp_path,
        Recipe(trace=trace("abcdefgh"), verdict="fail"),
        Recipe(trace=trace("abcdeXgh"), verdict="fail", digest="b" * 64),
    )
    found: Any = comparison.divergences[0].to_json()
    assert found["event"] == 5
    texts = {side: [event["text"] for event in found[side]] for side in ("before", "old", "new")}
    assert texts["before"] == ["c  [f:2]", "d  [f:3]", "e  [f:4]"]
    assert texts["old"][0] == "f  [f:5]"
    assert texts["new"][0] == "X  [f:5]"


def test_a_trace_that_ends_early_parts_where_it_ends(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path,
        Recipe(trace=["a", "b", "c"], verdict="fail"),
        Recipe(trace=["a", "b"], verdict="fail", digest="b" * 64),
    )
    divergence = comparison.divergences[0].divergence
    assert (divergence.number, len(divergence.old), len(divergence.new)) == (2, 1, 0)


def test_seeds_that_one_side_lacks_are_inconclusive_both_ways(tmp_path: Path) -> None:
    few, many = Recipe(seeds=(1,)), Recipe(seeds=(1, 2, 3))
    more = compared(tmp_path, few, many)
    assert more.verdict is Verdict.INCONCLUSIVE
    assert "2 executions of the target have no counterpart in the baseline" in more.reason
    assert "ledger, seed 2, chaos seed 3" in more.reason
    less = compared(tmp_path, many, few)
    assert less.verdict is Verdict.INCONCLUSIVE
    assert len(less.only_in_base) == 2


def test_a_delta_is_a_failure_even_where_seeds_are_missing(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Recipe(seeds=(1,)), Recipe(seeds=(1, 2), outputs={}))
    assert comparison.verdict is Verdict.FAIL


def test_two_empty_bundles_prove_nothing(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Recipe(seeds=()), Recipe(seeds=()))
    assert comparison.verdict is Verdict.INCONCLUSIVE


def test_another_engine_minor_asks_for_a_baseline_refresh(tmp_path: Path) -> None:
    golden = golden_with(tmp_path, Recipe())
    target = Recipe(engine="toron-v2.5H+.2").write(tmp_path / "run.tar.gz")
    comparison = compare_paths(golden, target)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "baseline refresh" in comparison.reason
    assert f"testops snapshot approve {target}" in comparison.fix
    # Two bundles by name are held to the same rule.
    single = compare_paths(Recipe().write(tmp_path / "one.tar.gz"), target)
    assert single.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("other", [Recipe(suite="full"), Recipe(profile="large")])
def test_a_folder_without_the_key_is_inconclusive(tmp_path: Path, other: Recipe) -> None:
    golden = golden_with(tmp_path, other)
    comparison = compare_paths(golden, Recipe().write(tmp_path / "run.tar.gz"))
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "no baseline of suite regression_core, profile offline" in comparison.reason
    assert comparison.base_identity is None


def test_an_empty_or_absent_folder_of_baselines_is_inconclusive(tmp_path: Path) -> None:
    target = Recipe().write(tmp_path / "run.tar.gz")
    (tmp_path / "golden").mkdir()
    for base in (tmp_path / "golden", tmp_path / "absent"):
        comparison = compare_paths(base, target)
        assert comparison.verdict is Verdict.INCONCLUSIVE
        assert "no approved baseline" in comparison.reason


def test_across_python_minors_outputs_are_compared_and_traces_are_not(tmp_path: Path) -> None:
    counts = {"p": {"kind": "always", "pass": 9, "fail": 0, "never_reached": False}}
    more = {"p": {**counts["p"], "pass": 12}}
    golden = golden_with(tmp_path, Recipe(properties=counts), Recipe(python="3.9"))
    target = Recipe(python="3.12", digest="b" * 64, steps=99, properties=more)
    comparison = compare_paths(golden, target.write(tmp_path / "run.tar.gz"))
    assert comparison.verdict is Verdict.PASS
    assert comparison.base is not None
    assert comparison.base.header.python == "3.11"
    assert "trace digests, steps and virtual time were not compared" in comparison.notes[0]
    changed = Recipe(python="3.12", outputs={}).write(tmp_path / "run.tar.gz")
    assert compare_paths(golden, changed).verdict is Verdict.FAIL
    broken = {"p": {**counts["p"], "fail": 1}}
    broke = Recipe(python="3.12", properties=broken).write(tmp_path / "run.tar.gz")
    assert compare_paths(golden, broke).verdict is Verdict.FAIL


def test_the_same_python_is_taken_before_any_other(tmp_path: Path) -> None:
    golden = golden_with(
        tmp_path, Recipe(python="3.12", outputs={}), Recipe(), Recipe(python="3.10")
    )
    comparison = compare_paths(golden, Recipe().write(tmp_path / "run.tar.gz"))
    assert (comparison.verdict, list(comparison.notes)) == (Verdict.PASS, [])


def test_two_baselines_of_one_key_are_refused_until_one_is_named(tmp_path: Path) -> None:
    golden = golden_with(tmp_path, Recipe())
    Recipe(outputs={}).write(golden / "stray.tar.gz")
    with pytest.raises(BadInput, match="2 different bundles that fit"):
        compare_paths(golden, Recipe().write(tmp_path / "run.tar.gz"))


def test_a_copy_of_a_bundle_is_not_a_second_one(tmp_path: Path) -> None:
    golden = golden_with(tmp_path, Recipe())
    Recipe().write(golden / "copy.tar.gz")
    assert compare_paths(golden, Recipe().write(tmp_path / "run.tar.gz")).verdict is Verdict.PASS


def test_of_several_targets_the_one_with_the_key_of_the_base_is_meant(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "base.tar.gz")
    runs = tmp_path / "runs"
    Recipe(suite="full").write(runs / "a.tar.gz")
    Recipe().write(runs / "b.tar.gz")
    assert compare_paths(base, runs).verdict is Verdict.PASS
    Recipe(outputs={}).write(runs / "c.tar.gz")
    with pytest.raises(BadInput, match="name the one that you mean"):
        compare_paths(base, runs)


def test_a_missing_target_names_the_command_that_makes_it(tmp_path: Path) -> None:
    golden = golden_with(tmp_path, Recipe())
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "snapshots" / "dev", tmp_path / "run.tar.gz", tmp_path / "empty"):
        with pytest.raises(BadInput) as caught:
            compare_paths(golden, target)
        assert f"{target}: " in str(caught.value)
        assert RUN in str(caught.value)


def test_a_damaged_baseline_is_refused_by_name(tmp_path: Path) -> None:
    golden = golden_with(tmp_path, Recipe())
    broken = next(golden.rglob("*.tar.gz"))
    broken.write_bytes(broken.read_bytes()[:-5])
    with pytest.raises(BadInput, match="cut off") as caught:
        compare_paths(golden, Recipe().write(tmp_path / "run.tar.gz"))
    assert caught.value.where == str(broken)


def test_a_baseline_that_was_replaced_without_approval_is_no_evidence(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    at = datetime(2026, 11, 24, tzinfo=UTC)
    baseline = approve(run, tmp_path / "golden", who="ada", why="first", at=at)
    changed = Recipe(outputs={}).write(baseline)
    comparison = compare_paths(tmp_path / "golden", changed)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.findings[0]["kind"] == "baseline_not_approved"


def test_a_baseline_whose_record_is_missing_is_no_evidence(tmp_path: Path) -> None:
    run = Recipe().write(tmp_path / "run.tar.gz")
    at = datetime(2026, 11, 24, tzinfo=UTC)
    baseline = approve(run, tmp_path / "golden", who="ada", why="first", at=at)
    assert compare_paths(tmp_path / "golden", run).verdict is Verdict.PASS
    record_path(baseline).unlink()
    comparison = compare_paths(tmp_path / "golden", run)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "says who approved it" in comparison.reason


def test_what_is_reported_is_bounded_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    seeds = tuple(range(30))
    old = Recipe(outputs={f"f{n:04}": 1 for n in range(300)}, seeds=seeds)
    new = Recipe(outputs={f"f{n:04}": 2 for n in range(300)}, seeds=seeds)
    comparison = compared(tmp_path, old, new)
    assert comparison.delta_count == 9000
    assert len(comparison.deltas) == DELTAS_REPORTED_MAX
    first = [delta for delta in comparison.deltas if delta.execution.sim_seed == 0]
    assert len(first) == DELTAS_PER_EXECUTION_MAX
    assert comparison.summary[0] == {
        "kernel": "ledger",
        "field": "/outputs/f0000",
        "kind": "drifted",
        "executions": 30,
    }


def test_one_change_in_every_record_of_a_list_is_one_line_of_the_summary(tmp_path: Path) -> None:
    def rows(step: int) -> Any:
        return {"rows": [{"id": n, "value": n + step} for n in range(5000)]}

    comparison = compared(tmp_path, Recipe(outputs=rows(0)), Recipe(outputs=rows(1)))
    assert comparison.delta_count == 5000
    [line] = comparison.summary
    assert (line["field"], line["kind"]) == ("/outputs/rows/*/value", "drifted")
    assert comparison.deltas[7].pattern == "/outputs/rows/*/value"
    assert comparison.deltas[7].field == "/outputs/rows/7/value"
    assert len(json.dumps(comparison.to_json())) < 100_000


def test_the_fields_of_a_summary_are_bounded_too(tmp_path: Path) -> None:
    old = Recipe(outputs={f"f{n:05}": 1 for n in range(7000)})
    comparison = compared(tmp_path, old, Recipe(outputs={}))
    assert comparison.delta_count == 7000
    assert len(comparison.summary) == DELTAS_REPORTED_MAX


def test_a_drift_is_told_in_per_cent_in_ulp_and_exactly(tmp_path: Path) -> None:
    old = Recipe(outputs={"a": 0.1 + 0.2, "b": 0, "c": 2**52, "d": 0.5})
    new = Recipe(outputs={"a": 0.3, "b": 5, "c": 2**52 + 1, "d": 1})
    said = [delta.what() for delta in compared(tmp_path, old, new).deltas]
    assert said == [
        "was 0.30000000000000004, is 0.3 (-1.85e-14 %, 1 ULP)",
        "was 0, is 5 (+5)",
        "was 4503599627370496, is 4503599627370497 (+2.22e-14 %, +1)",
        "was 0.5, is 1 (+100 %, 4503599627370496 ULP)",
    ]


def test_a_huge_value_is_shortened_in_the_text_and_in_the_json(tmp_path: Path) -> None:
    comparison = compared(tmp_path, Recipe(outputs={"a": "x" * 10**6}), Recipe(outputs={"a": "y"}))
    assert len(comparison.deltas[0].text()) < 1000
    assert len(json.dumps(comparison.to_json())) < 10_000


def test_the_command_answers_with_text_json_reports_and_exit_code(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "a.tar.gz")
    target = Recipe(outputs={}).write(tmp_path / "b.tar.gz")
    given: list[Any] = []

    def report(comparison: Any) -> list[Path]:
        given.append(comparison)
        return [tmp_path / "snapshot_diff.txt"]

    result = compare_command(base, target, masks=None, strict=False, report=report)
    assert result.exit_code is ExitCode.FAILED
    assert result.text().count("/outputs/balances was") == 1
    answer = result.to_json()
    assert (answer["verdict"], answer["exit_code"]) == ("fail", 1)
    assert json.loads(json.dumps(answer))["reports"] == [str(tmp_path / "snapshot_diff.txt")]
    assert given[0]["delta_count"] == 1
    held = compare_command(base, base, masks=None, strict=True, report=report)
    assert held.exit_code is ExitCode.HOLDS


def test_strict_makes_an_unused_mask_a_failure(tmp_path: Path) -> None:
    base = Recipe().write(tmp_path / "a.tar.gz")
    masks = tmp_path / "masks.yaml"
    masks.write_text("masks: [{files: '*', pointer: /outputs/absent, reason: none}]")

    def code(strict: bool) -> ExitCode:
        return compare_command(
            base, base, masks=masks, strict=strict, report=lambda _: []
        ).exit_code

    assert (code(strict=False), code(strict=True)) == (ExitCode.HOLDS, ExitCode.FAILED)
