"""python/cpython#109564: a server that is closed while it accepts a connection trips over itself.

Clients say hello, again and again, while the server makes room for its successor.
"""

import asyncio

HOST, PORT = "127.0.0.1", 9000


async def answer(reader, writer):
    """One hello."""
    writer.write(await reader.readline())
    writer.close()
    await writer.wait_closed()


async def client(number):
    """Ten hellos; one that is refused or cut off is tried again."""
    await asyncio.sleep(0.0001 * number)
    for _ in range(10):
        try:
            reader, writer = await asyncio.open_connection(HOST, PORT)
            writer.write(b"hello\n")
            await reader.readline()
            writer.close()
        except ConnectionError:
            await asyncio.sleep(0.001)


async def servers():
    """One server after the other."""
    for _ in range(5):
        server = await asyncio.start_server(answer, HOST, PORT)
        await asyncio.sleep(0.001)
        server.close()
        await server.wait_closed()


async def main():
    """Three clients."""
    await asyncio.gather(servers(), *[client(number) for number in range(3)])


async def closed_afterwards():
    """The same clients and one server, which is closed when they have gone."""
    server = await asyncio.start_server(answer, HOST, PORT)
    await asyncio.gather(*[client(number) for number in range(3)])
    await asyncio.sleep(1)
    server.close()
