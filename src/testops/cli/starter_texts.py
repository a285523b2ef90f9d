"""The files that `testops init` writes. A test runs them, so that they stay true."""

SUITE_HEAD = """\
# What `testops run` does here. Every path is relative to the folder that holds suites/.
# All fields: testops suites schema. Check this file: testops suites check default
schema: 1
name: default
description: Everything that must hold before this project is released.
profile: offline            # profiles/offline.yaml: nothing leaves this machine
seeds: {sim: 42, chaos: 7}  # a flag, or SIM_SEED and CHAOS_SEED, go before these

stages:
"""

LINT_HEAD = """\
  # Static checks with the project's own configuration -> reports/lint.sarif
  lint:
"""

UNIT_HEAD = """\
  # The project's own tests: order and random numbers seeded, outside connections refused.
  unit:
"""

SIM = """\
  # Deterministic simulation: each kernel under seeds 42, 43, 44, …, every one of them run twice.
  sim:
    seed_count: 10
    kernels:
      @KERNEL@:
        run: sim/kernels/@KERNEL@.py::@KERNEL@
        # fixed: equal under one hash seed (what third-party code needs); varied: under any.
        verify: fixed

  # What the kernels record against the approved baseline. Approve the first one, and each meant
  # change, with: testops snapshot approve RUN_ID --why "…"   Then uncomment:
  # snapshot-compare: {}

# Rules beside the default ones; a rule replaces the defaults for the same stage and metric.
gates:
  - {stage: sim, metric: determinism_percent, op: ">=", threshold: 100}
"""

PROFILE = """\
# The default profile: nothing leaves this machine.
schema: 1
name: offline
description: Every connection that is not loopback is refused and named.
network:
  policy: loopback-only     # or: open
"""

SNAPSHOTS_IGNORED = """\
# What runs leave behind. golden/ (the approved baselines), reviews/ (what people decided about
# changes) and this file are kept.
*
!.gitignore
!golden
!golden/**
!reviews
!reviews/**
"""

REPORTS_IGNORED = """\
*
!.gitignore
"""

FASTAPI_KERNEL = '''\
"""Does the service answer while its network is slow and loses packets?

Your app runs unmodified: real uvicorn, real httpx, on simulated hosts, a simulated network and a
virtual clock. Run it alone: toron run sim/kernels/service_answers.py --seed 42
"""

import sys
from pathlib import Path

import httpx
import toron
import uvicorn

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(@ROOT@))

from @MODULE@ import @APP@  # noqa: E402 - found only now


@toron.kernel
async def service_answers(world: toron.World) -> None:
    answers: list[int] = []

    async def serve() -> None:
        config = uvicorn.Config(@APP@, host="0.0.0.0", port=8000, log_level="warning")
        await uvicorn.Server(config).serve()

    async def call() -> None:
        async with httpx.AsyncClient(base_url="http://service:8000", timeout=10) as client:
            for _ in range(20):
                try:
                    answers.append((await client.get("@PATH@")).status_code)
                except httpx.ConnectError:
                    pass  # the server is still starting: try again
                await world.sleep(0.5)  # virtual seconds: they take no time

    world.host("service").spawn(serve)
    world.host("client").spawn(call)
    world.net.link("client", "service", latency=(0.001, 0.050), loss=0.01)

    world.always("no server error", lambda: all(status < 500 for status in answers))
    world.eventually("the service answers", lambda: len(answers) > 0, within=30.0)
    await world.sleep(60)
    world.record("answers", answers)  # part of the snapshot: compared with the baseline
'''

ASYNCIO_KERNEL = '''\
"""Does every request get its reply while the network is slow and loses packets?

A first kernel to grow from: replace `serve` and `call` by your own code. Plain asyncio runs
unmodified, on simulated hosts, a simulated network and a virtual clock.
Run it alone: toron run sim/kernels/replies_arrive.py --seed 42
"""

import asyncio

import toron

REQUESTS = 20


@toron.kernel
async def replies_arrive(world: toron.World) -> None:
    replies: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(b"reply to " + line)
            await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(handle, "0.0.0.0", 9000)
        await server.serve_forever()

    async def call() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("server", 9000)
                break
            except ConnectionError:
                await world.sleep(0.1)  # virtual seconds: they take no time
        for number in range(REQUESTS):
            writer.write(f"request {number}\\n".encode())
            replies.append((await reader.readline()).decode().strip())
        writer.close()

    world.host("server").spawn(serve)
    world.host("client").spawn(call)
    world.net.link("client", "server", latency=(0.001, 0.050), loss=0.01)

    world.always("no reply too many", lambda: len(replies) <= REQUESTS)
    world.eventually("every reply arrives", lambda: len(replies) == REQUESTS, within=60.0)
    await world.sleep(120)
    world.record("replies", replies)  # part of the snapshot: compared with the baseline
'''
