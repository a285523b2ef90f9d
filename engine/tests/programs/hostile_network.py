"""Kernels whose network loses, doubles and reorders, for runs in two processes."""

import asyncio


class Inbox(asyncio.DatagramProtocol):
    def __init__(self):
        self.heard = []

    def datagram_received(self, data, addr):
        self.heard.append(data.decode())


async def datagrams_over_a_bad_link(world):
    loop, inboxes = asyncio.get_running_loop(), []

    async def listen():
        _, inbox = await loop.create_datagram_endpoint(Inbox, local_addr=("0.0.0.0", 9000))
        inboxes.append(inbox)

    async def count():
        transport, _ = await loop.create_datagram_endpoint(Inbox, remote_addr=("db", 9000))
        for number in range(50):
            transport.sendto(str(number).encode())
            await asyncio.sleep(0.001)
        await asyncio.sleep(5)

    await world.host("db").spawn(listen)
    world.net.link(
        "app", "db", latency=("lognormal", 0.01, 1.0), loss=0.2, duplicate=0.2, reorder=0.2
    )
    await world.host("app").spawn(count)
    world.record("heard", inboxes[0].heard)
