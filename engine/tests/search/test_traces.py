"""A run as a story: who did what in which lane, what led to what, and how two runs differ."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from toron.search.outcome import Execution, Outcome, TraceEvent
from toron.search.traces.diff import difference
from toron.search.traces.events import Event, Lane, Story
from toron.search.traces.model import story_of
from toron.search.traces.text import Window, diff_text_of, seconds, text_of

Execute = Callable[..., Execution]


@pytest.fixture(scope="module")
def told(execute_program: Execute) -> Callable[..., Story]:
    known: dict[tuple[str, int], Story] = {}

    def tell(kernel: str, seed: int = 1) -> Story:
        if (kernel, seed) not in known:
            execution = execute_program("traced", kernel, seed, "events")
            known[kernel, seed] = story_of(execution)
        return known[kernel, seed]

    return tell


def lane(story: Story, identity: str) -> Lane:
    return next(one for one in story.lanes if one.identity == identity)


def events_of(story: Story, kind: str) -> list[Event]:
    return [event for event in story.events if event.kind == kind]


# What is kept beside the text


@pytest.mark.parametrize("kernel", ["cluster", "two_locks", "overdrawn"])
def test_what_a_viewer_needs_does_not_change_what_is_hashed(
    execute_program: Execute, kernel: str
) -> None:
    looked_at = execute_program("traced", kernel, 3, "events")
    unseen = execute_program("traced", kernel, 3).outcome
    assert looked_at.outcome == unseen == execute_program("traced", kernel, 3, "full").outcome
    assert looked_at.count == len(looked_at.events) == looked_at.events[-1].number


def test_what_arrives_follows_from_what_was_sent_byte_by_byte(told: Callable[..., Story]) -> None:
    story = told("cluster")
    arrived: Counter[int] = Counter()
    for event in events_of(story, "deliver"):
        sent = story.event(event.cause)
        assert sent is not None
        assert sent.kind in ("send", "fin", "udp")
        source, _, target = sent.detail.split(" ")[0].partition(">")
        here = event.detail.split(" ")
        assert here[0] == (f"{target}>{source}" if sent.kind != "udp" else f"{source}>{target}")
        if source.startswith("127."):
            assert event.host == sent.host  # two hosts have the same loopback addresses
        arrived[sent.number] += int(here[1])
    sizes = {message.sent: message.size for message in story.messages}
    assert all(size <= sizes[number] for number, size in arrived.items())
    assert sum(arrived[number] == size > 0 for number, size in sizes.items()) > 10


def test_a_datagram_is_lost_or_arrives_and_says_which(told: Callable[..., Story]) -> None:
    story = told("cluster")
    states = Counter(message.state for message in story.messages if message.kind == "udp")
    assert states["lost"] == len(events_of(story, "lost")) > 0
    assert states["arrived"] > 0
    assert sum(states.values()) == len(events_of(story, "udp"))


def test_each_step_follows_from_an_earlier_event(told: Callable[..., Story]) -> None:
    for kernel in ("cluster", "two_locks", "overdrawn"):
        story = told(kernel)
        steps = events_of(story, "step")
        assert all(0 < step.cause < step.number for step in steps)
        woken = [step for step in steps if " <- " in step.detail]
        assert all(story.event(step.cause) is not None for step in woken)


def test_a_task_that_waited_for_a_thread_was_woken_by_it(told: Callable[..., Story]) -> None:
    story = told("cluster")
    kinds = {one.index: one.kind for one in story.lanes}
    by_threads = [
        event
        for event in story.events
        if event.kind == "call" and kinds[story.events[event.cause - 1].lane] == "thread"
    ]
    assert by_threads


def test_a_step_that_is_not_in_asyncios_order_has_its_rivals_beside_it(
    told: Callable[..., Story],
) -> None:
    moved = 0
    for seed in range(6):
        story = told("overdrawn", seed)
        for event in story.events:
            if event.was_moved:
                assert event.turn is not None
                moved += 1
                place, among, _ = event.turn
                turns = [other.turn for other in story.events if other.turn is not None]
                assert {own for _, size, own in turns if size == among} >= set(range(1, among + 1))
                assert 1 <= place <= among
    assert moved > 0


# Lanes


def test_tasks_live_in_lanes_of_their_host_from_spawn_to_end(told: Callable[..., Story]) -> None:
    story = told("cluster")
    assert story.hosts == ["main", "db", "app", "web"]
    talk = lane(story, "app/talk#1")
    assert (talk.kind, talk.host, talk.ending) == ("task", "app", "returned")
    assert talk.spawned < talk.first < talk.ended
    spawned = story.event(talk.spawned)
    assert spawned is not None
    assert spawned.lane == lane(story, "main/cluster#1").index
    said = lane(story, "app/say#1")
    assert said.ending == "failed"


def test_a_power_cut_ends_the_lanes_of_a_host_and_its_restart_begins_others(
    told: Callable[..., Story],
) -> None:
    story = told("cluster")
    before = lane(story, "db/serve#1")
    after = lane(story, "db/serve#2")
    (crash,), (restart,) = events_of(story, "crash"), events_of(story, "restart")
    assert (before.ending, before.ended) == ("power cut", crash.number)
    assert (after.process, after.host) == ("db'1", "db")
    assert after.spawned > restart.number
    assert not any(
        crash.number < e.number < restart.number for e in story.events if e.lane == before.index
    )


def test_what_a_step_does_is_in_its_lane_and_part_of_it(told: Callable[..., Story]) -> None:
    story = told("cluster")
    for event in events_of(story, "send"):
        step = story.event(event.step)
        assert step is not None
        assert (step.lane, step.kind) == (event.lane, "step")
        assert step.number < event.number


# Faults, waits, failure


def test_faults_last_from_their_begin_to_their_end(told: Callable[..., Story]) -> None:
    story = told("cluster")
    bars = {bar.text: bar for bar in story.bars}
    assert set(bars) == {"partition app|db", "db is down (crash)", "web is paused"}
    lasted = {}
    for text, bar in bars.items():
        begin, end = story.event(bar.begin), story.event(bar.end)
        assert begin is not None
        assert end is not None
        lasted[text] = (end.at_ns - begin.at_ns) / 1e9
    assert lasted == pytest.approx(
        {"partition app|db": 0.3, "db is down (crash)": 0.4, "web is paused": 0.2}, abs=0.01
    )
    assert bars["partition app|db"].hosts == ("db", "app")


def test_a_deadlock_says_who_waits_for_whom(told: Callable[..., Story]) -> None:
    story = told("two_locks")
    names = {one.index: one.identity for one in story.lanes}
    take = "main/two_locks.<locals>.take"
    found = {names[wait.lane]: [names[held] for held in wait.holders] for wait in story.waits}
    assert found == {
        "main/two_locks#1": [f"{take}#1", f"{take}#2"],
        f"{take}#1": [f"{take}#2"],
        f"{take}#2": [f"{take}#1"],
    }
    assert {wait.what for wait in story.waits if names[wait.lane] != "main/two_locks#1"} == {
        "Lock.acquire"
    }


def test_what_led_to_a_failure_goes_back_to_the_beginning(told: Callable[..., Story]) -> None:
    story = told("cluster")
    focus = story.event(story.focus)
    assert focus is not None
    assert story.lanes[focus.lane].identity == "app/say#1"
    assert focus.kind == "end"
    assert story.chain == sorted(story.chain, reverse=True)
    assert story.chain[-1] == 1
    overdrawn = next(
        told("overdrawn", seed) for seed in range(20) if told("overdrawn", seed).outcome.failure
    )
    broken = overdrawn.event(overdrawn.focus)
    assert broken is not None
    assert (broken.kind, broken.step) == ("broken", overdrawn.chain[0])


def test_a_run_of_too_many_events_says_how_many_are_missing_and_keeps_its_end(
    execute_program: Execute,
) -> None:
    execution = execute_program("traced", "two_locks", 1, "events")
    cut = replace(execution, events=execution.events[:3], tail=execution.tail[-2:])
    story = story_of(cut)
    assert [event.number for event in story.events] == [1, 2, 3, cut.count - 1, cut.count]
    assert story.missing == cut.count - 5
    assert any(
        f"{cut.count - 5} of {cut.count} events were not kept" in line for line in text_of(story)
    )


def test_a_run_that_was_cut_short_has_no_events_and_is_told_all_the_same(
    execute_program: Execute,
) -> None:
    execution = execute_program("traced", "two_locks")
    story = story_of(Execution(execution.outcome, [], [], ""))
    assert (story.events, story.focus, story.chain) == ([], 0, [])
    assert next(text_of(story)).startswith("FAIL  two_locks")


# Text


def test_text_shows_when_who_what_and_where_and_marks_the_failure(
    told: Callable[..., Story],
) -> None:
    story = told("two_locks")
    lines = list(text_of(story))
    assert lines[0].startswith("FAIL  two_locks  seed 1, chaos seed 0")
    assert sum("held by take (task#" in line for line in lines) == 2
    table = lines[lines.index("") + 1 :]
    assert len(table) == len(story.events)
    marked = [line for line in table if line.startswith(">")]
    assert len(marked) == 1
    at = story.event(story.focus)
    assert at is not None
    assert f"{at.number}  {seconds(at.at_ns)}  main  take (task#" in marked[0]
    assert marked[0].endswith("traced.py:18 in two_locks.<locals>.take")


def test_a_window_says_what_it_leaves_out(told: Callable[..., Story]) -> None:
    story = told("cluster")
    around = list(text_of(story, Window(around=story.focus)))
    assert sum(line.startswith(">") for line in around) == 1
    left_out = [line for line in around if line.startswith("… ")]
    assert left_out[0] == f"… {story.focus - 1 - 40:,} events before these"
    last = list(text_of(story, Window(last=2)))
    assert f"… {story.count - 2:,} events before these" in last


def test_what_a_program_says_cannot_steer_a_terminal(told: Callable[..., Story]) -> None:
    text = "\n".join(text_of(told("cluster")))
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert "\\x1b[31m" in text


# Two runs


def test_a_run_does_not_differ_from_itself(told: Callable[..., Story]) -> None:
    for kernel in ("cluster", "two_locks"):
        found = difference(told(kernel), told(kernel))
        assert found.is_none
        assert found.alike == len(told(kernel).events)
        assert not any(pair.differs for pair in found.lanes)


def test_another_state_of_chance_that_nobody_used_is_no_difference(
    told: Callable[..., Story],
) -> None:
    a = told("two_locks")
    other = [
        replace(event, detail="0" * 24) if event.kind == "random" else event for event in a.events
    ]
    assert difference(a, replace(a, events=other)).is_none


def test_the_first_event_that_differs_is_found_and_the_first_of_each_lane(
    told: Callable[..., Story],
) -> None:
    stories = [told("overdrawn", seed) for seed in range(20)]
    failing = next(story for story in stories if story.outcome.failure)
    passing = next(story for story in stories if not story.outcome.failure)
    found = difference(failing, passing)
    a, b = failing.event(found.first_a), passing.event(found.first_b)
    assert a is not None
    assert b is not None
    assert (a.at_ns, a.kind, a.detail) != (b.at_ns, b.kind, b.detail)
    assert failing.events[: found.alike] == passing.events[: found.alike]
    withdraw = [pair for pair in found.lanes if ".withdraw#" in pair.identity]
    assert len(withdraw) == 2
    assert all(pair.a is not None and pair.b is not None for pair in withdraw)
    lines = list(diff_text_of(failing, passing, found))
    assert f"alike for {found.alike} events; then" in lines
    assert sum(line.startswith(("A  ", "B  ")) for line in lines) == 4


def test_a_lane_that_did_the_same_later_does_not_differ() -> None:
    outcome = Outcome("k", 0, 0, "pass", "d", {}, {}, None, 1, 9, "t")

    def run(number: int, late_ns: int) -> Story:
        lines = [
            f"0 main spawn task#{number} work()",
            f"{5 + late_ns} main step task#{number} work",
            f"{9 + late_ns} main end task#{number} 1",
        ]
        events = [TraceEvent(at, line, "") for at, line in enumerate(lines, 1)]
        return story_of(Execution(outcome, events, [], "", count=3))

    found = difference(run(1, 0), run(7, 1_000))
    assert found.alike == 0  # the first line names another task
    assert [pair.differs for pair in found.lanes if "/work#" in pair.identity] == [False]
