"""One kernel for each source of nondeterminism that Toron claims to control.

Each returns, or records, values that differ between two plain processes. Bindings made at import
(aliases, class attributes, default arguments, generators) are part of the hazard.
"""

import asyncio
import ctypes.util
import datetime
import datetime as dt_module
import gc
import os
import random
import secrets
import time
import uuid
import weakref
from datetime import date
from datetime import datetime as moment_class
from os import urandom
from random import choice, shuffle
from random import random as draw
from time import clock_gettime, monotonic, perf_counter, time_ns
from time import time as now
from uuid import uuid1, uuid4

GENERATOR = random.Random()
SYSTEM_GENERATOR = random.SystemRandom()
ID_AT_IMPORT = uuid.uuid4().hex
TIME_AT_IMPORT = time.time()
COUNT = 300
TOKEN_AT_IMPORT = secrets.token_hex(8)
# Another hash seed is another heap here, so that what is ordered by address shows it: the base
# address alone moves by whole pages, which the order of a small set does not see.
PERTURBED = [bytearray(hash(str(number)) & 0xFFF) for number in range(2_000)]
PERTURBED += [object() for _ in range(hash("objects") & 0xFFF)]


class Holder:
    clock = time.monotonic
    wall = time.time
    sleep = time.sleep
    draw = random.random


class Moment(datetime.datetime):
    """A subclass, as pendulum and freezegun make them."""


class Plain:
    def __init__(self, number):
        self.number = number


def default_argument(at=time.time, chance=random.random):
    return at(), chance()


# Clocks


async def time_by_attribute():
    await asyncio.sleep(0.25)
    return [
        time.time(),
        time.time_ns(),
        time.monotonic(),
        time.monotonic_ns(),
        time.perf_counter(),
        time.perf_counter_ns(),
        time.process_time(),
        time.process_time_ns(),
        time.thread_time(),
        time.thread_time_ns(),
        asyncio.get_running_loop().time(),
    ]


async def time_by_alias():
    await asyncio.sleep(0.25)
    return [now(), time_ns(), monotonic(), perf_counter()]


async def time_by_class_attribute():
    await asyncio.sleep(0.25)
    return [Holder.clock(), Holder().clock(), Holder().wall(), Holder().draw()]


async def time_by_default_argument():
    return list(default_argument())


async def time_read_at_import():
    return [TIME_AT_IMPORT, time.time() - TIME_AT_IMPORT]


async def time_of_clock_gettime():
    return [
        clock_gettime(time.CLOCK_REALTIME),
        time.clock_gettime(time.CLOCK_MONOTONIC),
        time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID),
        time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ]


async def time_passes_while_sleeping():
    before = time.monotonic_ns()
    Holder().sleep(1.5)
    time.sleep(0.5)
    return [time.monotonic_ns() - before, time.time()]


async def datetime_now():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    return [
        datetime.datetime.now(),
        dt_module.datetime.utcnow(),
        moment_class.now(zone),
        moment_class.now(tz=dt_module.UTC),
        moment_class.today(),
        date.today(),
        datetime.date.today(),
    ]


async def datetime_now_of_a_subclass():
    zone = datetime.timezone(datetime.timedelta(hours=-7))
    moments = [Moment.now(), Moment.utcnow(), Moment.now(zone), Moment.now(tz=zone), Moment.today()]
    assert all(type(moment) is Moment for moment in moments), moments
    return [str(moment) for moment in moments]


async def time_as_text():
    return [
        time.strftime("%Y-%m-%d %H:%M:%S"),
        time.ctime(),
        time.asctime(),
        list(time.localtime()),
        list(time.gmtime()),
        datetime.datetime.now().strftime("%c"),
        time.ctime(None),
        list(time.localtime(None)),
        list(time.gmtime(None)),
    ]


# Chance


async def random_by_attribute():
    return [random.random(), random.randint(0, 10**9), random.getrandbits(64), random.gauss(0, 1)]


async def random_by_alias():
    items = list(range(20))
    shuffle(items)
    return [draw(), choice(range(10**9)), items]


async def random_of_a_new_generator():
    return [random.Random().random(), random.Random(None).random(), random.SystemRandom().random()]


async def random_of_a_generator_made_at_import():
    return [GENERATOR.random(), SYSTEM_GENERATOR.random(), GENERATOR.randbytes(4).hex()]


async def random_seeded_from_nothing():
    random.seed()
    return random.random()


async def uuids():
    return [str(uuid.uuid1()), str(uuid.uuid4()), str(uuid1()), str(uuid4()), uuid.getnode()]


async def uuid_made_at_import():
    return ID_AT_IMPORT


async def secrets_and_urandom():
    return [
        secrets.token_hex(),
        secrets.token_urlsafe(),
        secrets.randbelow(10**9),
        secrets.choice(range(10**9)),
        os.urandom(8).hex(),
        urandom(8).hex(),
        TOKEN_AT_IMPORT,
        os.getrandom(8).hex(),
    ]


# Orders


async def done_set_of_wait():
    async def one(number):
        await asyncio.sleep(1)
        return number

    tasks = [asyncio.create_task(one(number)) for number in range(COUNT)]
    garbage = [object() for _ in range(random.randrange(100))]
    done, _ = await asyncio.wait(tasks)
    return [task.result() for task in done] + [len(garbage)]


async def all_tasks():
    async def wait():
        await asyncio.sleep(1)

    tasks = [asyncio.create_task(wait(), name=str(number)) for number in range(COUNT)]
    names = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.gather(*tasks)
    return names


async def as_completed_of_coroutines():
    started = []

    async def one(number):
        started.append(number)
        await asyncio.sleep(0)
        return number

    finished = [
        await each for each in asyncio.as_completed([one(number) for number in range(COUNT)])
    ]
    return [started, finished]


async def set_of_futures():
    loop = asyncio.get_running_loop()
    numbered = {loop.create_future(): number for number in range(COUNT)}
    return [numbered[future] for future in set(numbered)]


async def set_of_plain_objects():
    return [thing.number for thing in {Plain(number) for number in range(COUNT)}]


async def weak_set_of_plain_objects():
    things = [Plain(number) for number in range(COUNT)]
    return [thing.number for thing in weakref.WeakSet(things)]


async def set_of_locks_and_events():
    events = [asyncio.Event() for _ in range(COUNT)]
    return [events.index(event) for event in set(events)]


async def finalizer_by_cycle_collection():
    fired = []

    class Cycle:
        def __init__(self, number):
            self.me = self
            weakref.finalize(self, fired.append, number)

    seen = []
    for number in range(200):
        Cycle(number)
        junk = [[] for _ in range(500)]
        await asyncio.sleep(0)
        seen.append(len(fired))
        del junk
    gc.collect()
    return [seen, len(fired)]


async def a_library_found_during_the_run():
    return ctypes.util.find_library("c")


async def async_generators_closed_at_the_end():
    closed = []

    async def generate(number):
        try:
            yield number
        finally:
            closed.append(number)

    generators = [generate(number) for number in range(COUNT)]
    for generator in generators:
        await anext(generator)
    await asyncio.get_running_loop().shutdown_asyncgens()
    return closed


async def task_names():
    async def nothing():
        return None

    tasks = [asyncio.create_task(nothing()) for _ in range(3)]
    await asyncio.gather(*tasks)
    return [task.get_name() for task in tasks]
