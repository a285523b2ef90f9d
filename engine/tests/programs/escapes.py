"""Programs that reach for the real world; the line that does carries the mark."""

# ruff: noqa: BLE001, PLW1510, SIM105  (the calls are the point)

import _frozen_importlib_external as importer
import _io
import asyncio
import fcntl
import mmap
import os
import select
import socket
import subprocess

REAL_PIPE = os.pipe()
# Past the simulated disk: what C code, and a library that digs for the real functions, would call.
REAL = importer._os


async def reads_a_file_of_the_machine():
    _io.open("/etc/passwd")  # HERE


async def reads_by_os_open():
    REAL.open("/etc/passwd", os.O_RDONLY)  # HERE


async def lists_a_folder_of_the_machine():
    REAL.listdir("/proc")  # HERE


async def writes_a_file():
    _io.open("left_behind.txt", "w")  # HERE


async def appends_through_a_relative_name():
    _io.FileIO("left_behind.txt", "a")  # HERE


async def deletes_a_file():
    REAL.remove("no such file")  # HERE


async def makes_a_folder():
    REAL.mkdir("left_behind")  # HERE


async def writes_a_mapped_file():
    with open("/tmp/mapped", "w+b") as file:
        file.write(b"x")
        file.flush()
        mmap.mmap(file.fileno(), 1)  # HERE


async def waits_for_a_lock():
    with open("/tmp/locked", "w") as first, open("/tmp/locked") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_SH)  # HERE


async def makes_a_named_pipe():
    os.mkfifo("/tmp/pipe")  # HERE


async def starts_a_process():
    subprocess.run(["true"])  # HERE


async def starts_a_process_with_asyncio():
    await asyncio.create_subprocess_exec("true")  # HERE


async def runs_a_shell_command():
    os.system("true")  # HERE


async def forks():
    os.fork()  # HERE


async def makes_a_raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW)  # HERE


async def makes_a_netlink_socket():
    socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM)  # HERE


async def makes_a_sequential_pair():
    socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # HERE


async def sends_a_descriptor():
    left, _ = socket.socketpair()
    socket.send_fds(left, [b"x"], [REAL_PIPE[0]])  # HERE


async def watches_a_real_descriptor():
    asyncio.get_running_loop().add_reader(REAL_PIPE[0], print)  # HERE


async def adopts_a_descriptor():
    socket.socket(fileno=REAL_PIPE[0])  # HERE


async def adopts_a_descriptor_by_fromfd():
    socket.fromfd(REAL_PIPE[0], socket.AF_INET, socket.SOCK_STREAM)  # HERE


async def duplicates_a_real_descriptor():
    socket.dup(REAL_PIPE[0])  # HERE


async def closes_a_real_descriptor():
    socket.close(REAL_PIPE[0])  # HERE


async def polls_a_real_descriptor():
    select.select([REAL_PIPE[0]], [], [], 0)  # HERE


async def kills_a_process():
    os.kill(os.getppid(), 0)  # HERE


async def swallows_the_refusal_of_a_file():
    try:
        _io.open("/etc/passwd")  # HERE
    except Exception:
        pass
    return "went on"


async def swallows_the_refusal_of_a_socket():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW)  # HERE
    except OSError:
        pass
    return "went on"


async def swallows_the_refusal_of_a_real_descriptor():
    try:
        asyncio.get_running_loop().add_reader(REAL_PIPE[0], print)  # HERE
    except OSError:
        pass
    return "went on"


async def escapes_in_a_task_that_nobody_awaits():
    async def background():
        _io.open("/etc/passwd")  # HERE

    task = asyncio.create_task(background())
    await asyncio.sleep(1)
    return task.done()


async def asks_the_real_resolver():
    import _socket

    _socket.getaddrinfo("localhost", 80)  # HERE


async def uses_the_c_socket():
    import _socket

    _socket.socket()  # HERE
