"""What a viewer asks for is read strictly, and a mistake is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sse_gateway.memory import OTHER, RUN

from testops.access.refused import Refused
from testops.domain.errors import BadInput
from testops.sse_gateway.frames import Encoding
from testops.sse_gateway.places import place_on_one, place_on_several, spelled
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.requests import Watch, is_event_path, query_of, runs_of, watch_of
from testops.sse_gateway.seats import Seats

ONE = f"/v1/test-runs/{RUN}/events"
SEVERAL = "/v1/events"


def watched(path: str, query: str = "", *, last_event_id: str = "", accept: str = "") -> Watch:
    found = query_of(query.encode())
    runs = runs_of(path, found, runs_max=4)
    return watch_of(path, found, runs, last_event_id=last_event_id, accept=accept)


def test_without_a_place_a_stream_begins_at_the_start() -> None:
    assert watched(ONE).places == {RUN: 0}
    assert watched(ONE, "from=earliest").places == {RUN: 0}


def test_the_header_is_newer_than_the_address() -> None:
    assert watched(ONE, "last_event_id=5&from=earliest").places == {RUN: 5}
    assert watched(ONE, "last_event_id=5", last_event_id="9").places == {RUN: 9}


def test_several_runs_keep_the_order_in_which_they_are_named() -> None:
    query = f"run={OTHER}&run={RUN}&run={OTHER}"
    assert list(watched(SEVERAL, query).places.items()) == [(OTHER, 0), (RUN, 0)]
    resumed = watched(SEVERAL, query, last_event_id=f"{RUN}:7")
    assert list(resumed.places.items()) == [(OTHER, 0), (RUN, 7)]


@given(st.dictionaries(st.sampled_from([RUN, OTHER, "a" * 16]), st.integers(0, 10**18)))
def test_a_place_on_several_runs_reads_back_as_it_was_spelled(places: dict[str, int]) -> None:
    if places:
        assert place_on_several(spelled(places), list(places)) == places


@pytest.mark.parametrize("text", ["-1", "1.5", "٣", "0x1", "1" * 20, "a:1", " 1", ""])
def test_what_is_not_a_number_is_no_place(text: str) -> None:
    with pytest.raises(BadInput, match="Last-Event-ID"):
        place_on_one(text)


@pytest.mark.parametrize("text", ["12", f"{RUN}:", f"{RUN}:1,", "xyz:1", f"{RUN}=1", f"{RUN}:-1"])
def test_what_names_no_run_is_no_place_on_several(text: str) -> None:
    with pytest.raises(BadInput, match="Last-Event-ID"):
        place_on_several(text, [RUN])


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        (SEVERAL, "", "run"),
        (SEVERAL, "run=nope", "run"),
        (SEVERAL, "&".join(f"run={n:016x}" for n in range(5)), "run"),
        (ONE, "from=latest", "from"),
        (ONE, "last_event_id=1&last_event_id=2", "last_event_id"),
        (ONE, "last-event-id=1", "last-event-id"),
        (ONE, "delivery=some", "delivery"),
    ],
)
def test_a_mistake_in_the_query_is_named(path: str, query: str, named: str) -> None:
    with pytest.raises(BadInput) as caught:
        watched(path, query)
    assert caught.value.where == named


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", Encoding.SSE),
        ("*/*", Encoding.SSE),
        ("text/event-stream", Encoding.SSE),
        ("application/x-ndjson", Encoding.NDJSON),
        ("application/x-ndjson, */*;q=0.1", Encoding.NDJSON),
        ("text/event-stream, application/x-ndjson", Encoding.SSE),
        ("text/event-stream;q=0.5, application/x-ndjson", Encoding.NDJSON),
        ("application/x-ndjson;q=0", Encoding.SSE),
    ],
)
def test_ndjson_is_for_who_prefers_it(accept: str, encoding: Encoding) -> None:
    assert watched(ONE, accept=accept).encoding is encoding


def test_a_script_gets_everything_and_a_page_may_be_spared() -> None:
    assert watched(ONE).thins
    assert not watched(ONE, "delivery=full").thins
    assert not watched(ONE, accept="application/x-ndjson").thins
    assert watched(ONE, "delivery=thinned", accept="application/x-ndjson").thins


def test_only_the_two_event_paths_are_the_gateways() -> None:
    assert is_event_path(ONE)
    assert is_event_path(SEVERAL)
    for other in ("/", f"/v1/test-runs/{RUN}", f"{ONE}/", "/v1/events/x", f"/x{ONE}"):
        assert not is_event_path(other)


def test_seats_are_capped_by_run_by_principal_and_in_all() -> None:
    seats = Seats(Limits(viewers_max=4, viewers_per_run_max=2, viewers_per_principal_max=3))
    first = seats.take("ann", [RUN])
    seats.take("bob", [RUN, OTHER])
    with pytest.raises(Refused, match=f"run {RUN}") as caught:
        seats.take("ann", [OTHER, RUN])
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "10"})
    seats.take("ann", [OTHER])
    seats.take("ann", ["a" * 16])
    with pytest.raises(Refused, match="this server"):
        seats.take("eve", ["b" * 16])
    seats.give_back(first)
    seats.take("ann", [RUN])
    assert (seats.taken, seats.refused) == (4, 2)


def test_a_principal_cannot_take_every_seat() -> None:
    seats = Seats(Limits(viewers_max=10, viewers_per_principal_max=2))
    seats.take("ann", [RUN])
    seats.take("ann", [RUN])
    with pytest.raises(Refused, match="you may have 2"):
        seats.take("ann", [RUN])
    seats.take("bob", [RUN])
