"""Programs that reach for the real world; the line that does carries the mark."""

# ruff: noqa: BLE001, PLW1510, SIM105  (the calls are the point)

import _frozen_importlib_external as importer
import _io
import asyncio
import concurrent.futures
import fcntl
import mmap
import os
import select
import socket
import subprocess
import threading

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


async def starts_a_thread():
    threading.Thread(target=print).start()  # HERE


async def uses_the_executor():
    await asyncio.get_running_loop().run_in_executor(None, print)  # HERE


async def uses_to_thread():
    await asyncio.to_thread(print)  # HERE


async def uses_a_thread_pool():
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(print)  # HERE


async def makes_a_udp_socket():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # HERE


async def makes_a_udp_endpoint():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))  # HERE


async def serves_a_unix_socket():
    await asyncio.start_unix_server(print, "left_behind.sock")  # HERE


async def connects_to_a_unix_socket():
    await asyncio.open_unix_connection("/run/docker.sock")  # HERE


async def watches_a_real_descriptor():
    asyncio.get_running_loop().add_reader(REAL_PIPE[0], print)  # HERE


async def adopts_a_descriptor():
    socket.socket(fileno=REAL_PIPE[0])  # HERE


async def adopts_a_descriptor_by_fromfd():
    socket.fromfd(REAL_PIPE[0], socket.AF_INET, socket.SOCK_STREAM)  # HERE


async def detaches_a_socket():
    socket.socket().detach()  # HERE


async def duplicates_a_socket():
    socket.socket().dup()  # HERE


async def polls_a_real_descriptor():
    select.select([REAL_PIPE[0]], [], [], 0)  # HERE


async def waits_in_poll():
    left, _ = socket.socketpair()
    poll = select.poll()
    poll.register(left, select.POLLIN)
    poll.poll()  # HERE


async def waits_in_select():
    left, _ = socket.socketpair()
    select.select([left], [], [])  # HERE


async def watches_with_epoll():
    select.epoll()  # HERE


async def blocks_in_connect():
    socket.create_connection(("localhost", 80))  # HERE


async def blocks_in_recv():
    left, _ = socket.socketpair()
    left.recv(1)  # HERE


async def blocks_in_accept():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    server.accept()  # HERE


async def blocks_in_send():
    left, _ = socket.socketpair()
    left.sendall(bytes(10_000_000))  # HERE


async def kills_a_process():
    os.kill(os.getpid(), 0)  # HERE


async def swallows_the_refusal_of_a_file():
    try:
        _io.open("/etc/passwd")  # HERE
    except Exception:
        pass
    return "went on"


async def swallows_the_refusal_of_a_thread():
    try:
        await asyncio.to_thread(print)  # HERE
    except Exception:
        pass
    return "went on"


async def swallows_the_refusal_of_a_socket():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # HERE
    except OSError:
        pass
    return "went on"


async def swallows_the_refusal_of_a_blocking_call():
    left, _ = socket.socketpair()
    try:
        left.recv(1)  # HERE
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
