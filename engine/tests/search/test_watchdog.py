"""A process that had to be killed is not a riddle: its report says where it was stuck."""

from collections.abc import Callable
from pathlib import Path

from toron.search.pool import Request, Worker

PROGRAM = """
import asyncio, ctypes, threading

def blocks_in_c():
    ctypes.CDLL(None).pause()

async def in_a_thread():
    await asyncio.to_thread(blocks_in_c)

async def on_the_loop():
    blocks_in_c()

async def spins():
    while True:
        pass

async def is_fine():
    return "fine"
"""


def message(worker: Worker, name: str) -> str:
    outcome = worker.execute(Request(name, 1, 0)).outcome
    assert outcome.verdict == "inconclusive"
    assert outcome.failure is not None
    assert outcome.failure.kind == "limit"
    return outcome.failure.message


def test_what_blocks_in_c_or_spins_is_named_with_its_line(program: Callable[..., Path]) -> None:
    with Worker(program(PROGRAM), wall_limit_s=1.5) as worker:
        assert "stuck at program.py:5 in blocks_in_c" in message(worker, "in_a_thread")
        found = message(worker, "on_the_loop")
        assert "program.py:5 in blocks_in_c, called from program.py:11 in on_the_loop" in found
        assert "in spins, " in message(worker, "spins")
        assert worker.execute(Request("is_fine", 1, 0)).outcome.outputs == {"result": "fine"}
