"""A simulated host tells programs about itself in `/proc`, alike in every run and everywhere."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.pool import Request, Worker
from toron.search.verify import Question, verify_many

READS = """
import asyncio, os, sys, time
import toron

OWN = ("stat", "statm", "status", "smaps", "smaps_rollup", "io", "cmdline", "comm")
MACHINE = ("stat", "meminfo", "cpuinfo", "uptime", "loadavg", "vmstat", "diskstats", "net/dev")

def read(path):
    with open(path) as file:
        return file.read()

def fields(text):
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

async def reads_all():
    me = str(os.getpid())
    texts = {name: read(f"/proc/{me}/{name}") for name in OWN}
    assert texts == {name: read(f"/proc/self/{name}") for name in OWN}
    texts.update({f"machine {name}": read(f"/proc/{name}") for name in MACHINE})
    await asyncio.sleep(1)
    texts["later"] = read("/proc/self/stat")
    return {name: text.replace(me, "ME") for name, text in texts.items()}

async def agrees_with_other_calls():
    me = os.getpid()
    await asyncio.sleep(2.5)
    stat = read("/proc/self/stat").split()
    memory = fields(read("/proc/meminfo"))
    return {
        "pid": int(stat[0]) == me == int(os.readlink("/proc/self")),
        "used": int(stat[13]) / 100 == round(time.process_time(), 2),
        "fields": len(stat),
        "uptime": read("/proc/uptime").split()[0] == f"{time.monotonic():.2f}",
        "resident": int(stat[23]) == int(read("/proc/self/statm").split()[1]),
        "cores": read("/proc/cpuinfo").count("processor") == os.cpu_count(),
        "total": memory["MemTotal"].strip(),
        "names": [name for name in os.listdir("/proc") if name.isdigit()] == [str(me)],
        "open": sorted(os.listdir("/proc/self/fd")),
        "size": os.stat("/proc/stat").st_size,
        "is listed": "proc" in os.listdir("/"),
        "other": os.path.exists("/proc/1"),
    }

async def reads_again_from_the_beginning():
    with open("/proc/uptime") as file:
        first = file.read()
        await asyncio.sleep(1)
        file.seek(0)
        return [first, file.read()]

async def changes():
    numbers = []
    for change in (
        lambda: open("/proc/self/comm", "w"),
        lambda: open("/proc/self/new", "w"),
        lambda: open("/proc/new", "a"),
        lambda: os.mkdir("/proc/new"),
        lambda: os.unlink("/proc/stat"),
        lambda: os.rename("/proc/stat", "/tmp/stat"),
    ):
        try:
            change()
        except OSError as error:
            numbers.append(error.errno)
    return numbers

@toron.kernel
async def on_a_broken_disk(world):
    seen = []
    async def main():
        seen.append(read("/proc/self/comm") and os.listdir("/proc")[:1])
    host = world.host("server")
    host.disk.fail_reads()
    host.disk.capacity = 0
    host.spawn(main)
    await world.sleep(1)
    host.crash()
    host.restart()
    await world.sleep(1)
    world.record("seen", seen)
    world.record("files", host.disk.files())
"""

MEASURES_AT_IMPORT = """
import psutil

async def main():
    return [psutil._last_cpu_times, psutil._last_per_cpu_times_2, psutil._TOTAL_PHYMEM]
"""


@pytest.fixture
def executed(program: Callable[..., Path]) -> Callable[[str], dict[str, Any]]:
    def execute(name: str) -> dict[str, Any]:
        with Worker(program(READS), wall_limit_s=30) as worker:
            outcome = worker.execute(Request(name, 1, 0)).outcome
        assert outcome.failure is None, outcome.failure
        return outcome.outputs

    return execute


def test_what_proc_says_is_the_same_in_two_processes(program: Callable[..., Path]) -> None:
    reference = toron.KernelRef(program(READS), "reads_all")
    for one in verify_many([Question(reference, seed, 0, "varied") for seed in (1, 2)]):
        assert one.identical, one.divergence


def test_proc_agrees_with_what_other_calls_say(
    executed: Callable[[str], dict[str, Any]],
) -> None:
    found = executed("agrees_with_other_calls")["result"]
    assert found == {
        "pid": True,
        "used": True,
        "fields": 52,
        "uptime": True,
        "resident": True,
        "cores": True,
        "total": "8388608 kB",
        "names": True,
        "open": ["0", "1", "2"],
        "size": 0,
        "is listed": True,
        "other": False,
    }


def test_time_goes_on_in_a_file_that_is_read_again(
    executed: Callable[[str], dict[str, Any]],
) -> None:
    first, second = executed("reads_again_from_the_beginning")["result"]
    assert float(second.split()[0]) - float(first.split()[0]) == pytest.approx(1, abs=0.011)


def test_nothing_in_proc_can_be_changed(executed: Callable[[str], dict[str, Any]]) -> None:
    absent, denied, forbidden = errno.ENOENT, errno.EACCES, errno.EPERM
    assert executed("changes")["result"] == [denied, absent, absent, absent, forbidden, forbidden]


def test_proc_is_there_when_the_disk_is_broken_and_after_a_power_cut(
    executed: Callable[[str], dict[str, Any]],
) -> None:
    assert executed("on_a_broken_disk") == {"seen": [["stat"], ["stat"]], "files": []}


def test_psutil_forgets_what_it_measured_on_the_real_machine(
    program: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "psutil.py").write_text(
        "_last_cpu_times, _last_per_cpu_times = {1: 'real'}, {1: 'real'}\n"
        "_last_cpu_times_2, _last_per_cpu_times_2 = {1: 'real'}, {1: 'real'}\n"
        "_TOTAL_PHYMEM = 123\n"
    )
    with Worker(program(MEASURES_AT_IMPORT), wall_limit_s=30) as worker:
        outcome = worker.execute(Request("main", 1, 0)).outcome
    assert outcome.outputs == {"result": [{}, {}, None]}
