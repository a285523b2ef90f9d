"""nats-io/nats.py#624: who gives up on a publication stops the flusher for everybody.

A sensor publishes readings, each with a deadline. The broker stands still for a while, and then it
is quick again.
"""

import asyncio
import json
import random

import nats

HOST, PORT = "127.0.0.1", 4222
READING = b"r" * 40_000


async def broker(reader, writer, subjects):
    """Keeps the subjects of what is published; stands still now and then."""
    info = {"server_id": "s", "max_payload": 10**6}
    writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
    try:
        while words := (await reader.readline()).split():
            if words[0] == b"PING":
                writer.write(b"PONG\r\n")
            elif words[0] == b"PUB":
                await reader.readexactly(int(words[-1]) + 2)
                subjects.put_nowait(words[1].decode())
                await asyncio.sleep(random.choice((0.001, 0.001, 0.030)))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    """Twenty readings, of which some may be lost, and a last one that must arrive."""
    subjects = asyncio.Queue()
    server = await asyncio.start_server(lambda *both: broker(*both, subjects), HOST, PORT)
    sensor = await nats.connect(f"nats://{HOST}:{PORT}", pending_size=len(READING), flush_timeout=5)
    for _ in range(20):
        try:
            async with asyncio.timeout(0.050):
                await sensor.publish("reading", READING)
        except TimeoutError:
            pass
    await asyncio.sleep(2)
    await sensor.publish("last", b"")
    await asyncio.sleep(30)
    arrived = [subjects.get_nowait() for _ in range(subjects.qsize())]
    assert arrived[-1] == "last", arrived
    await sensor.close()
    await asyncio.sleep(1)  # the broker sees that it has gone
    server.close()
