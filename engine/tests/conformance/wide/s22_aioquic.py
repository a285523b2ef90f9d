"""aioquic: a QUIC connection over UDP with a checked certificate, two streams."""

import asyncio
from pathlib import Path

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration

CERTIFICATE = Path(__file__).parents[1] / "programs" / "localhost.pem"


async def main():
    theirs = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    theirs.load_cert_chain(CERTIFICATE, CERTIFICATE)

    def take(reader, writer):
        async def answer():
            writer.write((await reader.read()).upper())
            writer.write_eof()

        tasks.append(asyncio.ensure_future(answer()))

    tasks = []
    server = await serve("127.0.0.1", 0, configuration=theirs, stream_handler=take)
    port = server._transport.get_extra_info("sockname")[1]
    ours = QuicConfiguration(alpn_protocols=["echo"], server_name="localhost")
    ours.load_verify_locations(CERTIFICATE)
    found = []
    async with connect("127.0.0.1", port, configuration=ours) as client:
        for word in (b"one", b"two" * 5000):
            reader, writer = await client.create_stream()
            writer.write(word)
            writer.write_eof()
            found.append(len(await reader.read()))
    server.close()
    assert found == [3, 15000]
    return found
