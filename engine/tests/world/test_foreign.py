"""A library that does its own I/O in C is refused by its name, with the alternative."""

from collections.abc import Callable
from pathlib import Path

import pytest

import toron
from toron.core.foreign import LIBRARIES

PROGRAM = """
import asyncio, os
import {library}

REAL_PIPE = os.pipe()

async def uses_it():
    {library}.{call}  # HERE
"""


@pytest.mark.parametrize(
    ("library", "stub", "call", "instead"),
    [
        ("uvloop", "def new_event_loop(): pass", "new_event_loop()", "use asyncio's own loop"),
        ("pycares", "class Channel: pass", "Channel()", "ThreadedResolver"),
        ("confluent_kafka", "class Producer: pass", "Producer({})", "use aiokafka"),
        ("psycopg2", "def connect(dsn): pass", "connect('host=db')", "use asyncpg"),
        ("pycurl", "class Curl: pass", "Curl()", "use httpx or aiohttp"),
        (
            "zmq",
            "def poll(loop, fd): loop.add_reader(fd, print)",
            "poll(asyncio.get_running_loop(), REAL_PIPE[0])",
            "use asyncio's streams",
        ),
    ],
)
def test_its_entry_points_are_refused(
    library: str, stub: str, call: str, instead: str, program: Callable[..., Path]
) -> None:
    program(stub, f"{library}.py")
    path = program(PROGRAM.format(library=library, call=call))
    failure = toron.run(toron.KernelRef(path, "uses_it"), seed=1).failure
    assert failure is not None
    assert failure.kind == "escape"
    assert library in failure.message
    assert instead in failure.message
    assert LIBRARIES[library][0] in failure.message
    assert failure.where in ("program.py:8 in uses_it", f"{library}.py:1 in poll")
