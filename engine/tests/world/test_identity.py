"""A set of plain objects has one order everywhere, and nothing that was filed is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

import toron

PROGRAM = """
import asyncio, enum, gc, weakref

class Plain:
    pass

class Equal:
    def __eq__(self, other):
        return isinstance(other, Equal)

    def __hash__(self):
        return 7

class Meta(type):
    pass

class WithMeta(metaclass=Meta):
    pass

class Colour(enum.Enum):
    RED = 1

EARLY = [Plain() for _ in range(100)]
FILED = {thing: number for number, thing in enumerate(EARLY)}
WEAK = weakref.WeakKeyDictionary(FILED)
CLASSES = {Plain: 1, WithMeta: 2, Colour: 3}
FREEZE = False
if FREEZE:
    gc.freeze()

async def lookups():
    late = [Plain() for _ in range(100)]
    filed = {thing: number for number, thing in enumerate(late)}
    return [
        [FILED[thing] for thing in EARLY] == list(range(100)),
        [WEAK[thing] for thing in EARLY] == list(range(100)),
        [filed[thing] for thing in late] == list(range(100)),
        CLASSES == {Plain: 1, WithMeta: 2, Colour: 3},
        len({Equal(), Equal()}) == 1,
        Plain() != Plain(),
        {Colour.RED: 1}[Colour(1)] == 1,
    ]

async def forgets():
    numbers = set()
    for _ in range(1000):
        numbers.add(hash(Plain()))
    return len(numbers)
"""


@pytest.mark.parametrize("freezes", [False, True])
def test_what_was_filed_before_the_run_is_found_in_it(
    program: Callable[..., Path], freezes: bool
) -> None:
    path = program(PROGRAM.replace("FREEZE = False", f"FREEZE = {freezes}"))
    outcome = toron.run(toron.KernelRef(path, "lookups"), seed=1)
    assert outcome.outputs == {"result": [True] * 7}


def test_no_two_objects_share_a_number_although_memory_is_used_again(
    program: Callable[..., Path],
) -> None:
    path = program(PROGRAM)
    assert toron.run(toron.KernelRef(path, "forgets"), seed=1).outputs == {"result": 1_000}
