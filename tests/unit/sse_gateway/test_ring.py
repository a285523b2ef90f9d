"""A ring is a window on its log: bounded, without a gap, and honest about what it leaves out."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sse_gateway.memory import event_of

from testops.domain.event import Delivery, StoredEvent
from testops.sse_gateway.frames import Frame, frame_of
from testops.sse_gateway.ring import Missed, Ring

RUN = "0123456789abcdef"
KINDS = st.sampled_from(
    ["run.started", "stage.progress", "stage.log", "stage.finished", "new.kind"]
)
KEYS = st.sampled_from(["sim/a", "sim/b"])
Log = list[Frame]


@st.composite
def logs(draw: Callable[..., object], longest: int = 60) -> Log:
    parts = draw(st.lists(st.tuples(KINDS, KEYS, st.integers(0, 400)), max_size=longest))
    assert isinstance(parts, list)
    return [
        frame_of(event_of(RUN, seq, kind, key if kind == "stage.progress" else "", text="x" * size))
        for seq, (kind, key, size) in enumerate(parts, 1)
    ]


def filled(log: Log, *, events_max: int = 1000, bytes_max: int = 1 << 20) -> Ring:
    ring = Ring(events_max=events_max, bytes_max=bytes_max, after=0)
    for frame in log:
        ring.append(frame)
    return ring


@given(logs(), st.integers(1, 20), st.integers(1, 3000))
def test_a_ring_holds_the_end_of_its_log_within_its_bounds(
    log: Log, events_max: int, bytes_max: int
) -> None:
    ring = filled(log, events_max=events_max, bytes_max=bytes_max)
    assert ring.last == len(log)
    assert len(ring) <= events_max
    assert ring.size_bytes <= bytes_max
    kept = log[ring.first - 1 :]
    assert len(kept) == len(ring)
    assert ring.size_bytes == sum(len(frame.sse) for frame in kept)
    # As much as the bounds allow: one more would break one of them.
    if ring.first > 1:
        larger = log[ring.first - 2 :]
        assert len(larger) > events_max or sum(len(one.sse) for one in larger) > bytes_max


@given(logs(), st.integers(1, 20), st.data())
def test_batches_of_any_size_are_the_log_byte_for_byte(
    log: Log, events_max: int, data: st.DataObject
) -> None:
    ring = filled(log, events_max=events_max)
    place = start = data.draw(st.integers(ring.first - 1, ring.last))
    got = b""
    while place < ring.last:
        bytes_max = data.draw(st.integers(1, 2000))
        joined, upto = ring.take_joined(place, bytes_max=bytes_max)
        taken = ring.take(place, bytes_max=bytes_max)
        assert (joined, upto) == (b"".join(one.sse for one in taken.frames), taken.upto)
        assert upto > place, "no progress"
        assert len(joined) <= bytes_max or len(taken.frames) == 1
        got, place = got + joined, upto
    assert got == b"".join(frame.sse for frame in log[start:])


@given(logs(), st.integers(1, 12), st.data())
def test_a_thinned_batch_drops_no_state_and_counts_every_drop(
    log: Log, one_in: int, data: st.DataObject
) -> None:
    ring = filled(log)
    got: list[Frame] = []
    place, missed = 0, Missed()
    while place < ring.last:
        bytes_max = data.draw(st.integers(1, 3000))
        taken = ring.take_thinned(place, bytes_max=bytes_max, one_in=one_in)
        assert taken.upto > place
        got += taken.frames
        missed += taken.missed
        place = taken.upto
    numbers = [frame.seq for frame in got]
    assert numbers == sorted(set(numbers))
    assert [f for f in log if f.delivery is Delivery.MUST] == [
        f for f in got if f.delivery is Delivery.MUST
    ]
    for key in ("sim/a", "sim/b"):
        progress = [f for f in log if f.delivery is Delivery.COALESCE and f.key == key]
        # The newest of a key is never spared: it is what the others became.
        assert [f for f in got if f.key == key] == progress[-1:]
    lost = {frame.seq for frame in log} - set(numbers)
    coalesced = [s for s in lost if log[s - 1].delivery is Delivery.COALESCE]
    sampled = [s for s in lost if log[s - 1].delivery is Delivery.SAMPLE]
    assert missed == Missed(len(coalesced), len(sampled))
    assert all(seq % one_in for seq in sampled)


@given(logs(), st.integers(1, 10))
def test_a_thinned_page_of_the_log_keeps_what_the_ring_does_not_supersede(
    log: Log, ring_events: int
) -> None:
    ring = filled(log, events_max=ring_events)
    page = log[: ring.first - 1]
    if not page:
        return
    taken = ring.thin_page(page, one_in=1)
    assert taken.upto == page[-1].seq
    newest = {frame.key: frame.seq for frame in log if frame.delivery is Delivery.COALESCE}
    assert list(taken.frames) == [
        frame
        for frame in page
        if frame.delivery is not Delivery.COALESCE or newest[frame.key] == frame.seq
    ]
    assert taken.missed.coalesced == len(page) - len(taken.frames)


def test_an_event_larger_than_the_ring_passes_through_it() -> None:
    ring = filled([frame_of(event_of(RUN, 1, "run.started"))], bytes_max=500)
    ring.append(frame_of(event_of(RUN, 2, "stage.finished", report="x" * 5000)))
    assert (ring.first, ring.last, len(ring), ring.size_bytes) == (3, 2, 0, 0)
    assert ring.holds(2)
    assert not ring.holds(1)


def test_a_ring_that_restarts_knows_nothing_of_before() -> None:
    ring = filled([frame_of(event_of(RUN, 1, "stage.progress", "sim/a"))])
    ring.restart(10)
    assert (ring.first, ring.last, len(ring), ring.size_bytes) == (11, 10, 0, 0)
    ring.append(frame_of(event_of(RUN, 11, "stage.progress", "sim/a")))
    taken = ring.take_thinned(10, bytes_max=1000, one_in=10)
    assert [frame.seq for frame in taken.frames] == [11]


def test_viewers_at_one_place_share_one_piece() -> None:
    ring = filled([frame_of(event_of(RUN, seq, "stage.log")) for seq in range(1, 50)])
    first, _ = ring.take_joined(7, bytes_max=1000)
    second, _ = ring.take_joined(7, bytes_max=1000)
    assert first is second
    before = ring.last
    ring.append(frame_of(event_of(RUN, before + 1, "stage.log")))
    joined, upto = ring.take_joined(before, bytes_max=1000)
    assert (joined, upto) == (frame_of(event_of(RUN, before + 1, "stage.log")).sse, before + 1)


def test_one_event_is_spelled_in_three_ways_from_one_encoding() -> None:
    frame = frame_of(StoredEvent(12, "run.started", Delivery.MUST, "", b'{"seq":12}'))
    assert frame.sse == b'id: 12\nevent: run.started\ndata: {"seq":12}\n\n'
    assert frame.line == b'{"seq":12}\n'
    assert frame.sse_at("a:12,b:7") == b'id: a:12,b:7\nevent: run.started\ndata: {"seq":12}\n\n'
