"""Events of an exploration that goes on, and what Ctrl-C leaves of it."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron

KERNELS = """
import asyncio
import toron

@toron.kernel
async def breaks(world):
    order = []
    async def one(number):
        await asyncio.sleep(0)
        order.append(number)
    await asyncio.gather(*[one(number) for number in range(3)])
    world.always("in order", order == [0, 1, 2])
"""


@pytest.fixture
def kernels(program: Callable[..., Path]) -> Path:
    return program(KERNELS)


def test_a_stream_has_a_line_for_each_run_and_each_cause_and_ends_with_the_whole(
    kernels: Path, toron_command: Callable[..., Any]
) -> None:
    streamed = toron_command("explore", f"{kernels}::breaks", "--seeds", "0:12", "--stream")
    assert streamed.code == 1
    events = [json.loads(line) for line in streamed.out.splitlines()]
    assert [one["sim_seed"] for one in events if one["event"] == "run"] == list(range(12))
    [failure] = [one for one in events if one["event"] == "failure"]
    end = events[-1]
    assert end.pop("event") == "end"
    assert failure["token"] == end["failures"][0]["token"]
    expected = toron.explore(toron.KernelRef(kernels, "breaks"), seeds=range(12)).to_json()
    del end["seeds_per_second"], expected["seeds_per_second"]
    for outcome in (*end["failures"], *expected["failures"]):
        del outcome["token"]  # it names the file as it is seen from the working directory
        outcome["failure"].pop("where"), outcome["failure"].pop("cause", None)
    assert end == expected


def test_a_stream_and_one_object_are_not_both(
    kernels: Path, toron_command: Callable[..., Any]
) -> None:
    assert toron_command("explore", kernels, "--stream", "--json").code == 2


def test_events_come_while_it_goes_on_and_ctrl_c_ends_with_what_was_learned(
    kernels: Path,
) -> None:
    command = [sys.executable, "-m", "toron", "explore", str(kernels), "--seeds", "0:1000000"]
    running = subprocess.Popen(
        [*command, "--jobs", "2", "--stream"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        assert (first["event"], first["sim_seed"]) == ("run", 0)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=20)
    finally:
        running.kill()
    assert running.returncode == 130
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["interrupted"]) == ("end", True)


@pytest.mark.long
def test_a_terminal_shows_a_new_cause_before_the_end(kernels: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "toron", "explore", str(kernels), "--seeds", "0:1000000"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen, end = "", time.monotonic() + 30
    try:
        while "toron replay t" not in seen and time.monotonic() < end:
            seen += os.read(ours, 4096).decode()
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()
        os.close(ours)
    assert "property: always 'in order' does not hold" in seen
