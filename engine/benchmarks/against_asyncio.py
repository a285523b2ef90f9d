"""Prints how fast a simulated program runs, as a ratio to stock asyncio in the same invocation.

Four programs, each run by `asyncio.run` and by Toron, alternating, each time in a fresh process;
the ratio is taken per round, and its median, minimum and maximum are printed. Above 1 Toron is
faster. Timers wait real time under asyncio, so there the ratio says how much waiting is saved.

    python engine/benchmarks/against_asyncio.py [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

import toron

HERE = Path(__file__)


async def switches() -> int:
    async def spin(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    await asyncio.gather(*[spin(500) for _ in range(100)])
    return 100 * 500


async def timers() -> int:
    async def tick(number: int) -> None:
        for step in range(20):
            await asyncio.sleep(0.001 + (number * 7 + step) % 13 / 10_000)

    await asyncio.gather(*[tick(number) for number in range(500)])
    return 500 * 20


async def queues() -> int:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=10)

    async def produce() -> None:
        for number in range(20_000):
            await queue.put(number)

    async def consume() -> None:
        for _ in range(20_000):
            await queue.get()

    await asyncio.gather(produce(), consume())
    return 20_000


async def echo() -> int:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(200):
            writer.write(b"x" * 99 + b"\n")
            await reader.readline()
        writer.close()

    await asyncio.gather(*[ask() for _ in range(10)])
    server.close()
    return 10 * 200


PROGRAMS = {"switches": switches, "timers": timers, "queues": queues, "echo": echo}


def measure(engine: str, program: str) -> float:
    """Operations a second of real time, in this process."""
    begin = time.perf_counter()
    if engine == "asyncio":
        count = asyncio.run(PROGRAMS[program]())
    else:
        outcome = toron.run(toron.KernelRef(HERE.resolve(), program), seed=1)
        assert outcome.verdict == "pass", outcome.failure
        count = outcome.outputs["result"]
    return count / (time.perf_counter() - begin)


def in_fresh_process(engine: str, program: str) -> float:
    command = [sys.executable, str(HERE), "--measure", engine, program]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "PROGRAM"))
    options = parser.parse_args()
    if options.measure:
        toron_starts_before = options.measure[0] == "toron"
        if toron_starts_before:  # start the worker outside of the measured time
            toron.run(toron.KernelRef(HERE.resolve(), "warm_up"), seed=0)
        print(measure(*options.measure))
        return
    print(f"{'program':<10} {'asyncio /s':>12} {'toron /s':>12}   ratio (min..max)")
    for program in PROGRAMS:
        stock, simulated = [], []
        for _ in range(options.rounds):
            stock.append(in_fresh_process("asyncio", program))
            simulated.append(in_fresh_process("toron", program))
        ratios = sorted(b / a for a, b in zip(stock, simulated, strict=True))
        middle = statistics.median(stock), statistics.median(simulated)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
        print(f"{program:<10} {middle[0]:>12,.0f} {middle[1]:>12,.0f}   {spread}")


async def warm_up() -> None:
    await asyncio.sleep(0)


if __name__ == "__main__":
    main()
