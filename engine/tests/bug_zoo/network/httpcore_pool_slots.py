"""encode/httpcore#1093: a request that is cancelled early takes a slot of the pool with it.

A search box: each key asks the shop for what begins so, and what the key before asked for is
cancelled. Afterwards a patient customer is served.
"""

import asyncio

try:
    import httpcore2 as httpcore  # the fork that carries the fix has another name
except ImportError:
    import httpcore

HOST, SHOP, BOXES = "127.0.0.1", 8000, 9000
WORDS = ("tea", "mug", "pan")


async def shop(reader, writer):
    """Answers each request after two milliseconds."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.002)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def ask(pool, text):
    """One question to the shop."""
    response = await pool.request("GET", f"http://{HOST}:{SHOP}/{text}")
    assert response.content == b"ok", response


async def search_box(pool, reader, writer):
    """What stands behind one search box: the newest question only."""
    text, asking = "", None
    try:
        while key := await reader.read(1):
            text += key.decode()
            if asking is not None:
                asking.cancel()
            asking = asyncio.create_task(ask(pool, text))
        await asking
    finally:
        writer.close()


async def customer(word):
    """Pastes a word, which arrives key by key."""
    reader, writer = await asyncio.open_connection(HOST, BOXES)
    for key in word:
        writer.write(key.encode())
        await writer.drain()
        await asyncio.sleep(0.00003)
    writer.write_eof()
    await reader.read()
    writer.close()


async def main():
    """Customers paste, then a patient one asks."""
    async with httpcore.AsyncConnectionPool(max_connections=2) as pool:
        servers = [
            await asyncio.start_server(shop, HOST, SHOP),
            await asyncio.start_server(lambda *streams: search_box(pool, *streams), HOST, BOXES),
        ]
        await asyncio.gather(*[customer(word) for word in WORDS])
        await ask(pool, "patient")
    await asyncio.sleep(1)  # the servers see that everybody has gone
    for server in servers:
        server.close()
