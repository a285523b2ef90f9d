"""The parser hears the same however the bytes are cut, and what the standard says it should."""

import itertools

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import given
from hypothesis import strategies as st

from testops.client import sse
from testops.client.sse import Message, Parser, Retry, StreamBroken

TEXT = st.text(
    st.sampled_from(["a", "é", " ", ":", "\N{BYTE ORDER MARK}", "0", "7", "\r", "\n"]), max_size=6
)
NAMES = st.sampled_from(["data", "event", "id", "retry", "", "other", " data"])
LINES = st.tuples(NAMES, st.sampled_from([":", ": ", ""]), TEXT).map("".join)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n\n"])
STREAMS = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=20).map("".join)


def heard(stream: bytes, cuts: list[int]) -> list[Message | Retry]:
    parser = Parser()
    told: list[Message | Retry] = []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(places):
        told += parser.feed(stream[begin:end])
    return told


@given(STREAMS, st.lists(st.integers(0, 10**6), max_size=10))
def test_how_a_stream_is_cut_does_not_matter(stream: str, cuts: list[int]) -> None:
    whole = heard(stream.encode(), [])
    assert heard(stream.encode(), cuts) == whole
    assert heard(stream.encode(), list(range(len(stream.encode())))) == whole


@given(STREAMS)
def test_another_parser_hears_the_same_events(stream: str) -> None:
    response = httpx.Response(
        200, content=stream.encode(), headers={"content-type": "text/event-stream"}
    )
    # That one neither takes a byte order mark away nor leaves out events without data, and both
    # is what the standard asks for.
    begins = stream.removeprefix("\N{BYTE ORDER MARK}")
    if begins == stream:
        others = [
            (one.event, one.data) for one in EventSource(response).iter_sse() if one.data != ""
        ]
        ours = [
            (one.event, one.data.decode())
            for one in heard(stream.encode(), [])
            if isinstance(one, Message) and one.data
        ]
        assert ours == others


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"data: x\n\n", [Message("message", b"x", None)]),
        (b"data\n\n", [Message("message", b"", None)]),
        (b"data: a\ndata:  b\n\n", [Message("message", b"a\n b", None)]),
        (b"event: end\n\n", []),
        (b": comment\n\n", []),
        (b"data: x", []),
        (b"data: x\n", []),
        (b"\xef\xbb\xbfdata: x\n\n", [Message("message", b"x", None)]),
        (b"id: 5\n\ndata: x\n\n", [Message("message", b"x", "5")]),
        (
            b"id: 5\ndata: x\n\nid\ndata: y\n\n",
            [Message("message", b"x", "5"), Message("message", b"y", None)],
        ),
        (b"id: 5\n\nid: 6\0\ndata: x\n\n", [Message("message", b"x", "5")]),
        (b"retry: 3000\n\n", [Retry(3.0)]),
        (b"retry: 3s\n\nretry: -1\n\n", []),
        (
            b"event: e\ndata: x\r\rdata: y\r\n\r\n",
            [Message("e", b"x", None), Message("message", b"y", None)],
        ),
    ],
)
def test_the_standard(stream: bytes, told: list[Message | Retry]) -> None:
    assert heard(stream, []) == told


def test_the_line_feed_of_a_carriage_return_is_one_only() -> None:
    parser = Parser()
    pieces = (b"data: x\r", b"\n", b"\n", b"data: y\r", b"", b"\n\r\n")
    told = [list(parser.feed(piece)) for piece in pieces]
    assert [len(one) for one in told] == [0, 0, 1, 0, 0, 1]


def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    for endless in (b"data: " + b"x" * 300, b"data: " + b"x" * 300 + b"\n"):
        parser = Parser()
        for _ in range(3):
            assert list(parser.feed(endless)) == []
        with pytest.raises(StreamBroken, match="more than 1000 bytes"):
            list(parser.feed(endless))
