"""Outputs become plain JSON, the same bytes for the same value, or are refused by name."""

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toron.core.values import INT_MAX, brief, canonical, dumps, strip_addresses

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


class Colour(str, enum.Enum):  # noqa: UP042  (the older spelling, whose str() is its name)
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:  # type: ignore[explicit-override]
        return "something else"


@dataclasses.dataclass
class Account:
    name: str
    tags: set[str]


@dataclasses.dataclass
class Nested:
    inner: object


@given(PLAIN)
def test_what_was_canonical_once_stays_as_it_is(value: object) -> None:
    once = canonical(value)
    assert canonical(once) == once
    assert dumps(json.loads(json.dumps(once))) == dumps(once)


@given(PLAIN)
def test_no_value_that_json_cannot_hold_survives(value: object) -> None:
    json.dumps(canonical(value), allow_nan=False)


@given(st.lists(st.text(), unique=True))
def test_a_set_is_stored_in_one_order(items: list[str]) -> None:
    assert canonical(set(items)) == canonical(frozenset(reversed(items)))


@given(st.dictionaries(st.text(), st.integers()))
def test_text_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert dumps(value) == dumps(dict(reversed(value.items())))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, True),
        (INT_MAX, INT_MAX),
        (-INT_MAX, -INT_MAX),
        (INT_MAX + 1, {"$int": "9007199254740992"}),
        (-(2**64), {"$int": "-18446744073709551616"}),
        (1.5, 1.5),
        (math.nan, {"$float": "nan"}),
        (-math.inf, {"$float": "-inf"}),
        (b"\x00\xff", {"$bytes": "00ff"}),
        (bytearray(b"a"), {"$bytes": "61"}),
        (memoryview(b"a"), {"$bytes": "61"}),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Loud("quiet"), "quiet"),
        ((1, [2], collections.deque([3])), [1, [2], [3]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({"b", 1, None}, ["b", 1, None]),
        (
            {1: "a", Level.HIGH: "b", None: "c", 2.5: "d"},
            {"1": "a", "3": "b", "null": "c", "2.5": "d"},
        ),
        ({Colour.RED: 1}, {"red": 1}),
        ({"a": 1}.keys(), ["a"]),
        (range(3), [0, 1, 2]),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Account("a", {"y", "x"}), {"name": "a", "tags": ["x", "y"]}),
    ],
)
def test_a_value_has_one_plain_form(value: Any, plain: Any) -> None:
    result = canonical(value)
    assert result == plain
    assert type(result) is type(plain)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "x is a object"),
        ([1, {"a": object()}], r"x\[1\]\['a'\] is a object"),
        (Nested(iter([])), "x.inner is a list_iterator"),
        (print, "x is a builtin_function_or_method"),
        (Account, "x is a type"),
        ({("a", 1): 2}, r"x has the key \('a', 1\)"),
        ({1: "a", "1": "b"}, "x has two keys that both become '1'"),
    ],
)
def test_what_has_no_stable_form_is_refused_by_its_place(value: object, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        canonical(value, "x")


def test_a_brief_text_never_runs_the_programs_code_nor_shows_an_address() -> None:
    class Trap:
        def __repr__(self) -> str:  # type: ignore[explicit-override]
            raise AssertionError("repr was called")

    assert brief(Trap()).endswith("Trap")
    assert brief([Trap(), {"k": Trap()}]).count("Trap") == 2
    assert brief(ValueError(f"at {object()}")) == "ValueError(at <object object at 0x…>)"


def test_a_brief_text_tells_long_values_apart() -> None:
    long = "a" * 1_000
    assert brief(long) != brief(long[:-1] + "b")
    assert len(brief(long)) < 60
    assert brief(b"a" * 1_000) != brief(long)
    many = list(range(1_000))
    assert brief(many) != brief([7, *many[1:]])
    assert brief(many) != brief(many[:-1])
    assert brief(dict.fromkeys(many, 0)) != brief({n + 1: 0 for n in many})


def test_a_brief_text_of_a_huge_number_is_possible() -> None:
    assert brief(10**5_000) != brief(10**5_000 + 1)


def test_a_brief_text_ends_in_a_value_that_holds_itself() -> None:
    knot: list[object] = []
    knot.append(knot)
    assert brief(knot) == "list(list(list(list)))"


def test_addresses_are_stripped_and_other_numbers_kept() -> None:
    assert strip_addresses("<f at 0x7f415b562e80> 0x10") == "<f at 0x…> 0x10"


def test_a_lone_surrogate_is_refused_because_no_document_holds_it() -> None:
    with pytest.raises(
        TypeError, match=r"name is a str with a lone surrogate at 1; record its bytes"
    ):
        canonical("a\ud800", "name")
    assert canonical("\U0001f600") == "\U0001f600"
