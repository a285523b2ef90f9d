"""nats-py against a small NATS: subscribe, publish, request and reply, many messages."""

import asyncio
import json

import nats


class Broker:
    def __init__(self):
        self.subscriptions = []

    async def __call__(self, reader, writer):
        writer.write(b"INFO " + json.dumps({"server_id": "s", "max_payload": 10**6}).encode())
        writer.write(b"\r\n")
        try:
            while line := (await reader.readline()).split():
                if line[0] == b"PING":
                    writer.write(b"PONG\r\n")
                elif line[0] == b"SUB":
                    self.subscriptions.append((line[1].decode(), line[-1], writer))
                elif line[0] == b"PUB":
                    payload = (await reader.readexactly(int(line[-1]) + 2))[:-2]
                    self.deliver(line[1].decode(), line[2:-1], payload)
        except (OSError, EOFError):
            pass
        writer.close()

    def deliver(self, subject, reply, payload):
        for pattern, number, writer in self.subscriptions:
            if pattern == subject or (pattern[-1] == "*" and subject.startswith(pattern[:-1])):
                head = b" ".join([b"MSG", subject.encode(), number, *reply, b"%d" % len(payload)])
                writer.write(head + b"\r\n" + payload + b"\r\n")


async def main():
    server = await asyncio.start_server(Broker(), "127.0.0.1", 0)
    client = await nats.connect(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    heard, done = [], asyncio.Event()

    async def hear(message):
        heard.append(message.data.decode())
        if len(heard) == 5:
            done.set()

    async def answer(message):
        await message.respond(message.data.upper())

    await client.subscribe("news", cb=hear)
    await client.subscribe("shout", cb=answer)
    for number in range(5):
        await client.publish("news", f"{number}".encode())
    await asyncio.wait_for(done.wait(), 5)
    loud = (await client.request("shout", b"hello", timeout=5)).data.decode()
    await client.close()
    server.close()
    assert (heard, loud) == (["0", "1", "2", "3", "4"], "HELLO")
    return [heard, loud]
