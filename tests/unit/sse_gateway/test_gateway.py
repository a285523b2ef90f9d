"""What a viewer gets over a real socket: the log, byte for byte, however it comes to it."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
from tests.unit.sse_gateway.memory import ABSENT, OTHER, RUN, MemoryGuard, MemoryLog, Who
from tests.unit.sse_gateway.serving import QUICK, Served, Viewer, run, serving

from testops.domain.event import StoredEvent
from testops.sse_gateway.ports import Limits

OPENING = b"retry: 20\n\n"


def end_of(log_last: int, run_id: str = RUN) -> bytes:
    return (
        f'event: end\ndata: {{"type":"end","run_id":"{run_id}","last_seq":{log_last}}}\n\n'
    ).encode()


def finished(log: MemoryLog, count: int = 50, run_id: str = RUN) -> int:
    log.create(run_id)
    log.append("run.started", run_id)
    log.append_logs(count - 2, run_id)
    return log.append("run.finished", run_id, verdict="pass")


def notes(body: bytes, name: str) -> list[dict[str, object]]:
    return [
        json.loads(part.partition(b"data: ")[2])
        for part in body.split(b"\n\n")
        if part.startswith(b"event: " + name.encode() + b"\n")
    ]


# --- the whole log --------------------------------------------------------------------------------


def test_ten_thousand_events_replay_byte_for_byte() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 10_000)
        async with serving(log) as served:
            bodies = [await (await served.watch()).rest() for _ in range(2)]
            at_once = await asyncio.gather(*[served.watch() for _ in range(5)])
            bodies += await asyncio.gather(*[viewer.rest() for viewer in at_once])
        assert bodies == [OPENING + log.sse() + end_of(last)] * 7

    run(story())


def test_a_live_run_is_told_while_it_goes_and_ends_with_end() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        async with serving(log) as served:
            viewer = await served.watch()
            assert viewer.status == 200
            assert viewer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert viewer.headers["cache-control"] == "no-store"
            assert viewer.headers["x-accel-buffering"] == "no"
            await viewer.until(OPENING)
            for seq in range(1, 30):
                log.append("stage.progress", key="sim/a", done=seq)
                await viewer.until(f"id: {seq}\n".encode())
            last = log.append("run.finished")
            assert await viewer.rest() == OPENING + log.sse() + end_of(last)

    run(story())


def test_a_viewer_that_has_everything_is_told_not_to_come_back() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log)
        async with serving(log) as served:
            done = await served.watch(last_event_id=str(last))
            assert (done.status, await done.rest()) == (204, b"")
            nearly = await served.watch(last_event_id=str(last - 1))
            assert await nearly.rest() == OPENING + log.sse(after=last - 1) + end_of(last)
            by_query = await served.watch(query=f"?last_event_id={last}")
            assert by_query.status == 204

    run(story())


def test_a_new_attempt_reopens_a_log_that_had_ended() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 5)
        async with serving(log) as served:
            await (await served.watch()).rest()
            assert (await served.watch(last_event_id=str(last))).status == 204
            # The ring is still kept, and still says that the run is over.
            log.append("run.queued", attempt=2)
            viewer = await served.watch(last_event_id=str(last))
            assert viewer.status == 200
            await viewer.until(b"run.queued")
            last = log.append("run.finished", attempt=2)
            assert await viewer.rest() == OPENING + log.sse(after=5) + end_of(last)

    run(story())


def test_ndjson_is_the_bodies_and_nothing_else() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 3000)
        async with serving(log) as served:
            viewer = await served.watch(accept="application/x-ndjson")
            assert viewer.headers["content-type"] == "application/x-ndjson"
            end = f'{{"type":"end","run_id":"{RUN}","last_seq":{last}}}\n'.encode()
            assert await viewer.rest() == log.lines() + end

    run(story())


# --- coming back ----------------------------------------------------------------------------------


async def patient(served: Served, breaks: int, draw: random.Random) -> tuple[bytes, int]:
    """A viewer whose connection is broken `breaks` times; what it has, and how often it came."""
    whole, comings = b"", 0
    place = ""
    while True:
        viewer = await served.watch(last_event_id=place)
        comings += 1
        assert viewer.status == 200, viewer.status
        stop_after = draw.randrange(20, 2400) if comings <= breaks else None
        while not viewer.ended and (stop_after is None or len(viewer.body) < stop_after):
            await viewer.read_piece()
        body = viewer.body if stop_after is None else viewer.body[:stop_after]
        # As a parser does: an event without its blank line never was.
        *frames, _ = body.removeprefix(OPENING).split(b"\n\n")
        for frame in frames:
            if frame.startswith(b"id: "):
                place = frame.split(b"\n", 1)[0][4:].decode()
                whole += frame + b"\n\n"
        if viewer.ended and stop_after is None:
            return whole, comings
        viewer.reset()


@pytest.mark.parametrize("seed", range(3))
def test_fifty_broken_connections_change_no_byte(seed: int) -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        draw = random.Random(seed)
        # A ring much smaller than the log: places are found in it, behind it, and at its edge.
        limits = replace(QUICK, ring_events=60, batch_bytes=700)

        async def produce() -> None:
            for number in range(600):
                kind = draw.choice(["stage.log", "stage.progress", "stage.finished"])
                log.append(kind, key="sim/a", text="x" * draw.randrange(80))
                if number % 7 == 0:
                    await asyncio.sleep(0.005)
            log.append("run.finished")

        async with serving(log, limits) as served:
            steady = await served.watch()
            producing = asyncio.create_task(produce())
            broken, comings = await patient(served, 50, draw)
            await producing
            whole = await steady.rest()
        assert comings == 51
        assert broken == log.sse(), f"seed {seed}"
        assert whole == OPENING + log.sse() + end_of(601)

    run(story())


def test_what_was_pruned_is_told_as_a_gap() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 100)
        log.prune(41)
        async with serving(log) as served:
            body = await (await served.watch(last_event_id="10")).rest()
        gap = f'event: gap\ndata: {{"type":"gap","run_id":"{RUN}","asked":11,"first_available":41}}'
        assert body == OPENING + gap.encode() + b"\n\n" + log.sse() + end_of(last)

    run(story())


def test_what_is_pruned_while_it_is_read_is_told_as_a_gap() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(100)
        async with serving(log, replace(QUICK, ring_events=10)) as served:
            viewer = await served.watch(last_event_id="99")
            await viewer.until(b"id: 100\n")
            log.prune(81)
            late = await served.watch(last_event_id="20")
            await late.until(b"id: 100\n")
            assert notes(late.body, "gap") == [
                {"type": "gap", "run_id": RUN, "asked": 21, "first_available": 81}
            ]
            log.prune(101)
            later = await served.watch(last_event_id="30")
            await later.until(b"id: 100\n")  # the ring still has the last ten
            assert notes(later.body, "gap")[0]["first_available"] == 91

    run(story())


def test_a_place_that_the_log_never_had_is_told_and_shown_from_the_start() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 20)
        async with serving(log) as served:
            body = await (await served.watch(last_event_id="500")).rest()
        assert notes(body, "gap") == [
            {
                "type": "gap",
                "run_id": RUN,
                "asked": 501,
                "first_available": 1,
                "last_available": last,
            }
        ]
        assert body.endswith(log.sse() + end_of(last))

    run(story())


def test_a_ring_that_lags_behind_another_gateway_does_not_rewind_its_viewer() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(10)
        async with serving(log) as served:
            first = await served.watch()
            await first.until(b"id: 10\n")
            log.mute = True
            log.append_logs(10)  # another gateway has told these already
            viewer = await served.watch(last_event_id="20")
            log.mute = False
            log.append("run.finished")
            body = await viewer.rest()
        assert body == OPENING + log.sse(after=20) + end_of(21)

    run(story())


def test_a_lost_wake_up_costs_one_heartbeat() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append("run.started")
        async with serving(log, replace(QUICK, heartbeat_s=0.3)) as served:
            viewer = await served.watch()
            await viewer.until(b"id: 1\n")
            log.mute = True
            log.append("run.finished")
            async with asyncio.timeout(3):
                assert (await viewer.rest()).endswith(log.sse(after=1) + end_of(2))

    run(story())


def test_a_quiet_stream_has_a_heartbeat() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        async with serving(log, replace(QUICK, heartbeat_s=0.2)) as served:
            viewer = await served.watch()
            await viewer.until(lambda body: body.count(b": ping\n\n") == 3)
            lines = await served.watch(accept="application/x-ndjson")
            await lines.until(b'{"type":"heartbeat"}\n')

    run(story())


def test_what_is_new_is_measured_and_a_measure_that_fails_hurts_nobody() -> None:
    news: list[int] = []

    def hear(event: StoredEvent) -> None:
        news.append(event.seq)
        if len(news) == 2:
            raise ValueError("no clock")

    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(5)
        async with serving(log, on_news=hear) as served:
            viewer = await served.watch()
            await viewer.until(b"id: 5\n")
            for last in (8, 11, 14):
                log.append_logs(3)
                await viewer.until(f"id: {last}\n".encode())
        # What was there before anybody watched is not late.
        assert news == [6, 9]

    run(story())


def test_what_the_gateway_does_is_counted() -> None:
    async def story() -> None:
        log = MemoryLog()
        last = finished(log, 30)
        log.create(OTHER)
        async with serving(log) as served:
            whole = await (await served.watch()).rest()
            await (await served.watch(OTHER)).until(OPENING)
            stats = served.hub.stats()
            assert (stats.viewers, stats.viewers_slow, stats.cut) == (1, 0, 0)
            assert stats.rings == 2
            assert stats.ring_events == last
            assert stats.ring_bytes == len(log.sse())
            assert stats.sent_bytes == len(whole) + len(OPENING)

    run(story())


# --- several runs ---------------------------------------------------------------------------------


def test_several_runs_share_a_stream_whose_ids_are_places_on_all_of_them() -> None:
    async def story() -> None:
        log = MemoryLog()
        finished(log, 40)
        finished(log, 30, OTHER)
        async with serving(log, replace(QUICK, batch_bytes=600)) as served:
            path = f"/v1/events?run={RUN}&run={OTHER}"
            whole = await (await served.ask(path)).rest()
            *frames, _ = whole.split(b"\n\n")
            ids = [frame.split(b"\n")[0][4:].decode() for frame in frames if frame[:3] == b"id:"]
            assert len(ids) == 70
            assert ids[-1] == f"{RUN}:40,{OTHER}:30"
            assert sorted(str(one["run_id"]) for one in notes(whole, "end")) == [RUN, OTHER]
            for number, place in enumerate(ids[:-1]):
                viewer = await served.ask(path, last_event_id=place)
                resumed = await viewer.rest()
                *rest, _ = resumed.split(b"\n\n")
                seen = events(frames[: frames.index(frame_with(place, frames)) + 1])
                both = sorted(seen + events(rest))
                assert both == sorted(events(frames)), (number, place)
            done = await served.ask(path, last_event_id=ids[-1])
            assert done.status == 204

    run(story())


def frame_with(place: str, frames: list[bytes]) -> bytes:
    return next(frame for frame in frames if frame.startswith(f"id: {place}\n".encode()))


def events(frames: list[bytes]) -> list[tuple[str, int]]:
    bodies = [
        json.loads(frame.partition(b"data: ")[2]) for frame in frames if frame.startswith(b"id: ")
    ]
    return [(body["run_id"], body["seq"]) for body in bodies]


def test_a_run_that_ends_first_does_not_end_the_stream_of_the_others() -> None:
    async def story() -> None:
        log = MemoryLog()
        finished(log, 5)
        log.create(OTHER)
        async with serving(log) as served:
            viewer = await served.ask(f"/v1/events?run={RUN}&run={OTHER}")
            await viewer.until(end_of(5))
            log.append("run.started", OTHER)
            await viewer.until(f"id: {RUN}:5,{OTHER}:1\n".encode())
            log.append("run.finished", OTHER)
            assert (await viewer.rest()).endswith(end_of(2, OTHER))

    run(story())


# --- refusals -------------------------------------------------------------------------------------


def problem(viewer: Viewer) -> dict[str, object]:
    assert viewer.headers["content-type"] == "application/problem+json"
    told = json.loads(viewer.body)
    assert told["status"] == viewer.status
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "said"),
    [
        (f"/v1/test-runs/{RUN}/events", "GET", {"authorization": "Bearer bad"}, 401, "give a key"),
        (f"/v1/test-runs/{RUN}/events", "HEAD", {}, 405, ""),
        (f"/v1/test-runs/{RUN}/events", "POST", {}, 405, "only be read"),
        (f"/v1/test-runs/{ABSENT}/events", "GET", {}, 404, ABSENT),
        (f"/v1/test-runs/{OTHER}/events", "GET", {}, 404, OTHER),
        ("/v1/test-runs/../events", "GET", {}, 404, "no run .."),
        (f"/v1/test-runs/{RUN}/events", "GET", {"last_event_id": "x"}, 400, "event id"),
        (f"/v1/test-runs/{RUN}/events?from=latest", "GET", {}, 400, "earliest"),
        ("/v1/events", "GET", {}, 400, "run="),
        (f"/v1/events?run={RUN}&run={ABSENT}", "GET", {}, 404, ABSENT),
        (f"/v1/events?run={RUN}&run={OTHER}", "GET", {}, 404, OTHER),
        ("/elsewhere", "GET", {}, 404, "nothing"),
    ],
)
def test_a_refusal_is_a_problem(
    path: str, method: str, headers: dict[str, str], status: int, said: str
) -> None:
    async def story() -> None:
        log = MemoryLog()
        finished(log, 5)
        log.create(OTHER, workspace="foreign")
        guard = MemoryGuard()
        async with serving(log, guard=guard) as served:
            viewer = await served.ask(path, method=method, **headers)
            assert viewer.status == status
            if method != "HEAD":
                await viewer.rest()
                assert said in str(problem(viewer)["detail"])
            if status == 405:
                assert viewer.headers["allow"] == "GET"
            if status in (401, 404) and (OTHER in path or headers):
                assert guard.refused == [(status, path.partition("?")[0])]

    run(story())


def test_a_foreign_run_and_no_run_cannot_be_told_apart() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create(OTHER, workspace="foreign")
        async with serving(log) as served:
            foreign, absent = await served.watch(OTHER), await served.watch(ABSENT)
            bodies = [(await viewer.rest()).decode() for viewer in (foreign, absent)]
        assert bodies[0].replace(OTHER, "X") == bodies[1].replace(ABSENT, "X")

    run(story())


def test_too_many_streams_are_told_when_to_come_back() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        async with serving(log, replace(QUICK, viewers_per_run_max=2)) as served:
            first, _ = await served.watch(), await served.watch()
            third = await served.watch()
            assert (third.status, third.headers["retry-after"]) == (429, "10")
            await third.rest()
            assert RUN in str(problem(third)["detail"])
            first.reset()
            async with asyncio.timeout(5):
                while (await served.watch()).status != 200:
                    await asyncio.sleep(0.01)

    run(story())


def test_a_log_that_cannot_be_read_is_503_before_the_stream_and_a_pause_in_it() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append("run.started")
        async with serving(log) as served:
            viewer = await served.watch()
            await viewer.until(b"id: 1\n")
            log.broken = OSError("the database has gone")
            refused = await served.watch()
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            log.append("stage.log")
            await asyncio.sleep(0.1)
            log.broken = None
            await viewer.until(b"id: 2\n")

    run(story())


def test_a_replay_whose_log_is_lost_ends_without_an_end() -> None:
    async def story() -> None:
        log = MemoryLog()
        finished(log, 3000)
        async with serving(log, replace(QUICK, ring_events=10)) as served:
            viewer = await Viewer.ask(served.port, f"/v1/test-runs/{RUN}/events", buffer=4096)
            served.viewers.append(viewer)
            await viewer.until(b"id: 1\n")
            log.broken = OSError("the database has gone")
            body = await viewer.rest()
            assert b"event: end" not in body
            place = body.rpartition(b"\nid: ")[2].partition(b"\n")[0].decode()
            log.broken = None
            again = await served.watch(last_event_id=place)
            assert await again.rest() == OPENING + log.sse(after=int(place)) + end_of(3000)

    run(story())


def test_a_key_that_is_revoked_ends_its_streams_and_no_others() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        home = frozenset({"home"})
        guard = MemoryGuard({"good": Who("ann", home), "other": Who("bob", home)})
        async with serving(log, replace(QUICK, recheck_s=0.1), guard) as served:
            ann = await served.watch()
            bob = await served.watch(authorization="Bearer other")
            del guard.keys["good"]
            assert (await ann.rest()).endswith(
                b'event: auth-expired\ndata: {"type":"auth-expired"}\n\n'
            )
            log.append("run.started")
            await bob.until(b"id: 1\n")
            assert (await served.watch()).status == 401

    run(story())


def test_nobody_watches_for_long_when_nobody_can_say_who_may() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        guard = MemoryGuard()
        async with serving(log, replace(QUICK, recheck_s=0.05), guard) as served:
            viewer = await served.watch()
            await viewer.until(OPENING)
            guard.broken = OSError("the database has gone")
            async with asyncio.timeout(5):
                # It is not told that its key has ended: that is not known.
                assert await viewer.rest() == OPENING

    run(story())


# --- bounds ---------------------------------------------------------------------------------------


def test_an_idle_ring_is_freed_and_what_came_since_is_not_lost() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(5)
        limits = replace(QUICK, idle_s=0.2, heartbeat_s=0.2)
        async with serving(log, limits) as served:
            viewer = await served.watch()
            await viewer.until(b"id: 5\n")
            assert served.hub.stats().rings == 1
            viewer.reset()
            async with asyncio.timeout(5):
                while served.hub.stats().rings:
                    await asyncio.sleep(0.02)
            log.append_logs(5)
            again = await served.watch(last_event_id="5")
            await again.until(b"id: 10\n")
            assert again.body.removeprefix(OPENING).startswith(b"id: 6\n")

    run(story())


def test_a_ring_that_was_idle_goes_on_where_the_log_is_now() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        log.append_logs(5)
        async with serving(log) as served:
            viewer = await served.watch()
            await viewer.until(b"id: 5\n")
            viewer.reset()
            async with asyncio.timeout(5):
                while served.hub.stats().viewers:
                    await asyncio.sleep(0.01)
            log.append_logs(5)
            again = await served.watch(last_event_id="10")
            log.append("run.finished")
            assert await again.rest() == OPENING + log.sse(after=10) + end_of(11)

    run(story())


STALLING = Limits(
    tick_s=0.01, retry_ms=20, slow_after_s=0.3, send_timeout_s=2.0, heartbeat_s=2.0, behind_max=500
)


def test_a_viewer_that_stops_reading_is_cut_and_disturbs_nobody() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        async with serving(log, STALLING) as served:
            good = await served.watch()
            stalled = await Viewer.ask(served.port, f"/v1/test-runs/{RUN}/events", buffer=4096)
            served.viewers.append(stalled)
            slowest, held = 0.0, 0
            loop = asyncio.get_running_loop()
            for seq in range(1, 1000):
                began = loop.time()
                log.append("stage.log", text="x" * 4000)
                await good.until(f"id: {seq}\n".encode())
                slowest = max(slowest, loop.time() - began)
                good.body = b""
                held = max(held, served.held_bytes())
                if served.hub.stats().cut:
                    break
                await asyncio.sleep(0.005)
            assert served.hub.stats().cut == 1, "it was never cut"
            assert slowest < 1.0, f"somebody waited {slowest:.3f} s"
            assert held < 300_000, f"{held} bytes were held for a viewer that does not read"
            assert await stalled.lost()
            async with asyncio.timeout(5):
                while served.hub.stats().viewers > 1:
                    await asyncio.sleep(0.01)

    run(story())


def test_a_slow_viewer_gets_every_state_and_is_told_what_it_was_spared() -> None:
    async def story() -> None:
        log = MemoryLog()
        log.create()
        limits = replace(STALLING, send_timeout_s=30.0, ring_events=100_000, ring_bytes=64 << 20)
        async with serving(log, limits) as served:
            slow = await Viewer.ask(served.port, f"/v1/test-runs/{RUN}/events", buffer=4096)
            served.viewers.append(slow)
            await slow.until(OPENING)
            for number in range(4000):
                kind = ("stage.log", "stage.progress", "stage.progress")[number % 3]
                log.append(kind, key="sim/a" if kind == "stage.progress" else "", text="x" * 400)
                if number % 500 == 0:
                    log.append("stage.finished", number=number)
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1.0)
            log.append("stage.started")
            body = await slow.until(b'"type":"stage.started"')
            states = [
                seq for seq, event in log._logs[RUN].events.items() if "stage.f" in event.type
            ]
            told = notes(body, "coalesced")
            seen = {int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")}
            assert set(states) <= seen, "a state was dropped"
            assert told, "it was spared nothing, or not told"
            total = 4009
            spared = told[-1]
            assert len(seen) + spared["coalesced_total"] + spared["sampled_total"] == total  # type: ignore[operator]
            stats = served.hub.stats()
            assert (stats.coalesced, stats.sampled) == (
                spared["coalesced_total"],
                spared["sampled_total"],
            )
            # Once it reads, it is not slow any more.
            before = len(notes(slow.body, "coalesced"))
            log.append_logs(50)
            log.append("run.finished")
            whole = await slow.rest()
            assert whole.endswith(log.sse(after=total) + end_of(log.head(RUN).last_seq))  # type: ignore[union-attr]
            assert len(notes(whole, "coalesced")) == before

    run(story())
