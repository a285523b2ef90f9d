"""Programs whose runs are looked at: a deadlock, a race, a small cluster that suffers."""

import asyncio
import socket
import time

import toron

ODD = "</script><script>alert('&\u2028\x1b[31m')</script>"


@toron.kernel
async def two_locks(world):
    left, right = asyncio.Lock(), asyncio.Lock()

    async def take(first, second):
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    await asyncio.gather(take(left, right), take(right, left))


@toron.kernel
async def overdrawn(world):
    balance = {"a": 100}

    async def deposit(amount):
        await asyncio.sleep(0)
        balance["a"] += amount

    async def withdraw(amount):
        if balance["a"] >= amount:
            await asyncio.sleep(0)
            balance["a"] -= amount

    world.always("never negative", lambda: balance["a"] >= 0)
    await asyncio.gather(deposit(100), withdraw(80), withdraw(90))


async def serve():
    async def answer(reader, writer):
        while line := await reader.readline():
            await asyncio.to_thread(time.sleep, 0.002)
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "0.0.0.0", 9000)
    async with server:
        await server.serve_forever()


async def talk(name, first_delay):
    await asyncio.sleep(first_delay)
    for _ in range(3):
        try:
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection(name, 9000)
                writer.write(b"x" * (9 if name == "db" else 5) + b"\n")
                await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            await asyncio.sleep(0.2)


async def beat():
    loop = asyncio.get_running_loop()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setblocking(False)
    for _ in range(8):
        await loop.sock_sendto(sender, b"beat", ("app", 7000))
        await asyncio.sleep(0.1)
    sender.close()


async def listen():
    loop = asyncio.get_running_loop()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    receiver.bind(("0.0.0.0", 7000))
    while True:
        await loop.sock_recv(receiver, 100)


@toron.kernel
async def cluster(world):
    """Hosts with equal addresses of their own loopback, datagrams, a thread, and every fault."""
    db, app, web = world.host("db"), world.host("app"), world.host("web")
    world.net.link("web", "app", latency=0.001, loss=0.4)
    db.spawn(serve)
    app.spawn(serve)
    app.spawn(listen)
    await world.sleep(0.05)
    talking = [app.spawn(talk, "db", 0.0), web.spawn(talk, "db", 0.0)]
    talking += [host.spawn(talk, "localhost", 0.01) for host in (db, app)]
    web.spawn(beat)
    await world.sleep(0.06)
    world.net.partition("app", "db")
    await world.sleep(0.3)
    world.net.heal("db", "app")
    db.crash()
    await world.sleep(0.4)
    db.restart()
    web.pause()
    await world.sleep(0.2)
    web.resume()
    await asyncio.gather(talking[0], talking[1], talking[3])
    world.record("odd", ODD)
    await app.spawn(say, ODD)


async def say(words):
    raise ValueError(words)


@toron.kernel
async def two_ticks_at_once(world):
    seen = []

    async def tick(name):
        await asyncio.sleep(0.5)
        seen.append(name)

    await asyncio.gather(tick("a"), tick("b"))
    world.record("seen", seen)
