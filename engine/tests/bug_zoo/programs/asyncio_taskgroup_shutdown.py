"""A client that reconnects for ever, until its supervisor cancels it."""

import asyncio
import random

import toron


async def read():
    await asyncio.sleep(random.uniform(0.01, 0.05))
    raise ConnectionError("the peer has gone")


async def heartbeat():
    try:
        while True:
            await asyncio.sleep(0.01)
    finally:
        await asyncio.sleep(random.uniform(0.001, 0.004))  # say goodbye


async def stay_connected():
    while True:
        try:
            async with asyncio.TaskGroup() as session:
                session.create_task(read())
                session.create_task(heartbeat())
        except* ConnectionError:
            pass
        await asyncio.sleep(0.02)


@toron.kernel
async def main():
    client = asyncio.create_task(stay_connected())
    await asyncio.sleep(random.uniform(0.2, 0.4))
    client.cancel()
    done, _ = await asyncio.wait({client}, timeout=5)
    assert client in done, "a cancelled client still runs after five seconds"
