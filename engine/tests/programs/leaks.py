"""Planted leaks: ways in which a real program lets chance, time or its machine into its behaviour.

Each kernel returns a value that another process, another second or another machine would compute
otherwise. Toron has to make it the same, refuse it, or notice that it is not. Bindings made at
import are part of the plant.
"""

import asyncio
import collections
import contextlib
import contextvars
import ctypes
import datetime
import datetime as dt
import email.utils
import enum
import functools
import gc
import getpass
import glob
import inspect
import io
import itertools
import json
import locale
import logging
import multiprocessing
import operator
import os
import pathlib
import pickle
import platform
import pprint
import queue
import random
import reprlib
import resource
import secrets
import selectors
import shutil
import signal
import socket
import ssl
import string
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
import uuid
import warnings
import weakref
from datetime import datetime as moment
from functools import partial
from os import getpid, urandom
from os import times as os_times
from random import Random, SystemRandom, randrange
from random import random as draw
from resource import getrusage
from time import clock_gettime, clock_gettime_ns, localtime, monotonic, perf_counter, strftime
from time import time as now

COUNT = 200
# The heap of another hash seed is another heap, so that what is ordered by address moves.
PERTURBED = [bytearray(hash(str(number)) & 0xFFF) for number in range(2_000)]
PERTURBED += [object() for _ in range(hash("objects") & 0xFFF)]

GENERATOR = random.Random()
GENERATOR_OF_SYSTEM = random.SystemRandom()
SEEDED_BY_TIME = random.Random(time.time())
STARTED = now()
STARTED_AT = moment.now().isoformat()
SESSION = uuid.uuid4().hex
PID_AT_IMPORT = os.getpid()
HOME_AT_IMPORT = os.environ.get("HOME")
elapsed = partial(perf_counter)
stamp = functools.partial(strftime, "%H:%M:%S")
clocks = {"wall": time.time, "mono": time.monotonic}
LIBC = ctypes.CDLL(None)


class Plain:
    def __init__(self, number):
        self.number = number


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    BLUE = 3


class Service:
    clock = time.monotonic
    wall = staticmethod(time.time)
    draw = random.random
    token = secrets.token_hex

    def method(self):
        return None


def with_default(clock=time.time, chance=random.random, entropy=os.urandom):
    return [clock(), chance(), entropy(4).hex()]


@functools.lru_cache
def cached_now():
    return time.time()


# Clocks, by every way to get hold of one


async def clock_by_name():
    return [now(), monotonic(), perf_counter(), STARTED, STARTED_AT]


async def clock_in_a_class():
    return [Service.clock(), Service().clock(), Service.wall(), Service().wall()]


async def clock_in_a_default_argument():
    return with_default()


async def clock_in_a_partial():
    return [elapsed(), stamp()]


async def clock_in_a_dict():
    return [read() for read in clocks.values()]


async def clock_behind_a_cache():
    return cached_now()


async def clock_by_getattr():
    return [getattr(time, "ti" + "me")(), operator.attrgetter("monotonic")(time)()]


async def clock_of_gettime():
    ids = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)
    return [[clock_gettime(each), clock_gettime_ns(each)] for each in ids]


async def clock_as_text():
    return [strftime("%c"), time.ctime(), time.asctime(), list(localtime()), stamp()]


async def clock_of_datetime():
    zone = dt.timezone(dt.timedelta(hours=5))
    return [
        moment.now().isoformat(),
        moment.now(zone).isoformat(),
        datetime.datetime.today().isoformat(),
        dt.datetime.utcnow().isoformat(),
        dt.date.today().isoformat(),
        moment.fromtimestamp(now()).isoformat(),
    ]


async def clock_of_the_processor():
    sum(range(20_000))
    return [time.process_time(), time.thread_time_ns(), list(os.times()), list(os_times())]


async def clock_of_resource_usage():
    sum(range(20_000))
    told = [resource.getrusage(resource.RUSAGE_SELF), getrusage(resource.RUSAGE_SELF)]
    return [[usage.ru_utime, usage.ru_stime, usage.ru_maxrss] for usage in told]


async def clock_of_c():
    spec = (ctypes.c_long * 2)()
    LIBC.clock_gettime(1, spec)
    return spec[1]


async def clock_of_perf_counter_deltas():
    begin = perf_counter()
    sum(range(50_000))
    return perf_counter() - begin


async def clock_of_a_log_record():
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(relativeCreated)d %(msecs)d %(name)s %(message)s")
    )
    logger = logging.getLogger("leaks")
    logger.addHandler(handler)
    logger.warning("hello")
    logger.removeHandler(handler)
    return lines.getvalue()


async def clock_of_an_email_date():
    return [email.utils.formatdate(), email.utils.make_msgid(domain="x")]


async def clock_of_the_loop():
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await asyncio.sleep(0.1)
    return [begin, loop.time()]


async def clock_seeds_a_generator():
    return [SEEDED_BY_TIME.random(), Random(time.time_ns()).random()]


# Chance


async def chance_by_name():
    return [draw(), randrange(10**9), random.sample(range(1000), 5), random.choice("abcdef")]


async def chance_of_generators():
    return [GENERATOR.random(), Random().random(), Service.draw(), random.Random(None).random()]


async def chance_of_the_system():
    return [
        GENERATOR_OF_SYSTEM.random(),
        SystemRandom().randrange(10**9),
        secrets.token_hex(4),
        secrets.choice("abcdefgh"),
        Service.token(4),
        urandom(4).hex(),
        os.getrandom(4).hex(),
    ]


async def chance_seeded_by_nothing():
    random.seed()
    first = random.random()
    generator = Random()
    generator.seed()
    return [first, generator.random()]


async def chance_of_uuids():
    five = uuid.uuid5(uuid.NAMESPACE_DNS, SESSION)
    return [str(uuid.uuid1()), str(uuid.uuid4()), str(five), SESSION, uuid.getnode()]


async def chance_of_openssl():
    return [ssl.RAND_bytes(8).hex(), ssl.RAND_status()]


async def chance_of_a_subclass():
    class Mine(random.Random):
        pass

    return [Mine().random(), Mine().getrandbits(32)]


async def chance_by_the_c_base_class():
    import _random

    return [_random.Random().random(), _random.Random(None).getrandbits(32)]


async def chance_read_from_the_device():
    with open("/dev/urandom", "rb", buffering=0) as device:
        return device.read(4).hex()


async def chance_of_a_string_template():
    return "".join(random.choices(string.ascii_letters, k=8))


async def chance_of_c():
    buffer = ctypes.create_string_buffer(8)
    LIBC.getrandom(buffer, 8, 0)
    return buffer.raw.hex()


# Orders of hashes and addresses


async def order_of_str_set():
    return list({f"name{number}" for number in range(COUNT)})


async def order_of_bytes_set():
    return [item.decode() for item in {b"%d" % number for number in range(COUNT)}]


async def order_of_tuple_set():
    return [list(item) for item in {(number, str(number)) for number in range(COUNT)}]


async def order_of_frozensets():
    return [len(item) for item in {frozenset(map(str, range(number))) for number in range(30)}]


async def order_of_enum_set():
    return [colour.name for colour in {Colour.RED, Colour.GREEN, Colour.BLUE}]


async def order_of_mixed_set():
    return [repr(item) for item in {None, "a", b"b", 1.5, 2, ("c",), frozenset("d"), True, ...}]


async def order_of_datetime_set():
    start = dt.date(2026, 1, 1)
    return [str(item) for item in {start + dt.timedelta(days=day) for day in range(COUNT)}]


async def order_of_path_set():
    return [item.name for item in {pathlib.PurePath(f"/x/{number}") for number in range(COUNT)}]


async def order_of_plain_objects():
    return [item.number for item in {Plain(number) for number in range(COUNT)}]


async def order_of_a_weak_set():
    items = [Plain(number) for number in range(COUNT)]
    return [item.number for item in weakref.WeakSet(items)]


async def order_of_slotted_objects():
    return [item.number for item in {Slotted(number) for number in range(COUNT)}]


async def order_of_classes_made_at_run_time():
    made = {type(f"Made{number}", (), {"number": number}) for number in range(COUNT)}
    return [item.number for item in made]


async def order_of_objects_of_such_a_class():
    class Late:
        def __init__(self, number):
            self.number = number

    return [item.number for item in {Late(number) for number in range(COUNT)}]


async def order_of_functions():
    def make(number):
        def one():
            return number

        return one

    return [item() for item in {make(number) for number in range(COUNT)}]


async def order_of_lambdas():
    made = {(lambda number=number: number) for number in range(COUNT)}
    return [item() for item in made]


async def order_of_bound_methods():
    services = [Service() for _ in range(COUNT)]
    methods = {service.method for service in services}
    return [services.index(method.__self__) for method in methods]


async def order_of_partials():
    return [item.args[0] for item in {partial(print, number) for number in range(COUNT)}]


async def order_of_bare_objects():
    items = [object() for _ in range(COUNT)]
    numbers = {id(item): number for number, item in enumerate(items)}
    return [numbers[id(item)] for item in set(items)]


async def order_of_exceptions():
    return [item.args[0] for item in {ValueError(number) for number in range(COUNT)}]


async def order_of_coroutines():
    async def one(number):
        return number

    made = [one(number) for number in range(COUNT)]
    order = [made.index(item) for item in set(made)]
    for item in made:
        item.close()
    return order


async def order_of_generators():
    made = [iter(range(number)) for number in range(COUNT)]
    made += [(x for x in ()) for _ in range(COUNT)]
    return [made.index(item) for item in set(made)]


async def order_of_futures():
    loop = asyncio.get_running_loop()
    made = [loop.create_future() for _ in range(COUNT)]
    return [made.index(item) for item in set(made)]


async def order_of_bare_futures():
    made = [asyncio.Future() for _ in range(COUNT)]
    return [made.index(item) for item in set(made)]


async def order_of_tasks():
    made = [asyncio.create_task(asyncio.sleep(0)) for _ in range(COUNT)]
    order = [made.index(item) for item in set(made)]
    await asyncio.gather(*made)
    return order


async def order_of_all_tasks():
    made = [asyncio.create_task(asyncio.sleep(0)) for _ in range(COUNT)]
    order = [made.index(item) for item in asyncio.all_tasks() if item in made]
    await asyncio.gather(*made)
    return order


async def order_of_done_tasks():
    made = [asyncio.create_task(asyncio.sleep(0)) for _ in range(COUNT)]
    done, _ = await asyncio.wait(made)
    return [made.index(item) for item in done]


async def order_of_handles():
    loop = asyncio.get_running_loop()
    made = [loop.call_later(9, print) for _ in range(COUNT)]
    order = [made.index(item) for item in {*made}]
    for item in made:
        item.cancel()
    return order


async def order_of_events_and_locks():
    made = [asyncio.Event() for _ in range(COUNT)] + [asyncio.Lock() for _ in range(COUNT)]
    return [made.index(item) for item in set(made)]


async def order_of_context_variables():
    made = [contextvars.ContextVar(f"v{number}") for number in range(COUNT)]
    return [item.name for item in set(made)]


async def order_of_a_context():
    for number in range(50):
        contextvars.ContextVar(f"v{number}").set(number)
    return [variable.name for variable in contextvars.copy_context() if variable.name[0] == "v"]


async def order_of_weak_references():
    items = [Slotted(number) for number in range(COUNT)]
    boxes = [Plain(item) for item in items]
    references = {weakref.ref(box) for box in boxes}
    return [reference().number.number for reference in references]


async def order_of_a_weak_key_dictionary():
    items = [Plain(number) for number in range(COUNT)]
    known = weakref.WeakKeyDictionary((item, item.number) for item in items)
    return list(known.values())


async def order_by_id():
    items = [Plain(number) for number in range(COUNT)]
    return [item.number for item in sorted(items, key=id)]


async def order_by_hash_of_str():
    return sorted((f"name{number}" for number in range(COUNT)), key=hash)


async def order_of_a_set_difference():
    left = {f"a{number}" for number in range(COUNT)}
    return list(left - {f"a{number}" for number in range(0, COUNT, 3)})


async def order_of_set_pop():
    pool = {f"a{number}" for number in range(COUNT)}
    return [pool.pop() for _ in range(10)]


async def order_of_heap_of_ties():
    items = sorted((1, id(object()), number) for number in range(20))
    return [item[2] for item in items]


async def order_of_gc_objects():
    made = [Plain(number) for number in range(COUNT)]
    found = [item.number for item in gc.get_objects() if type(item) is Plain]
    return [found, len(made)]


async def order_of_subclasses():
    class Base:
        pass

    made = [type(f"Sub{number}", (Base,), {}) for number in range(50)]
    return [item.__name__ for item in Base.__subclasses__()] + [str(len(made))]


async def order_of_a_pickled_set():
    return pickle.dumps({f"a{number}" for number in range(COUNT)}).hex()


async def order_of_json_of_a_set():
    return json.dumps(list({f"k{number}" for number in range(50)}))


async def order_of_a_counter():
    counted = collections.Counter({f"w{number}" for number in range(COUNT)})
    return [word for word, _ in counted.most_common(10)]


# Addresses and numbers of the process, in what a program says


async def address_in_repr():
    return repr(Plain(1)) + repr(object()) + repr(asyncio.Lock())


async def address_in_a_name():
    return f"worker-{id(Plain(1)):x}"


async def address_of_a_function():
    return [repr(with_default), repr(lambda: None), str(Service().method)]


async def address_in_a_task_name():
    task = asyncio.create_task(asyncio.sleep(0), name=f"job-{id(object())}")
    await task
    return task.get_name()


async def address_in_a_traceback():
    try:
        raise ValueError(Plain(1))
    except ValueError:
        return traceback.format_exc()


async def address_in_a_log():
    return "%r %s" % (Plain(2), reprlib.repr(Plain(3)))


async def address_in_pprint():
    return pprint.pformat({"one": Plain(1), "two": [object()]})


async def address_hashed():
    return [hash(object()), hash(with_default), object.__hash__(Plain(1)), hash(Plain)]


async def address_of_hash_of_plain():
    return hash(Plain(1))


async def hash_of_a_str():
    return [hash("text"), hash(b"bytes"), hash(("a", 1))]


async def pid_in_a_name():
    return [f"node-{os.getpid()}", f"node-{getpid()}", PID_AT_IMPORT]


async def pid_of_the_parent():
    return [os.getppid(), os.getpgid(0), os.getsid(0)]


async def pid_of_multiprocessing():
    return [multiprocessing.current_process().name, multiprocessing.current_process().pid]


async def thread_numbers():
    return [threading.get_ident(), threading.get_native_id(), threading.current_thread().ident]


async def thread_numbers_in_a_log():
    record = logging.LogRecord("x", 10, "f", 1, "m", (), None)
    return [record.thread, record.process, record.threadName]


async def descriptor_numbers():
    with socket.socket() as one, socket.socket() as two:
        return [one.fileno(), two.fileno()]


async def reference_counts():
    thing = Plain(1)
    return [sys.getrefcount(thing), sys.getrefcount("interned"), sys.getrefcount(None) > 0]


async def reference_counts_of_shared_things():
    return [sys.getrefcount(None), sys.getrefcount(())]


async def memory_in_use():
    return [sys.getallocatedblocks(), gc.get_count()]


async def memory_traced():
    tracemalloc.start()
    junk = [bytearray(100) for _ in range(10)]
    used = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [list(used), len(junk)]


async def sizes_of_objects():
    return [sys.getsizeof([]), sys.getsizeof({}), sys.getsizeof(set(range(99)))]


# Garbage


async def finalizers_of_cycles():
    order = []

    class Cyclic:
        def __init__(self, number):
            self.me, self.number = self, number

        def __del__(self):
            order.append(self.number)

    for number in range(COUNT):
        Cyclic(number)
    gc.collect()
    return order


async def finalizers_without_cycles():
    order = []

    class Thing:
        def __init__(self, number):
            self.number = number

        def __del__(self):
            order.append(self.number)

    things = {Thing(number) for number in range(COUNT)}
    things.clear()
    return order


async def finalizers_at_a_threshold():
    seen = []
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    for _ in range(3_000):
        cycle = []
        cycle.append(cycle)
    gc.callbacks.pop()
    return len(seen)


async def weak_callbacks():
    order = []
    things = [Plain(number) for number in range(COUNT)]
    references = [
        weakref.ref(thing, lambda _, number=number: order.append(number))
        for number, thing in enumerate(things)
    ]
    bag = set(things)
    things.clear()
    bag.clear()
    return [order, len(references)]


async def garbage_statistics():
    return [each["collections"] for each in gc.get_stats()]


# The machine


async def machine_name():
    return [socket.gethostname(), platform.node(), os.uname().nodename, socket.getfqdn()]


async def machine_platform():
    return [platform.platform(), platform.release(), platform.version(), platform.processor()]


async def machine_uname():
    return [list(os.uname()), list(platform.uname())]


async def machine_size():
    return [os.cpu_count(), len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES")]


async def machine_load():
    return list(os.getloadavg())


async def machine_limits():
    return [list(resource.getrlimit(resource.RLIMIT_NOFILE)), resource.getpagesize()]


async def machine_mac_address():
    return uuid.getnode()


async def user_name():
    return [getpass.getuser(), os.getuid(), os.path.expanduser("~"), str(pathlib.Path.home())]


async def environment_variables():
    return [sorted(os.environ.items()), os.getenv("HOME"), HOME_AT_IMPORT]


async def environment_order():
    return list(os.environ)


async def environment_in_bytes():
    return sorted(key.decode() for key in os.environb)


async def locale_settings():
    return [locale.getlocale(), locale.getpreferredencoding(False), sys.getfilesystemencoding()]


async def arguments_of_the_process():
    return sys.argv


async def original_arguments_of_the_process():
    return [sys.orig_argv, sys.flags.hash_randomization]


async def folder_of_the_process():
    return [os.getcwd(), str(pathlib.Path.cwd()), os.path.abspath("x")]


async def folder_listing():
    folder = os.path.dirname(__file__)
    return [os.listdir(folder), [entry.name for entry in os.scandir(folder)]]


async def folder_globbed():
    return [os.path.basename(name) for name in glob.glob(os.path.dirname(__file__) + "/*.py")]


async def folder_for_temporary_files():
    return tempfile.gettempdir()


async def name_of_a_temporary_file():
    return next(tempfile._get_candidate_names())


async def temporary_file():
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    os.unlink(name)
    return name


async def temporary_folder():
    name = tempfile.mkdtemp()
    os.rmdir(name)
    return name


async def file_of_the_machine():
    return pathlib.Path("/proc/loadavg").read_text()


async def disk_free():
    return list(shutil.disk_usage("/"))


async def terminal_size():
    return list(shutil.get_terminal_size())


async def standard_streams():
    return [sys.stdin.isatty() if sys.stdin else None, sys.stdout.encoding, os.isatty(1)]


async def recursion_and_switching():
    return [sys.getrecursionlimit(), sys.getswitchinterval()]


async def warnings_seen_before():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            warnings.warn("planted", stacklevel=1)
    return [len(caught), len(getattr(sys.modules[__name__], "__warningregistry__", {}))]


async def modules_imported_before():
    return len(sys.modules)


async def signals_received():
    return [str(signal.getsignal(signal.SIGTERM)), len(signal.valid_signals())]


async def selector_chosen():
    return type(selectors.DefaultSelector()).__name__


async def frames_and_code():
    frame = inspect.currentframe()
    return [frame.f_lineno - frame.f_code.co_firstlineno, frame.f_code.co_name]


# Schedules


async def tasks_racing():
    order = []

    async def one(number):
        await asyncio.sleep(0)
        order.append(number)

    await asyncio.gather(*[one(number) for number in range(20)])
    return order


async def timers_of_one_instant():
    order, loop = [], asyncio.get_running_loop()
    at = loop.time() + 1
    for number in range(20):
        loop.call_at(at, order.append, number)
    await asyncio.sleep(2)
    return order


async def threads_racing():
    order = []
    lock = threading.Lock()

    def one(number):
        for _ in range(3):
            time.sleep(0.001)
            with lock:
                order.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return order


async def threads_of_an_executor():
    loop = asyncio.get_running_loop()
    order = []
    jobs = [loop.run_in_executor(None, order.append, number) for number in range(20)]
    await asyncio.gather(*jobs)
    return order


async def threads_and_a_queue():
    items = queue.Queue()

    def produce(number):
        for step in range(5):
            items.put((number, step))

    await asyncio.gather(*[asyncio.to_thread(produce, number) for number in range(4)])
    return [list(items.get()) for _ in range(items.qsize())]


async def names_of_threads():
    def name():
        return threading.current_thread().name

    return [await asyncio.to_thread(name) for _ in range(3)]


async def child_process():
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()


async def connection_ports():
    async def answer(reader, writer):
        writer.write(repr(writer.get_extra_info("peername")).encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    told = []
    for _ in range(3):
        reader, writer = await asyncio.open_connection(host, port)
        told.append((await reader.read()).decode())
        writer.close()
    server.close()
    return [port, told]


async def cancelled_in_the_middle():
    seen = []

    async def work():
        for number in itertools.count():
            seen.append(number)
            await asyncio.sleep(0.003)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work(), random.random() / 10)
    return seen
