"""A review moves only forward, counts people and not spellings, and is read back without trust."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput, IllegalMove
from testops.domain.review import (
    MOVES,
    Cause,
    Decision,
    Group,
    GroupState,
    MaskAudit,
    Review,
    ReviewState,
    decided,
    same_person,
)
from testops.domain.review_record import review_from_json

AT = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
KEY = BundleKey("regression_core", "offline", "toron-v2.5H+.2", "3.11")
BASE, TARGET, NEWER = "a" * 64, "b" * 64, "c" * 64


def group(field: str = "/outputs/x", *, value: str = "1", kernel: str = "ledger") -> Group:
    return Group(kernel, field, "changed", 3, f"was 0, is {value}", digest=value * 64)


def review(*groups: Group, required: int = 1, target: str = TARGET) -> Review:
    groups = groups or (group(), group("/outputs/y"))
    return Review(BASE, target, KEY, "2026-11-25T12:00:00Z", "7f3a", required, groups)


def by(who: str, why: str = "it is meant") -> Decision:
    return decided(who, why, AT)


def test_accepting_every_group_leaves_the_review_pending_until_somebody_approves() -> None:
    done = review().decide(GroupState.ACCEPTED, by("ada"))
    assert [item.state for item in done.groups] == ["accepted", "accepted"]
    assert (done.state, done.approvals_missing) == (ReviewState.PENDING, 1)
    assert done.approve(by("ada")).state is ReviewState.ACCEPTED


def test_an_approval_accepts_what_is_pending_and_keeps_what_was_decided() -> None:
    started = review().decide(GroupState.MASKED, by("eve"), kernel="ledger", field="/outputs/y")
    done = started.approve(by("ada"))
    assert [(item.state, item.decision and item.decision.who) for item in done.groups] == [
        ("accepted", "ada"),
        ("masked", "eve"),
    ]
    assert done.state is ReviewState.ACCEPTED


def test_one_target_that_was_unstable_once_does_not_become_stable_by_another_look() -> None:
    moved = review(replace(group(), cause=Cause.NONDETERMINISM), group("/outputs/y"))
    again = replace(group(), cause=Cause.REGRESSION)
    renewed = moved.renewed(review(again, replace(group("/outputs/y"), cause=Cause.REGRESSION)))
    assert [item.field for item in renewed.unstable] == ["/outputs/x"]
    other = review(again, target=NEWER).carried_from(moved)
    assert other.unstable == ()  # another target is other behaviour: it may have been mended


def test_a_rejected_group_blocks_approval_for_everybody() -> None:
    rejected = review().decide(GroupState.REJECTED, by("ada", "loses money"), field="/outputs/x")
    assert rejected.state is ReviewState.REJECTED
    assert rejected.is_open
    with pytest.raises(IllegalMove, match=r"rejected to accepted.*/outputs/x.*ada rejected it"):
        rejected.approve(by("bob"))


def test_an_acceptance_can_be_taken_back_and_a_rejection_cannot() -> None:
    back = review().decide(GroupState.ACCEPTED, by("ada")).decide(GroupState.REJECTED, by("bob"))
    assert {item.state for item in back.groups} == {GroupState.REJECTED}
    with pytest.raises(IllegalMove, match="cannot go from rejected to accepted"):
        back.decide(GroupState.ACCEPTED, by("bob"))


@pytest.mark.parametrize("start", list(GroupState))
@pytest.mark.parametrize("end", list(GroupState))
def test_a_group_moves_along_the_table_or_names_both_ends(
    start: GroupState, end: GroupState
) -> None:
    standing = replace(group(), state=start, decision=by("ada"))
    if end in MOVES[start]:
        assert standing.moved_to(end, by("bob")).state is end
    else:
        with pytest.raises(IllegalMove, match=f"cannot go from {start} to {end}"):
            standing.moved_to(end, by("bob"))


def test_two_approvals_need_two_people() -> None:
    first = review(required=2).approve(by("Ada Lovelace"))
    assert (first.state, first.approvals_missing) == (ReviewState.PENDING, 1)
    with pytest.raises(IllegalMove, match=r"approved by Ada Lovelace already.*another person"):
        first.approve(by("  ada   LOVELACE "))
    assert first.approve(by("Bob")).state is ReviewState.ACCEPTED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "ada"),
        (" ada\t", "ADA"),
        ("ada  lovelace", "Ada Lovelace"),
        ("Stra\u00dfe", "STRASSE"),  # casefolding
        ("\uff21da", "ada"),  # a full-width letter
        ("Jose\u0301", "JOS\u00c9"),  # composed and decomposed
        ("ada\u00a0lovelace", "ada lovelace"),  # a space that does not break
    ],
)
def test_one_person_is_one_however_it_is_spelled(one: str, other: str) -> None:
    assert same_person(one, other)


def test_two_people_are_two() -> None:
    assert not same_person("ada", "adam")
    assert not same_person("ada@example.org", "ada@example.com")


@pytest.mark.parametrize("who", ["", " ", "a" * 2001, "a\x1b[2Jda", "ada\u200b", "ad\u202ea"])
def test_a_name_that_could_hide_who_it_is_is_refused(who: str) -> None:
    with pytest.raises(BadInput, match="--who"):
        decided(who, "because", AT)


def test_an_accepted_review_takes_nothing_more() -> None:
    done = review().approve(by("ada"))
    moves: list[Callable[[], Review]] = [
        lambda: done.approve(by("bob")),
        lambda: done.decide(GroupState.REJECTED, by("bob")),
        lambda: done.superseded(NEWER),
        done.reopened,
    ]
    for move in moves:
        with pytest.raises(IllegalMove, match="accepted"):
            move()


def test_a_superseded_review_takes_decisions_again_when_its_target_comes_back() -> None:
    gone = review().superseded(NEWER)
    assert gone.state is ReviewState.SUPERSEDED
    assert not gone.is_open
    with pytest.raises(IllegalMove, match=f"superseded.*{NEWER}"):
        gone.approve(by("ada"))
    assert gone.reopened().approve(by("ada")).state is ReviewState.ACCEPTED


def test_what_was_decided_about_the_same_behaviour_holds_in_the_next_review() -> None:
    former = review(group(), group("/outputs/y"), group("/outputs/z", value="5"))
    former = former.decide(GroupState.REJECTED, by("ada"), field="/outputs/x")
    former = former.decide(GroupState.ACCEPTED, by("ada"), field="/outputs/y")
    former = former.decide(GroupState.REJECTED, by("ada"), field="/outputs/z")
    later = review(
        group(), group("/outputs/y"), group("/outputs/z", value="6"), target=NEWER
    ).carried_from(former)
    assert [item.state for item in later.groups] == ["rejected", "accepted", "pending"]
    other_base = replace(later, base=NEWER, groups=(group(),)).carried_from(former)
    assert other_base.groups == (group(),)


def test_behaviour_that_no_report_could_hold_is_decided_anew() -> None:
    unknown = replace(group(), digest=None)
    former = review(unknown).decide(GroupState.ACCEPTED, by("ada"))
    assert review(unknown, target=NEWER).carried_from(former).groups == (unknown,)


def test_comparing_again_keeps_decisions_and_approvals() -> None:
    stored = review(required=2).decide(GroupState.MASKED, by("eve"), field="/outputs/y")
    stored = stored.approve(by("ada"))
    again = replace(review(group(), required=2), opened_at="2026-11-26T12:00:00Z")
    renewed = stored.renewed(again)
    assert renewed == stored
    assert renewed.approve(by("bob")).state is ReviewState.ACCEPTED


def test_what_nobody_approved_yet_takes_the_approvals_away() -> None:
    stored = review(group(), required=2).approve(by("ada"))
    renewed = stored.renewed(review(group(), group("/outputs/new"), required=2))
    assert renewed.approvals == ()
    assert [item.state for item in renewed.groups] == ["accepted", "pending"]


def test_what_was_rejected_of_a_target_is_not_lost_where_a_comparison_hides_it() -> None:
    stored = review().decide(GroupState.REJECTED, by("ada"), kernel="ledger", field="/outputs/x")
    renewed = stored.renewed(review(group("/outputs/y")))
    assert renewed.state is ReviewState.REJECTED
    with pytest.raises(IllegalMove, match="rejected"):
        renewed.renewed(review()).approve(by("bob"))
    assert {item.field: item.state for item in renewed.renewed(review()).groups} == {
        "/outputs/x": GroupState.REJECTED,
        "/outputs/y": GroupState.PENDING,
    }


def test_another_baseline_makes_another_review() -> None:
    fresh = replace(review(), base=NEWER)
    assert review(required=2).approve(by("ada")).renewed(fresh) == fresh
    assert review().approve(by("ada")).renewed(review()) == review()


def test_a_field_that_did_not_move_is_named_with_those_that_did() -> None:
    with pytest.raises(BadInput, match=r"no delta of kernel 'ledger' and field '/nope'.*outputs/x"):
        review().decide(GroupState.ACCEPTED, by("ada"), kernel="ledger", field="/nope")


texts = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
digests = st.sampled_from([letter * 64 for letter in "0123456789abcdef"])
decisions = st.builds(Decision, texts, texts, st.just("2026-11-25T12:30:00Z"))


@st.composite
def groups(draw: st.DrawFn) -> Group:
    state = draw(st.sampled_from(GroupState))
    return Group(
        kernel=draw(texts),
        field=draw(st.just("") | st.text(max_size=8).map(lambda name: f"/{name}")),
        kind=draw(texts),
        executions=draw(st.integers(1, 10_000)),
        example=draw(st.just("") | texts),
        digest=draw(st.none() | digests),
        cause=draw(st.sampled_from(Cause)),
        state=state,
        decision=None if state is GroupState.PENDING else draw(decisions),
    )


reviews = st.builds(
    Review,
    base=st.none() | digests,
    target=digests,
    key=st.builds(BundleKey, texts, texts, texts, texts),
    opened_at=st.just("2026-11-25T12:00:00Z"),
    opened_by_run=st.none() | texts,
    approvals_required=st.integers(1, 5),
    groups=st.lists(
        groups(), max_size=4, unique_by=lambda item: (item.kernel, item.field, item.kind)
    ).map(tuple),
    approvals=st.lists(
        st.builds(Decision, st.sampled_from(["ada", "bob", "eve"]), texts, st.just(by("x").at)),
        max_size=3,
        unique_by=lambda item: item.who,
    ).map(tuple),
    masks=st.lists(
        st.builds(MaskAudit, texts, texts, texts, st.integers(0, 9), st.integers(0, 9)), max_size=2
    ).map(tuple),
    superseded_by=st.none() | digests,
)


# How long an example takes says nothing here but how busy the machine is.
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(reviews)
def test_every_review_reads_back_as_it_was_written(written: Review) -> None:
    assert review_from_json(json.loads(json.dumps(written.to_json()))) == written


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(reviews, st.data())
def test_any_changed_field_is_either_read_as_it_is_or_refused(
    written: Review, data: st.DataObject
) -> None:
    document = written.to_json()
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(json_values)
    with contextlib.suppress(BadInput):
        assert review_from_json(document).to_json() == document


def edited(**changes: Any) -> dict[str, Any]:
    return review().approve(by("ada")).to_json() | changes


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "review: /: is not an object"),
        (edited(schema_version=2), r"/schema_version: is 2, and 1 is known; update"),
        (edited(state="pending"), "/state: is 'pending', and its groups and approvals say acc"),
        (edited(target="B" * 64), "/target: is not a sha256"),
        (edited(approvals_required=0), "/approvals_required: is not a whole number from 1"),
        (edited(approvals_required=True), "/approvals_required: is not a whole number"),
        (edited(extra=1), "/extra: is an unknown field"),
        (edited(groups=[group().to_json()] * 2), "/groups/1: repeats"),
        (edited(groups=[{**group().to_json(), "who": "ada"}]), "/groups/0/state: is pending"),
        (edited(groups=[{**group().to_json(), "state": "accepted"}]), "/groups/0/who: is not a"),
        (
            edited(approvals=[by("ada").to_json(), by("ADA ").to_json()]),
            "/approvals/1: repeats",
        ),
    ],
)
def test_a_record_that_contradicts_itself_is_refused_by_its_field(
    document: Any, problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        review_from_json(document)
