"""What moved becomes groups that people decide about, kept in files that are never guessed at."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.errors import BadInput
from testops.domain.review import Cause, Decision, Group, GroupState, Review, ReviewState
from testops.snapshots import compare_paths
from testops.snapshots.review import generalized, review_of
from testops.snapshots.review_folder import ReviewFolder

BY = Decision("ada", "it is meant", "2026-11-25T12:30:00Z")


def compared(tmp_path: Path, old: Recipe, new: Recipe) -> dict[str, Any]:
    base = old.write(tmp_path / "base.tar.gz")
    target = new.write(tmp_path / "run-0123456789abcdef.tar.gz")
    return compare_paths(base, target).to_json()


def opened(comparison: dict[str, Any], at: str = "2026-11-25T12:00:00Z") -> Review:
    return review_of(comparison, at=at, run_id="0123456789abcdef", approvals_required=1)


def outputs(**values: Any) -> Recipe:
    return Recipe(outputs=values, seeds=(7, 8))


def test_one_change_under_every_seed_and_in_every_item_is_one_group(tmp_path: Path) -> None:
    comparison = compared(tmp_path, outputs(prices=[1, 2, 3]), outputs(prices=[1, 20, 30]))
    review = opened(comparison)
    assert [(one.kernel, one.field, one.kind, one.executions) for one in review.groups] == [
        ("ledger", "/outputs/prices/*", "drifted", 2)
    ]
    assert "was 2, is 20" in review.groups[0].example
    assert (review.base, review.target) == (
        comparison["base"]["identity"],
        comparison["target"]["identity"],
    )
    assert review.state is ReviewState.PENDING


def test_executions_that_only_one_side_has_are_part_of_what_is_decided(tmp_path: Path) -> None:
    old = Recipe(outputs={"n": 1}, seeds=(6, 7), kernels=("ledger", "stock"))
    new = Recipe(outputs={"n": 2}, seeds=(7, 8))
    found = {
        (one.kernel, one.kind): one.executions
        for one in opened(compared(tmp_path, old, new)).groups
    }
    assert found == {
        ("ledger", "drifted"): 1,
        ("ledger", "only_in_base"): 1,
        ("stock", "only_in_base"): 2,
        ("ledger", "only_in_target"): 1,
    }


def test_the_digest_of_a_group_is_of_what_changed_into_what(tmp_path: Path) -> None:
    old = outputs(x=1, y=1)
    groups = opened(compared(tmp_path, old, outputs(x=2, y=1))).groups
    again = opened(compared(tmp_path, old, outputs(x=2, y=5))).groups
    other = opened(compared(tmp_path, old, outputs(x=3, y=1))).groups
    assert groups[0].digest == again[0].digest
    assert groups[0].digest != other[0].digest


def test_a_value_that_a_report_shortens_has_no_digest(tmp_path: Path) -> None:
    comparison = compared(tmp_path, outputs(x="a" * 9000), outputs(x="b" * 9000))
    assert opened(comparison).groups[0].digest is None


def test_the_cause_of_a_group_is_the_worst_that_was_found(tmp_path: Path) -> None:
    comparison = compared(tmp_path, outputs(x=1), outputs(x=2))
    for causes, wanted in (
        (("regression", "regression"), Cause.REGRESSION),
        (("regression", "unknown"), Cause.UNKNOWN),
        (("unknown", "nondeterminism"), Cause.NONDETERMINISM),
    ):
        for delta, cause in zip(comparison["deltas"], causes, strict=True):
            delta["cause"] = cause
        assert opened(comparison).groups[0].cause is wanted


def test_what_a_program_wrote_cannot_write_on_a_terminal(tmp_path: Path) -> None:
    comparison = compared(tmp_path, outputs(x="a"), outputs(x="b"))
    comparison["deltas"][0]["text"] = "kernel\x1b[2J\nnext \u202e"
    assert opened(comparison).groups[0].example == "kernel\\x1b[2J next \\u202e"


def test_a_pointer_keeps_its_names_and_loses_its_numbers() -> None:
    assert generalized("/outputs/a~1b/17/x/0") == "/outputs/a~1b/*/x/*"
    assert generalized("") == ""
    assert len(generalized("/outputs" + "/name" * 900)) <= 1000


def test_a_later_target_supersedes_the_one_before_and_takes_its_decisions(tmp_path: Path) -> None:
    folder, old = ReviewFolder(tmp_path / "reviews"), outputs(x=1, y=1)
    first = folder.open(opened(compared(tmp_path, old, outputs(x=2, y=2))))
    rejected = first.decide(GroupState.REJECTED, BY, kernel="ledger", field="/outputs/x")
    folder.save(rejected.decide(GroupState.ACCEPTED, BY, kernel="ledger", field="/outputs/y"))
    second = folder.open(opened(compared(tmp_path, old, outputs(x=2, y=3))))
    assert {one.field: one.state for one in second.groups} == {
        "/outputs/x": GroupState.REJECTED,
        "/outputs/y": GroupState.PENDING,
    }
    former = folder.of(first.target)
    assert former is not None
    assert (former.state, former.superseded_by) == (ReviewState.SUPERSEDED, second.target)
    assert [one.target for one in folder.all() if one.is_open] == [second.target]


def test_a_target_that_comes_back_is_decided_as_it_was(tmp_path: Path) -> None:
    folder, old = ReviewFolder(tmp_path / "reviews"), outputs(x=1)
    first = folder.open(opened(compared(tmp_path, old, outputs(x=2))))
    folder.save(first.decide(GroupState.REJECTED, BY))
    folder.open(opened(compared(tmp_path, old, outputs(x=3))))
    again = folder.open(opened(compared(tmp_path, old, outputs(x=2))))
    assert again.state is ReviewState.REJECTED


def test_the_same_comparison_twice_is_one_review(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "reviews")
    comparison = compared(tmp_path, outputs(x=1), outputs(x=2))
    first = folder.open(opened(comparison))
    folder.save(first.decide(GroupState.ACCEPTED, BY))
    again = folder.open(opened(comparison, at="2026-11-26T12:00:00Z"))
    assert again.opened_at == first.opened_at
    assert again.groups[0].state is GroupState.ACCEPTED
    assert len(folder.all()) == 1


def test_a_run_that_behaves_as_the_baseline_closes_what_waited(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "reviews")
    review = folder.open(opened(compared(tmp_path, outputs(x=1), outputs(x=2))))
    folder.save(review.decide(GroupState.ACCEPTED, BY))
    assert review.base is not None
    folder.settle(review.base, review.base, review.key)
    assert [one.state for one in folder.all()] == [ReviewState.SUPERSEDED]


def test_reviews_in_which_nobody_decided_do_not_pile_up(tmp_path: Path) -> None:
    folder, old = ReviewFolder(tmp_path / "reviews"), outputs(x=1, y=1)
    runs = [opened(compared(tmp_path, old, outputs(x=2, y=number))) for number in range(2, 6)]
    last = [folder.open(run) for run in runs][-1]
    assert folder.all() == [last]
    # A decision that lives on in the newer review needs no second place either.
    folder.save(last.decide(GroupState.REJECTED, BY, field="/outputs/x"))
    newest = folder.open(opened(compared(tmp_path, old, outputs(x=2, y=9))))
    assert folder.all() == [newest]
    assert newest.state is ReviewState.REJECTED
    folder.settle(newest.base or "", newest.base or "", newest.key)
    assert [one.state for one in folder.all()] == [ReviewState.SUPERSEDED]


def test_the_review_of_another_suite_stays_open(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "reviews")
    folder.open(opened(compared(tmp_path, outputs(x=1), outputs(x=2))))
    old, new = Recipe(outputs={"x": 1}, suite="other"), Recipe(outputs={"x": 2}, suite="other")
    folder.open(opened(compared(tmp_path, old, new)))
    assert [one.is_open for one in folder.all()] == [True, True]


def damage(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_review_that_was_edited_badly_is_named_and_never_overwritten(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "reviews")
    comparison = compared(tmp_path, outputs(x=1), outputs(x=2))
    path = folder.path_of(folder.open(opened(comparison)).target)
    damage(path, state="accepted")
    before = path.read_bytes()
    for act in (folder.all, lambda: folder.open(opened(comparison))):
        with pytest.raises(BadInput, match=r"reviews/[0-9a-f]{16}.json: /state: is 'accepted'"):
            act()
    assert path.read_bytes() == before


def test_a_review_under_the_name_of_another_bundle_is_refused(tmp_path: Path) -> None:
    folder = ReviewFolder(tmp_path / "reviews")
    path = folder.path_of(
        folder.open(opened(compared(tmp_path, outputs(x=1), outputs(x=2)))).target
    )
    path.rename(path.with_name("ab" * 8 + ".json"))
    with pytest.raises(BadInput, match="its name says another"):
        folder.all()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": 1, "a": 2}', b"1" * 5000])
def test_bytes_that_are_no_review_are_bad_input(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reviews" / f"{'ab' * 8}.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadInput, match="restore the review from version control"):
        ReviewFolder(tmp_path / "reviews").all()


def test_a_group_that_no_report_could_hold_is_named(tmp_path: Path) -> None:
    comparison = compared(tmp_path, outputs(x=1), outputs(x=2))
    line = comparison["summary"][0]
    comparison["summary"] = [{**line, "field": f"/outputs/n{index}"} for index in range(1000)]
    last = opened(comparison).groups[-1]
    assert last == Group("*", "", "not_reported", 1, last.example)


def test_whoever_names_no_group_is_told_how_many_are_not_listed(tmp_path: Path) -> None:
    old, new = ({f"f{n}": str(value) for n in range(7)} for value in (1, 2))
    review = opened(compared(tmp_path, outputs(**old), outputs(**new)))
    with pytest.raises(BadInput, match=r"/outputs/f4 [(]changed[)]; and 2 more$"):
        review.named(field="/outputs/nope")
