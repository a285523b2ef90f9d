"""What a socket must do besides carrying bytes: ports, names, half close, reset, descriptors."""

import asyncio
import errno
import fcntl
import os
import select
import socket
import struct

import hostile
import s01_streams

import toron


async def pair(server_socket):
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    accepting = asyncio.ensure_future(loop.sock_accept(server_socket))
    await loop.sock_connect(client, server_socket.getsockname())
    accepted, peer = await accepting
    assert peer == client.getsockname() == accepted.getpeername()
    assert client.getpeername() == accepted.getsockname() == server_socket.getsockname()
    return client, accepted


async def half_close(listener):
    loop = asyncio.get_running_loop()
    client, accepted = await pair(listener)
    await loop.sock_sendall(client, b"question")
    client.shutdown(socket.SHUT_WR)
    found = [await loop.sock_recv(accepted, 100), await loop.sock_recv(accepted, 100)]
    await loop.sock_sendall(accepted, b"answer")
    found.append(await loop.sock_recv(client, 100))
    accepted.close()
    client.close()
    return [part.decode() for part in found]


async def reset(listener):
    loop = asyncio.get_running_loop()
    client, accepted = await pair(listener)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    try:
        await loop.sock_recv(accepted, 100)
    except ConnectionResetError as error:
        return errno.errorcode[error.errno]
    finally:
        accepted.close()


async def descriptors(listener):
    loop = asyncio.get_running_loop()
    client, accepted = await pair(listener)
    flags = fcntl.fcntl(client.fileno(), fcntl.F_GETFL)
    assert flags & os.O_NONBLOCK
    assert len({client.fileno(), accepted.fileno(), listener.fileno()}) == 3
    poll = select.poll()
    poll.register(accepted, select.POLLIN)
    before = poll.poll(0)
    await loop.sock_sendall(client, b"x")
    await asyncio.sleep(0.05)
    after = [event for _, event in poll.poll(0)]
    readable, _, _ = select.select([accepted], [], [], 0)
    assert readable == [accepted]
    client.close()
    accepted.close()
    return [before, after == [select.POLLIN], client.fileno()]


async def ports():
    async def ignore(_reader, writer):
        writer.close()

    first = await asyncio.start_server(ignore, "127.0.0.1", 0)
    second = await asyncio.start_server(ignore, "127.0.0.1", 0)
    names = [server.sockets[0].getsockname() for server in (first, second)]
    assert names[0] != names[1]
    assert all(port > 1023 for _, port in names)
    try:
        await asyncio.start_server(ignore, *names[0])
    except OSError as error:
        taken = errno.errorcode[error.errno]
    _, writer = await asyncio.open_connection(*names[0])
    assert writer.get_extra_info("peername") == names[0]
    assert writer.get_extra_info("socket").getsockname() == writer.get_extra_info("sockname")
    writer.close()
    for server in (first, second):
        server.close()
        await server.wait_closed()
    return [taken, len(first.sockets)]


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    assert listener.getsockname()[1] != 0
    found = [await half_close(listener), await reset(listener), await descriptors(listener)]
    listener.close()
    found.append(await ports())
    try:
        await loop.getaddrinfo("no-such-host.invalid", 80)
    except socket.gaierror:
        found.append("unknown")
    try:
        socket.socket().getpeername()
    except OSError as error:
        found.append(errno.errorcode[error.errno])
    assert found[:2] == [["question", "", "answer"], "ECONNRESET"], found
    assert found[2:] == [[[], True, -1], ["EADDRINUSE", 0], "unknown", "ENOTCONN"], found
    return found


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, s01_streams.serve, s01_streams.work)


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, s01_streams.serve, s01_streams.work)
