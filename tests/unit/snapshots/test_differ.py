"""The differ is exact: what it reports is enough to rebuild one side from the other."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testops.snapshots.align import align, find_key
from testops.snapshots.canonical import Json, form, same
from testops.snapshots.differ import Change, ChangeKind, diff, ulps_between
from testops.snapshots.pointers import Place

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=2)
)
records = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 6), "n": st.integers(0, 3)}),
    max_size=6,
    unique_by=lambda record: record["id"],
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars | records,
    lambda children: (
        st.lists(children, max_size=5)
        | st.dictionaries(st.text("abc/~", max_size=2), children, max_size=4)
    ),
    max_leaves=20,
)


Item = tuple[Place | None, Place | None, Change]
WHOLE = (ChangeKind.ADDED, ChangeKind.REMOVED, ChangeKind.MOVED)


def rebuild(old: Any, new: Any) -> Any:
    """`new`, from `old` and the reported changes alone."""
    return apply(old, [(change.old_place, change.new_place, change) for change in diff(old, new)])


def apply(old: Any, items: list[Item]) -> Any:
    """`old` with these changes made; their places begin at `old`. Written from the definition."""
    for old_place, new_place, change in items:
        if old_place == () and new_place == ():
            return change.new
    # Changes of whole members and items of this container, by kind, keyed by their place here.
    own = [item for item in items if _is_own(item)]
    added = {new[0]: change.new for _, new, change in own if new and change.kind == "added"}
    removed = {old[0] for old, _, change in own if old and change.kind == "removed"}
    moved = {new[0]: old[0] for old, new, change in own if old and new}
    if isinstance(old, dict):
        kept = {
            name: apply(value, _inside(items, name, name))
            for name, value in old.items()
            if name not in removed
        }
        return kept | added
    if not isinstance(old, list):
        assert items == []
        return old
    staying = [i for i in range(len(old)) if i not in removed and i not in moved.values()]
    built: list[Any] = []
    while staying or len(built) in added or len(built) in moved:
        index = len(built)
        if index in added:
            built.append(added[index])
        else:
            source: Any = moved[index] if index in moved else staying.pop(0)
            built.append(apply(old[source], _inside(items, source, index)))
    return built


def _is_own(item: Item) -> bool:
    place = item[0] if item[0] is not None else item[1]
    return item[2].kind in WHOLE and place is not None and len(place) == 1


def _inside(items: list[Item], old_part: Any, new_part: Any) -> list[Item]:
    """The changes inside one child, with places that begin at the child."""
    return [
        (old[1:] if old is not None else None, new[1:] if new is not None else None, change)
        for old, new, change in items
        if not _is_own((old, new, change))
        and (new[0] == new_part if new is not None else old is not None and old[0] == old_part)
    ]


def at(document: Any, place: Place) -> Any:
    for part in place:
        document = document[part]
    return document


@settings(max_examples=400, deadline=None)
@given(values, values)
def test_the_changes_rebuild_the_new_side_from_the_old(old: Any, new: Any) -> None:
    assert form(rebuild(old, new)) == form(new)


@settings(max_examples=200, deadline=None)
@given(values)
def test_equal_values_have_no_changes(value: Any) -> None:
    assert diff(value, value) == []


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_values_without_changes_are_equal(old: Any, new: Any) -> None:
    assert (diff(old, new) == []) == (form(old) == form(new))


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_the_way_back_also_rebuilds_and_every_place_holds_the_value_it_reports(
    old: Any, new: Any
) -> None:
    assert form(rebuild(new, old)) == form(old)
    for change in diff(old, new):
        if change.kind is ChangeKind.MOVED:
            continue
        if change.old_place is not None:
            assert form(at(old, change.old_place)) == form(change.old)
        if change.new_place is not None:
            assert form(at(new, change.new_place)) == form(change.new)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=9), st.lists(st.integers(0, 4), max_size=9))
def test_every_item_of_both_lists_is_accounted_for_once(old: Any, new: Any) -> None:
    alignment = align(old, new)
    assert sorted([*(a for a, _ in alignment.pairs), *alignment.removed]) == list(range(len(old)))
    assert sorted([*(b for _, b in alignment.pairs), *alignment.added]) == list(range(len(new)))
    staying = [pair for pair in alignment.pairs if pair not in alignment.moved]
    assert staying == sorted(staying)


def kinds(old: Json, new: Json) -> list[tuple[str, Place | None]]:
    return [
        (change.kind.value, change.new_place if change.new_place is not None else change.old_place)
        for change in diff(old, new)
    ]


def test_true_is_not_1_and_null_is_not_absence() -> None:
    assert kinds({"a": True}, {"a": 1}) == [("retyped", ("a",))]
    assert kinds({"a": None}, {}) == [("removed", ("a",))]
    assert kinds({"a": None}, {"a": 0}) == [("retyped", ("a",))]


@pytest.mark.parametrize(
    ("old", "new", "percent"),
    [(100, 90, -10.0), (-4, -5, -25.0), (0, 5, None), (2, 3.0, 50.0), (1e-320, 1e300, None)],
)
def test_a_number_that_drifts_says_by_how_much(old: Any, new: Any, percent: float | None) -> None:
    [change] = diff(old, new)
    assert (change.kind, change.percent) == (ChangeKind.DRIFTED, percent)


def test_integers_beyond_a_double_are_compared_exactly() -> None:
    [change] = diff(10**400, 10**400 + 1)
    assert change.kind is ChangeKind.DRIFTED


def test_records_are_matched_by_their_key_wherever_they_stand() -> None:
    old: Json = [{"id": n, "balance": 100} for n in range(5)]
    new: Json = [{"id": n, "balance": 1 if n == 9 else 100} for n in (9, 0, 1, 2, 3)]
    assert kinds(old, new) == [("removed", (4,)), ("added", (0,))]
    assert "records matched by 'id', id 9" in diff(old, new)[1].note


def test_a_record_that_moved_and_changed_is_reported_as_both() -> None:
    old: Json = [{"name": "a", "n": 1}, {"name": "b", "n": 2}, {"name": "c", "n": 3}]
    new: Json = [{"name": "c", "n": 4}, {"name": "a", "n": 1}, {"name": "b", "n": 2}]
    assert kinds(old, new) == [("moved", (0,)), ("drifted", (0, "n"))]


def test_a_field_of_values_that_are_all_new_is_no_key() -> None:
    assert find_key([{"token": "a"}], [{"token": "b"}])[0] is None
    assert find_key([{"token": "a", "name": "x"}], [{"token": "b", "name": "x"}])[0] == "name"


@pytest.mark.parametrize(
    "records",
    [
        [{"id": 1}, {"id": 1}],
        [{"id": 1}, {"name": 2}],
        [{"id": [1]}, {"id": [2]}],
        [{"id": True}, {"id": False}],
        [{"id": 1.5}, {"id": 2.5}],
        [{"id": 1}, 7],
        [],
    ],
)
def test_what_is_no_unique_scalar_in_every_record_is_no_key(records: list[Json]) -> None:
    assert find_key(records, records)[0] is None


def test_a_list_without_keys_that_shifted_costs_one_change_and_says_how_it_was_read() -> None:
    old: list[Json] = [f"line {n}" for n in range(3000)]
    [change] = diff(old, ["new", *old])
    assert (change.kind, change.new_place) == (ChangeKind.ADDED, (0,))
    assert change.note == "no key field: items matched in sequence"


def test_a_line_that_moved_is_one_change() -> None:
    old: Json = ["a", "b", "c", "d"]
    assert kinds(old, ["d", "a", "b", "c"]) == [("moved", (0,))]


def test_two_long_lists_without_anchors_stay_within_their_bound_and_say_so() -> None:
    old: Json = [n % 2 for n in range(3000)]
    new: Json = [(n // 2) % 2 for n in range(3000)]
    changes = diff(old, new)
    assert changes
    assert "too long to align: items matched by position" in changes[0].note
    assert form(rebuild(old, new)) == form(new)


def test_thousands_of_records_give_exactly_the_changes_that_were_made() -> None:
    old: Json = [{"id": n, "balance": n * 3, "name": f"user {n}"} for n in range(20_000)]
    new: Json = [
        {"id": n, "balance": n * 3 + (n % 100 == 0), "name": f"user {n}"} for n in range(1, 20_001)
    ]
    changes = diff(old, new)
    assert len(changes) == 1 + 1 + 199


def test_of_several_keys_the_one_that_finds_records_alike_is_taken() -> None:
    old: list[Json] = [{"id": n, "place": n, "name": f"user {n}"} for n in range(50)]
    # Everything shifted by one: the place finds every record, and none of them alike.
    new: list[Json] = [{"id": n, "place": n - 1, "name": f"user {n}"} for n in range(1, 51)]
    assert find_key(old, new)[0] == "id"
    kinds_found = [change.kind.value for change in diff(old, new)]
    assert (kinds_found.count("removed"), kinds_found.count("added")) == (1, 1)
    assert kinds_found.count("drifted") == 49  # each place, and nothing else


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([{"id": 1}, {"id": 1}], "'id' repeats"),
        ([{"id": 1, "n": 1}, {"id": None, "n": 1}], "'id' is not always a text or an integer"),
        ([{"id": 1, "n": 1}, {"n": 1}], "not every record has 'id'"),
    ],
)
def test_a_list_of_records_says_why_it_has_no_key(records: list[Json], why: str) -> None:
    changed: list[Json] = [*records, {"id": 9, "n": 9}]
    assert f"no key field ({why}): items matched in sequence" in diff(records, changed)[0].note
    assert "no 'id' is on both sides" in diff([{"id": 1}], [{"id": 2}])[0].note


@pytest.mark.parametrize(
    ("old", "new", "ulps"),
    [
        (0.1 + 0.2, 0.3, 1),
        (1.0, math.nextafter(1.0, 2.0), 1),
        (5e-324, -5e-324, 2),
        (0.0, -0.0, 0),
        (1, 1.5, 2**51),
        (1, 2, None),
        (2**60, 1.5, None),
    ],
)
def test_the_distance_of_two_numbers_in_doubles(old: float, new: float, ulps: int | None) -> None:
    assert ulps_between(old, new) == ulps_between(new, old) == ulps


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 20))
def test_so_many_steps_away_are_so_many_ulps(number: float, steps: int) -> None:
    other = number
    for _ in range(steps):
        other = math.nextafter(other, 1e308)
    assert ulps_between(number, other) == (steps if number < 1e308 else 0) or other >= 1e308


def test_integers_drift_by_an_exact_difference() -> None:
    [change] = diff({"n": 2**70}, {"n": 2**70 + 1})
    assert (change.difference, change.ulps) == (1, None)
    [change] = diff({"n": 0.5}, {"n": 0.75})
    assert (change.difference, change.ulps) == (None, 2**51)


@given(values, values)
@settings(max_examples=200)
def test_same_is_equality_of_the_spelling(one: Any, other: Any) -> None:
    assert same(one, other) == (form(one) == form(other))
    assert same(one, one)


def test_values_that_python_calls_equal_are_not_the_same() -> None:
    pairs: list[tuple[Json, Json]] = [
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        ([True], [1]),
        ({"a": 1}, {"a": 1.0}),
    ]
    for one, other in pairs:
        assert not same(one, other)
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})
