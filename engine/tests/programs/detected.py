"""Sources of nondeterminism that Toron does not control: verify must find each, and name its line.

The line is the one that carries the mark.
"""

import asyncio
import ctypes
import os

COUNT = 300
PERTURBED = [bytearray(hash(str(number)) & 0xFFF) for number in range(2_000)]
PERTURBED += [object() for _ in range(hash("objects") & 0xFFF)]


class Slotted:
    """No weak references, so no counted hash."""

    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


async def set_of_str():
    names = {f"name {number}" for number in range(COUNT)}
    order = list(names)  # HERE
    await asyncio.sleep(1)
    return order


async def set_of_slotted_objects():
    things = {Slotted(number) for number in range(COUNT)}
    order = [thing.number for thing in things]  # HERE
    await asyncio.sleep(1)
    return order


async def set_of_tasks_made_by_the_class():
    tasks = {asyncio.Task(asyncio.sleep(1)): number for number in range(COUNT)}
    order = [tasks[task] for task in set(tasks)]  # HERE
    await asyncio.gather(*tasks)
    return order


async def clock_read_through_ctypes():
    class Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    moment = Timespec()
    ctypes.CDLL(None).clock_gettime(0, ctypes.byref(moment))
    leaked = moment.nanoseconds  # HERE
    await asyncio.sleep(1)
    return leaked


async def pid_in_a_value():
    me = os.getpid()  # HERE
    await asyncio.sleep(1)
    return me


async def hash_of_a_str_decides_a_branch():
    waits = hash("decide") % 1000  # HERE
    await asyncio.sleep(waits / 1000)


async def address_in_a_value():
    where = id(object())  # HERE
    await asyncio.sleep(1)
    return where % 999_983
