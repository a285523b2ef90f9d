"""Faults of a disk are what a program would see of a bad one, and end when they are told to."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.core.choices import SeededChoices
from toron.testing import execute
from toron.world.disk.host_disk import HostDisk, draw_fault
from toron.world.hosts import Host


def on_a_host(main: Callable[[HostDisk], Any], *, seed: int = 1, chaos_seed: int = 0) -> Any:
    """Run ``main`` on a host; its result."""

    async def kernel(world: toron.World) -> Any:
        host = world.host("db")

        async def life() -> Any:
            return main(host.disk)

        return await host.spawn(life)

    outcome = toron.run(kernel, seed=seed, chaos_seed=chaos_seed)
    assert outcome.verdict == "pass", outcome.failure
    return outcome.outputs["result"]


def code_of(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def test_reads_and_writes_fail_with_the_errno_that_was_asked_for() -> None:
    def main(disk: HostDisk) -> list[Any]:
        path = Path("/tmp/f")
        path.write_text("x")
        disk.fail_reads("/tmp/*", count=1)
        out = [code_of(path.read_text), code_of(path.read_text)]
        disk.fail_writes(number=errno.ENOSPC)
        out += [code_of(path.write_text, "y"), code_of(os.mkdir, "/tmp/d"), code_of(path.read_text)]
        disk.heal()
        return [*out, code_of(path.write_text, "z"), path.read_text()]

    assert on_a_host(main) == ["EIO", None, "ENOSPC", "ENOSPC", None, None, "z"]


def test_a_fault_ends_at_its_time() -> None:
    async def kernel(world: toron.World) -> list[Any]:
        world.host("main").disk.fail_reads(until=10)
        Path("/tmp/f").write_text("x")
        out = [code_of(Path("/tmp/f").read_text)]
        await world.sleep(10)
        return [*out, code_of(Path("/tmp/f").read_text)]

    assert toron.run(kernel, seed=1).outputs["result"] == ["EIO", None]


def test_a_disk_with_a_capacity_fills_up_and_takes_what_fits() -> None:
    def main(disk: HostDisk) -> list[Any]:
        disk.capacity = 1_000
        fd = os.open("/tmp/f", os.O_RDWR | os.O_CREAT)
        out: list[Any] = [os.write(fd, b"x" * 600), os.write(fd, b"x" * 600)]
        out.append(code_of(os.write, fd, b"x"))
        out.append(code_of(os.pwrite, fd, b"y", 0))  # what is there already needs no room
        os.unlink("/tmp/f")
        return [*out, code_of(Path("/tmp/g").write_text, "z")]

    assert on_a_host(main) == [600, 400, "ENOSPC", None, None]


def test_short_reads_and_writes_move_less_and_buffers_cope() -> None:
    def main(disk: HostDisk) -> list[Any]:
        disk.short_reads(0.9)
        disk.short_writes(0.9)
        payload = bytes(range(256)) * 40
        Path("/tmp/f").write_bytes(payload)
        fd = os.open("/tmp/f", os.O_RDONLY)
        sizes = [len(os.read(fd, 1000)) for _ in range(5)]
        return [Path("/tmp/f").read_bytes() == payload, min(sizes) < 1000, min(sizes) > 0]

    assert on_a_host(main) == [True, True, True]


@pytest.mark.parametrize("chaos_seed", range(8))
def test_after_a_failed_fsync_a_second_one_succeeds_and_saves_nothing(chaos_seed: int) -> None:
    def main(disk: HostDisk) -> list[Any]:
        fd = os.open("/tmp/f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"x" * 5_000)
        disk.fail_fsync(count=1)
        first = code_of(os.fsync, fd)
        left = disk.read_durable("/tmp/f")
        second, cached = code_of(os.fsync, fd), disk.read("/tmp/f") == b"x" * 5_000
        return [first, second, cached, disk.read_durable("/tmp/f") == left]

    assert on_a_host(main, chaos_seed=chaos_seed) == ["EIO", None, True, True]


def test_rotten_bits_are_read_and_stay() -> None:
    def main(disk: HostDisk) -> int:
        disk.write("/data/f", bytes(1_000))
        disk.bit_rot("/data/f", bits=3)
        return sum(byte.bit_count() for byte in Path("/data/f").read_bytes())

    assert on_a_host(main) in (1, 3)


def test_a_misdirected_write_shows_once_it_is_synced() -> None:
    def main(disk: HostDisk) -> list[bool]:
        disk.write("/data/f", b"a" * 4_096)
        disk.misdirect_writes("/data/f")
        fd = os.open("/data/f", os.O_RDWR)
        os.pwrite(fd, b"b" * 512, 1_024)
        seen = os.pread(fd, 512, 1_024) == b"b" * 512
        os.fsync(fd)
        return [seen, os.pread(fd, 512, 1_024) == b"b" * 512]

    found = [on_a_host(main, chaos_seed=seed) for seed in range(6)]
    assert all(seen for seen, _ in found)
    assert any(not there for _, there in found)


def test_slowness_is_virtual_time() -> None:
    def main(disk: HostDisk) -> float:
        import time

        before = time.monotonic()
        disk.slow(0.25)
        Path("/tmp/f").write_text("x")
        return time.monotonic() - before

    assert 0.5 <= on_a_host(main) < 1


def test_fsync_costs_virtual_time_that_the_seed_draws() -> None:
    def main(_disk: HostDisk) -> int:
        import time

        with open("/tmp/f", "w") as file:
            before = time.monotonic_ns()
            os.fsync(file.fileno())
            return time.monotonic_ns() - before

    costs = {on_a_host(main, seed=seed) for seed in range(5)}
    assert len(costs) == 5
    assert all(500_000 <= cost < 5_000_000 for cost in costs)


def test_every_drawn_fault_begins_and_ends() -> None:
    async def kernel(world: toron.World) -> list[Any]:
        host: Host = world.host("db")
        texts = []
        choices = SeededChoices(0, 7)
        for _ in range(60):
            fault = draw_fault(host.disk, lambda n: choices.pick("chaos.test", n), corrupts=True)
            texts.append(fault.text.rstrip("0123456789.% s"))
            fault.start()
            fault.stop()
            faults = host.disk.volume.faults
            assert (faults._rules, faults.slow_ns) == ([], 0), fault.text
        return sorted({text.split()[-1] for text in texts})

    outcome = toron.run(kernel, seed=1)
    assert len(outcome.outputs["result"]) >= 6, outcome.failure


def test_a_fault_that_may_strike_does_not_strike_a_harmless_run() -> None:
    async def kernel(world: toron.World) -> None:
        host = world.host("db")
        host.disk.fail_writes(probability=0.01)

        async def life() -> None:
            Path("file").write_text("kept")

        await host.spawn(life)

    assert execute(kernel, seed=1, tape=[]).outcome.verdict == "pass"
    struck = execute(kernel, seed=1, tape=[("chaos.disk.db 1", 1)]).outcome
    assert struck.failure is not None
    assert "EIO" in struck.failure.message or "Errno 5" in struck.failure.message
