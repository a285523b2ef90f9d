"""The selector knows who is ready and moves time; it never watches the real world."""

import os
from pathlib import Path
from typing import Any

import pytest

from toron.core.agenda import Agenda
from toron.core.baton import Baton
from toron.core.choices import SeededChoices
from toron.core.clock import SECOND_NS, Clock
from toron.core.places import Places
from toron.core.process import Process
from toron.core.selector import READ, WRITE, Descriptors, SimSelector
from toron.core.trace import Trace
from toron.errors import Deadlock, EscapeError, LimitReached


class Machine:
    name = "owner"


OWNER = Process(Machine(), 0)


class Pipe:
    def __init__(self, *, readable: bool = False, writable: bool = False) -> None:
        self.state = (readable, writable)

    def readable(self) -> bool:
        return self.state[0]

    def writable(self) -> bool:
        return self.state[1]

    def process_ended(self) -> None:
        pass


class Bench:
    def __init__(self, seed: int = 1, limit_s: int = 100) -> None:
        self.clock, self.agenda, self.table = Clock(), Agenda(), Descriptors()
        choices = SeededChoices(seed, 0)
        trace = Trace(self.clock, "digest", Places(Path()))
        self.baton = Baton(self.clock, self.agenda, choices, trace, limit_s * SECOND_NS)
        self.selector = SimSelector(self.clock, self.agenda, self.table, choices, self.baton)

    def watch(self, fd: int, events: int = READ, *, ready: bool = True) -> Pipe:
        pipe = Pipe(readable=ready, writable=ready)
        self.table.add(fd, pipe, OWNER)
        self.selector.register(fd, events)
        return pipe

    def ready(self, deadline_ns: int | None = 0) -> list[tuple[int, int]]:
        return [(key.fd, mask) for key, mask in self.selector.select_until(deadline_ns)]


def test_what_is_ready_is_reported_until_it_is_drained() -> None:
    bench = Bench()
    pipe = bench.watch(5, READ | WRITE)
    assert bench.ready() == bench.ready() == [(5, READ | WRITE)]
    pipe.state = (False, True)
    assert bench.ready() == [(5, WRITE)]
    pipe.state = (False, False)
    assert bench.ready() == []


def test_only_the_events_asked_for_are_reported() -> None:
    bench = Bench()
    bench.watch(5, WRITE)
    assert bench.ready() == [(5, WRITE)]
    bench.selector.modify(5, READ)
    assert bench.ready() == [(5, READ)]
    bench.selector.unregister(5)
    assert bench.ready() == []


def test_a_change_is_seen_once_it_is_announced() -> None:
    bench = Bench()
    pipe = bench.watch(5, ready=False)
    assert bench.ready() == []
    pipe.state = (True, False)
    bench.table.touch(5)
    assert bench.ready() == [(5, READ)]


def test_the_seed_picks_the_order_of_what_is_ready_together() -> None:
    def order(seed: int) -> tuple[int, ...]:
        bench = Bench(seed)
        for fd in range(3):
            bench.watch(fd)
        return tuple(fd for fd, _ in bench.ready())

    assert len({order(seed) for seed in range(60)}) == 6
    assert order(3) == order(3)


def test_idle_time_jumps_to_the_next_action_or_the_deadline() -> None:
    bench = Bench()
    pipe = bench.watch(5, ready=False)

    def arrive() -> None:
        pipe.state = (True, False)
        bench.table.touch(5)

    bench.agenda.at(700, arrive)
    assert bench.ready(300) == []
    assert bench.clock.now_ns == 300
    assert bench.ready(9_000) == [(5, READ)]
    assert bench.clock.now_ns == 700
    assert bench.baton.jumps == 2


def test_select_takes_seconds() -> None:
    bench = Bench()
    assert bench.selector.select(0.5) == []
    assert bench.clock.now_ns == SECOND_NS // 2
    assert bench.selector.select(-1) == []
    assert bench.clock.now_ns == SECOND_NS // 2


def test_nothing_to_wait_for_is_a_deadlock() -> None:
    bench = Bench()
    bench.watch(5, ready=False)
    with pytest.raises(Deadlock, match="nothing is ready, no timer is set"):
        bench.selector.select()


def test_time_stops_at_its_limit() -> None:
    bench = Bench(limit_s=10)
    with pytest.raises(LimitReached, match="the time limit of 10 virtual seconds"):
        bench.ready(10 * SECOND_NS + 1)
    assert bench.clock.now_ns == 10 * SECOND_NS
    assert Bench(limit_s=10).ready(10 * SECOND_NS) == []


def test_a_descriptor_of_the_real_world_is_refused() -> None:
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(EscapeError, match="watching a descriptor of the real world"):
            Bench().selector.register(read_end, READ)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_registering_twice_and_forgetting_what_was_not_known_are_key_errors() -> None:
    bench = Bench()
    bench.watch(5)
    with pytest.raises(KeyError, match="already registered"):
        bench.selector.register(5, READ)
    for call in (bench.selector.unregister, bench.selector.get_key):
        with pytest.raises(KeyError):
            call(6)
    assert list(bench.selector.get_map()) == [5]


def test_a_socket_that_was_closed_first_can_still_be_unregistered() -> None:
    class File:
        fd = 9

        def fileno(self) -> int:
            return self.fd

    bench, file = Bench(), File()
    bench.table.add(9, Pipe(), OWNER)
    bench.selector.register(file, READ)
    file.fd = -1
    key: Any = bench.selector.unregister(file)
    assert key.fd == 9
    with pytest.raises(KeyError, match="is not registered"):
        bench.selector.unregister(file)


def test_the_descriptors_of_a_dead_process_are_never_ready() -> None:
    bench = Bench()
    bench.watch(5)
    bench.table.remove_all_of(OWNER)
    assert bench.ready() == []
