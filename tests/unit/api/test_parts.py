"""The parts of the API that need no server: cursors, JSON, bounds of bodies, routes."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testops.api.answers import encode, matches
from testops.api.cursors import cursor_of, place_of
from testops.api.limits import BODY_BYTES_MAX, Bounded
from testops.api.problems import BAD_CURSOR, KINDS, Problem
from testops.api.routing import GuardedRoute, parse_json, permits
from testops.domain.access import Permission


@given(st.integers(0, 10**15 - 1), st.from_regex(r"[0-9a-f]{16}", fullmatch=True))
def test_a_cursor_names_its_place(at_ms: int, run_id: str) -> None:
    assert place_of(cursor_of((at_ms, run_id))) == (at_ms, run_id)


@given(st.text(max_size=80))
def test_any_other_text_is_no_cursor(text: str) -> None:
    try:
        place, kind = place_of(text), None
    except Problem as problem:
        place, kind = (0, "0" * 16), problem.kind
    assert kind in (None, BAD_CURSOR)
    assert place_of(cursor_of(place)) == place


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_json_that_says_one_thing_is_read(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_problem(raw: bytes) -> None:
    status = None
    try:
        parse_json(raw)
    except Problem as problem:
        status = problem.kind.status
    assert status in (None, 400, 422)


def test_kinds_of_problems_have_one_name_each() -> None:
    assert len({kind.uri for kind in KINDS}) == len(KINDS)
    assert all(kind.uri.startswith("urn:testops:problem:") for kind in KINDS)


def test_entity_tags_are_matched_as_rfc_9110_lists_them() -> None:
    assert matches('"a", W/"b"', '"b"')
    assert matches("*", '"b"')
    assert not matches('"a"', '"b"')
    assert not matches(None, '"b"')


def test_a_route_that_declares_nothing_cannot_be_built() -> None:
    async def forgotten() -> None: ...

    with pytest.raises(TypeError, match="/x declares no permission"):
        GuardedRoute("/x", forgotten)
    assert GuardedRoute("/x", permits(Permission.RUNS_READ)(forgotten)).permission == "runs.read"


SCOPE = {"type": "http", "method": "POST", "path": "/v1/test-runs", "headers": []}


@dataclass
class StillClock:
    seconds: float = 0.0

    def now(self) -> Any:
        raise NotImplementedError

    def elapsed_s(self) -> float:
        return self.seconds


def test_a_body_is_bounded_as_a_whole_and_not_by_its_chunks() -> None:
    """Each chunk comes in time, and all of them together do not."""
    clock = StillClock()
    taken = 0

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        clock.seconds += 3
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        while True:
            await receive()
            taken += 1

    async def send(_: Any) -> None: ...

    bounded = Bounded(app, clock, body_s_max=10)
    with pytest.raises(Problem, match="did not arrive within 10 s"):
        asyncio.run(bounded(SCOPE, receive, send))
    assert taken == 4


def test_a_body_without_end_is_cut_at_the_bound() -> None:
    taken = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        while True:
            taken += len((await receive())["body"])

    async def send(_: Any) -> None: ...

    with pytest.raises(Problem, match="send at most"):
        asyncio.run(Bounded(app, StillClock())(SCOPE, receive, send))
    assert taken <= BODY_BYTES_MAX


def test_an_answer_may_quote_a_name_that_is_no_unicode() -> None:
    assert json.loads(encode({"where": "caf\udce9.py"})) == {"where": "caf\udce9.py"}
