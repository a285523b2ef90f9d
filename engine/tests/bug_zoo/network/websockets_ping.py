"""python-websockets/websockets#1566: a pong for a ping that nobody waits for any more is fatal.

A dashboard waits for a message or a pong, whichever comes first, and thinks no more of the other.
"""

import asyncio
import random

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

HOST, PORT = "127.0.0.1", 8765
MESSAGES = 10


async def tell(connection):
    """Sends ten messages, one now and then."""
    for number in range(MESSAGES):
        await asyncio.sleep(random.uniform(0, 0.002))
        await connection.send(f"{number}")
    await connection.wait_closed()


async def main():
    """All messages arrive."""
    patient = {"open_timeout": None, "ping_interval": None}
    async with (
        serve(tell, HOST, PORT, **patient),
        connect(f"ws://{HOST}:{PORT}", **patient) as dashboard,
    ):
        heard = []
        message = asyncio.create_task(dashboard.recv())
        while len(heard) < MESSAGES:
            pong = await dashboard.ping()
            await asyncio.wait([message, pong], return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                heard.append(int(message.result()))
                message = asyncio.create_task(dashboard.recv())
            pong.cancel()
            await asyncio.sleep(0.001)
        message.cancel()
    assert heard == list(range(MESSAGES)), heard
