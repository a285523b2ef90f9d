"""The steps of a run with what joins them: who put each on the loop, who cancelled whom.

Made from an execution at level ``events``: the story of `traces` says who acts in which lane, the
wakes (`core.wakes`) how each step came to its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from toron.core.wakes import Wake, Way
from toron.search.outcome import Execution
from toron.search.traces.events import Event, Lane, Story, short
from toron.search.traces.model import story_of

_LOOPS = ("BaseEventLoop.", "BaseSelectorEventLoop.", "SimLoop.")
_SLEEP_OVER = "futures._set_result_unless_cancelled"


@dataclass(slots=True, eq=False)
class Step:
    """One step of a task, or one call of the loop."""

    event: Event
    wake: Wake
    lane: Lane
    who: str
    """``worker#2``: the second task made of that coroutine function; of a call, whose timer."""
    way: Way
    """How it came on the loop; a task for a connection that was accepted comes by I/O, too."""
    ordinal: int = 0
    """Which step of its task it is, from 1; 0 for a call."""
    by: Step | None = None
    """In whose step it was put on the loop, its timer was set, or what reached it was sent."""
    canceller: Step | None = None
    inside: list[Event] = field(default_factory=list)
    led_to: list[Step] = field(default_factory=list)

    @property
    def number(self) -> int:
        """The number of its event."""
        return self.event.number

    @property
    def is_task(self) -> bool:
        """Whether it is a step of a task."""
        return self.event.kind == "step"

    @property
    def is_sleep(self) -> bool:
        """Whether it is the timer of a plain sleep."""
        return self.wake.way == "timer" and self.event.detail.endswith(_SLEEP_OVER)

    @property
    def result(self) -> str:
        """What its task was resumed with."""
        return self.event.detail.partition(" <- ")[2] if self.is_task else ""

    @property
    def is_cancelled(self) -> bool:
        """Whether its task meets a cancellation in it."""
        return bool(self.wake.cancelled_by) or self.result == "cancelled"

    @property
    def name(self) -> str:
        """Its task as the loop counts it, with the functions around the coroutine function."""
        return f"{self.lane.name}#{self.who.rpartition('#')[2]}"

    @property
    def key(self) -> str:
        """The key of its place in the order, on a tape."""
        return f"schedule {self.name}/{self.ordinal}"


@dataclass(slots=True)
class Account:
    """A whole run, step by step."""

    execution: Execution
    story: Story
    steps: list[Step]
    names: dict[int, str]
    """What the task of each lane is called."""

    def step(self, number: int) -> Step | None:
        """The step of which event ``number`` is part."""
        event = self.story.event(number) if number else None
        if event is None:
            return None
        return self._by_number.get(event.step or event.number)

    _by_number: dict[int, Step] = field(default_factory=dict)

    def of_lane(self, lane: int) -> list[Step]:
        """The steps of one task."""
        return [step for step in self.steps if step.lane.index == lane]

    def focus(self) -> Step | None:
        """The last step of what failed."""
        return self.step(self.story.focus) or (self.steps[-1] if self.steps else None)


def account_of(execution: Execution) -> Account:
    """The account of ``execution``, which was made at level ``events``."""
    story = story_of(execution)
    names = dict(_names(story))
    account = Account(execution, story, [], names)
    counts: dict[int, int] = {}
    for wake in execution.wakes:
        event = story.event(wake.number)
        if event is not None and event.kind == "cancel":
            event = story.event(wake.number + 1)  # of the search, as the task woke
        if event is None or event.kind not in ("step", "call"):
            continue  # of a host that was paused or down, or beyond what is kept
        lane = story.lanes[event.lane]
        step = Step(event, wake, lane, names.get(lane.index, ""), wake.way)
        if step.is_task:
            step.ordinal = counts[lane.index] = counts.get(lane.index, 0) + 1
        account.steps.append(step)
        account._by_number[event.number] = step
    for event in story.events:
        step_of_event = account._by_number.get(event.step)
        if step_of_event is not None and event.number != event.step:
            step_of_event.inside.append(event)
    for step in account.steps:
        _join(account, step)
    return account


def _names(story: Story) -> Iterator[tuple[int, str]]:
    """Tasks by coroutine function and count, as the loop counts them: over all hosts."""
    counts: dict[str, int] = {}
    tasks = [lane for lane in story.lanes if lane.kind == "task"]
    for lane in sorted(tasks, key=lambda lane: lane.spawned or lane.first):
        count = counts[lane.name] = counts.get(lane.name, 0) + 1
        yield lane.index, f"{_plain(lane.name)}#{count}"


def _plain(name: str) -> str:
    """A coroutine function's name, without the functions around it and the loop's own classes."""
    name = short(name)
    return name.rpartition(".")[2] if name.startswith(_LOOPS) else name


def _join(account: Account, step: Step) -> None:
    wake = step.wake
    step.by = account.step(wake.by) if wake.way != "io" else _sender(account, step.event)
    if step.by is step:
        step.by = None
    if step.ordinal == 1 and step.by is not None and step.by.way == "io":
        _join_accepted(account, step, step.by)
    step.canceller = account.step(wake.cancelled_by)
    if not step.is_task and wake.way == "timer" and step.by is not None:
        step.who = step.by.who
    for origin in {id(known): known for known in (step.by, step.canceller) if known}.values():
        origin.led_to.append(step)


def _join_accepted(account: Account, step: Step, accepting: Step) -> None:
    """One call accepts what has connected, in the order of arrival, and starts a task for each."""
    before = [event for event in accepting.inside if event.number < step.lane.spawned]
    accepted = [event for event in before if event.kind == "accept"]
    if accepted:
        step.way = "io"
        step.by = account.step(accepted[-1].cause) or accepting


def _sender(account: Account, event: Event) -> Step | None:
    """Whose step sent what an I/O callback was called for."""
    arrival = account.story.event(event.cause)
    while arrival is not None and not arrival.step and arrival.cause:
        arrival = account.story.event(arrival.cause)
    return account.step(arrival.number) if arrival is not None else None
