"""websockets: echo, fragments, compression, ping, broadcast, sub-protocol, a refused handshake."""

import asyncio
import json

import hostile
from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

import toron


async def echo(socket):
    async for message in socket:
        if message == "bye":
            await socket.close(1000, "bye yourself")
        else:
            await socket.send(message[::-1])


def gate(connection, request):
    if request.path == "/private":
        return connection.respond(403, "no\n")
    return None


async def talk(address):
    heard = []
    async with connect(f"{address}/", proxy=None, subprotocols=["chat"]) as socket:
        heard.append(socket.subprotocol)
        await socket.send("abc" * 1000)
        heard.append(len(await socket.recv()))
        await socket.send([b"one ", b"two ", b"three"])
        heard.append((await socket.recv()).decode())
        await asyncio.wait_for(await socket.ping(), 5)
        await socket.send("bye")
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            heard += [closed.rcvd.code, closed.rcvd.reason]
    return heard


async def refused(address):
    try:
        async with connect(f"{address}/private", proxy=None, subprotocols=["chat"]):
            pass
    except InvalidStatus as error:
        return error.response.status_code


async def hear_all(address, server, count):
    async def listener(number):
        async with connect(address, proxy=None, subprotocols=["chat"]) as socket:
            await socket.send(f"{number}")
            assert await socket.recv() == f"{number}"
            joined.release()
            return await socket.recv()

    joined = asyncio.Semaphore(0)
    listening = [asyncio.create_task(listener(n)) for n in range(count)]
    for _ in listening:
        await joined.acquire()
    broadcast(server.connections, "to all")
    return await asyncio.gather(*listening)


async def main():
    async with listen(
        echo, "127.0.0.1", 0, subprotocols=["chat"], process_request=gate, ping_interval=20
    ) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        heard = await talk(address)
        everyone = await hear_all(address, server, 4)
        status = await refused(address)
    assert heard == ["chat", 3000, "eerht owt eno", 1000, "bye yourself"], heard
    assert everyone == ["to all"] * 4
    return [heard, everyone, status]


async def serve(kept):
    async def take(socket):
        async for message in socket:
            name, value = json.loads(message)
            await socket.send(json.dumps(hostile.keep(kept, name, value)))

    async with listen(take, "0.0.0.0", hostile.PORT, ping_interval=1, ping_timeout=1) as server:
        await server.serve_forever()


async def work(patient):
    socket = None

    async def place(name, value):
        nonlocal socket
        try:
            if socket is None:
                socket = await connect(
                    f"ws://server:{hostile.PORT}", proxy=None, ping_interval=None
                )
            await socket.send(json.dumps([name, value]))
            return json.loads(await socket.recv())
        except BaseException:
            if socket is not None:
                socket.transport.abort()
            socket = None
            raise

    answers = await patient.place_orders(place)
    await socket.close()
    return answers


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (WebSocketException,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (WebSocketException,))
