"""asyncio alone: a connection that turns to TLS in the middle, and one that is TLS at once."""

import asyncio
import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).parents[1] / "programs" / "localhost.pem"


async def main():
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(CERTIFICATE)
    ours = ssl.create_default_context(cafile=CERTIFICATE)

    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.drain()
        await writer.start_tls(theirs)
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def plain(reader, writer):
        writer.write((await reader.readline())[::-1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"STARTTLS\n")
    found = [(await reader.readline()).decode()]
    await writer.start_tls(ours, server_hostname="localhost")
    writer.write(b"hello\n")
    found.append((await reader.readline()).decode())
    writer.close()
    server.close()
    server = await asyncio.start_server(plain, "127.0.0.1", 0, ssl=theirs)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=ours)
    writer.write(b"abc\n")
    found.append((await reader.read()).decode())
    found.append(writer.get_extra_info("peercert")["subject"][0][0][1])
    writer.close()
    server.close()
    assert found == ["go\n", "HELLO\n", "\ncba", "localhost"]
    return found
