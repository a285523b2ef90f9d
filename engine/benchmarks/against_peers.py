"""Prints how fast simulated programs run on Toron, on its peers and on stock asyncio.

The same program file for all, each cell in a fresh process of one Python 3.12, rounds interleaved;
counted are operations per second of processor time between start and end of the program's event
loop. A ratio is Toron's figure over the other's in the same round: its median, minimum and maximum.
Toron's figure includes the hashing of its trace; of the peers, what `run` does by default.

    python engine/benchmarks/against_peers.py [--rounds N] [--programs NAME,NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
REPOSITORY = HERE.parents[2]
PROGRAMS = HERE.parent / "programs" / "peers.py"
VENV = REPOSITORY / ".venv-bench-3.12"
NAMES = ("round_trips", "switches", "timers", "queues")
ENGINES = ("toron", "asyncio", "simloom", "simloop", "detangle")
SEED = 1


CLOCK = [resource.getrusage]
"""In a list, where Toron's walk over the aliases does not find it."""


def spent() -> float:
    """Processor seconds of this process."""
    told = CLOCK[0](resource.RUSAGE_SELF)
    return told.ru_utime + told.ru_stime


def on_asyncio(main: Callable[[], Any]) -> int:
    return int(asyncio.run(main()))


def on_simloom(main: Callable[[], Any]) -> int:
    import simloom

    return int(simloom.run(main, seed=SEED).value)


def on_simloop(main: Callable[[], Any]) -> int:
    import simloop

    counted = []

    async def counting() -> None:
        counted.append(await main())

    failed = simloop.explore(counting, seeds=[SEED])
    assert failed is None, failed
    return int(counted[0])


def on_detangle(main: Callable[[], Any]) -> int:
    import detangle

    return int(detangle.run(main, seed=SEED, max_steps=10**9))


def on_toron(main: Callable[[], Any]) -> tuple[int, float]:
    """What a worker does with a request, in this process."""
    from toron.core.places import Places
    from toron.search.references import KernelOptions
    from toron.search.worker import perform
    from toron.world.boundary.edge import Edge

    places = Places(REPOSITORY)
    edge = Edge(places.of_frame, [REPOSITORY])
    edge.install()
    edge.settle()
    request = {"sim_seed": SEED, "chaos_seed": 0, "level": "digest"}
    begin = spent()
    outcome = perform(request, edge, places, main, KernelOptions())["outcome"]
    seconds = spent() - begin
    assert outcome["verdict"] == "pass", outcome["failure"]
    return outcome["outputs"]["result"], seconds


PEERS = {
    "asyncio": on_asyncio,
    "simloom": on_simloom,
    "simloop": on_simloop,
    "detangle": on_detangle,
}


def cell(engine: str, program: str) -> float:
    """Operations a second of processor time, in this process."""
    spec = importlib.util.spec_from_file_location("peers", PROGRAMS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers"] = module
    spec.loader.exec_module(module)
    if engine == "simloop":
        module.HOST = "driver"  # it has no 127.0.0.1, only names of machines; this is the first one
    main = getattr(module, program)
    if engine == "toron":
        count, seconds = on_toron(main)
    else:
        begin = spent()
        count = PEERS[engine](main)
        seconds = spent() - begin
    return count / seconds


def in_fresh_process(engine: str, program: str) -> float | str:
    """The figure of a cell, or why there is none."""
    done = subprocess.run(
        [str(VENV / "bin" / "python"), str(HERE), "--cell", engine, program],
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", ""),
            "PYTHONPATH": str(REPOSITORY / "engine" / "src"),
            "PYTHONHASHSEED": "0",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return f"not run: {said[-1]}"
    return float(done.stdout)


def compare(program: str, rounds: int) -> None:
    """Measure and print one program on all engines."""
    figures: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for engine in ENGINES:
            if engine in missing:
                continue
            figure = in_fresh_process(engine, program)
            if isinstance(figure, str):
                missing[engine] = figure
            else:
                figures[engine].append(figure)
    for engine in ENGINES:
        if engine in missing:
            print(f"{program:<12} {engine:<9} {missing[engine]}")
            continue
        line = f"{program:<12} {engine:<9} {statistics.median(figures[engine]):>11,.0f}"
        if engine != "toron" and "toron" not in missing:
            pairs = zip(figures["toron"], figures[engine], strict=True)
            ratios = sorted(ours / theirs for ours, theirs in pairs)
            line += f"   {statistics.median(ratios):.2f} [{ratios[0]:.2f}..{ratios[-1]:.2f}]"
        print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", default=",".join(NAMES))
    parser.add_argument("--cell", nargs=2, metavar=("ENGINE", "PROGRAM"))
    options = parser.parse_args()
    if options.cell:
        # Toron takes stdout for what the program prints; the answer goes out by its own way.
        with os.fdopen(os.dup(1), "w") as answer:
            answer.write(str(cell(*options.cell)))
            answer.flush()
            os._exit(0)
    made = subprocess.run(
        [str(REPOSITORY / "tools" / "make_bench_environment.sh"), str(VENV)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        print(f"against peers: not run: {made.stderr.strip().splitlines()[-1]}")
        return 0
    print(f"{'program':<12} {'engine':<9} {'per CPU s':>11}   toron / engine [min..max]")
    for program in options.programs.split(","):
        compare(program, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
