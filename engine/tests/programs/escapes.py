"""Programs that reach for the real world; the line that does carries the mark."""

# ruff: noqa: BLE001, PLW1510, PTH103, PTH123, PTH208, SIM105  (the calls are the point)

import asyncio
import os
import select
import socket
import subprocess
import tempfile
from pathlib import Path

REAL_PIPE = os.pipe()


async def reads_a_file_of_the_machine():
    Path("/etc/passwd").read_text()  # HERE


async def reads_by_os_open():
    os.open("/etc/passwd", os.O_RDONLY)  # HERE


async def lists_a_folder_of_the_machine():
    os.listdir("/proc")  # HERE


async def writes_a_file():
    Path("left_behind.txt").write_text("x")  # HERE


async def appends_through_a_relative_name():
    with open("left_behind.txt", "ab") as file:  # HERE
        file.write(b"x")


async def makes_a_temporary_file():
    tempfile.mkstemp()  # HERE


async def deletes_a_file():
    Path(__file__).with_name("no such file").unlink()  # HERE


async def makes_a_folder():
    os.makedirs("left_behind")  # HERE


async def starts_a_process():
    subprocess.run(["true"])  # HERE


async def starts_a_process_with_asyncio():
    await asyncio.create_subprocess_exec("true")  # HERE


async def runs_a_shell_command():
    os.system("true")  # HERE


async def forks():
    os.fork()  # HERE


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
    os.kill(os.getppid(), 0)  # HERE


async def swallows_the_refusal_of_a_file():
    try:
        Path("/etc/passwd").read_text()  # HERE
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
        Path("/etc/passwd").read_text()  # HERE

    task = asyncio.create_task(background())
    await asyncio.sleep(1)
    return task.done()


async def asks_the_real_resolver():
    import _socket

    _socket.getaddrinfo("localhost", 80)  # HERE


async def uses_the_c_socket():
    import _socket

    _socket.socket()  # HERE
