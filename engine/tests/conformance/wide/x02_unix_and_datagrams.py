"""asyncio alone: a unix socket server, a datagram echo, a socket pair, a pipe of protocols."""

import asyncio
import socket
import tempfile


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data[::-1], address)


async def main():
    loop = asyncio.get_running_loop()

    async def shout(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        server = await asyncio.start_unix_server(shout, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        found = [(await reader.read()).decode()]
        writer.close()
        server.close()
    transport, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.connect(transport.get_extra_info("sockname"))
    await loop.sock_sendall(client, b"abc")
    found.append((await loop.sock_recv(client, 100)).decode())
    client.close()
    transport.close()
    left, right = socket.socketpair()
    left.setblocking(False)
    got = loop.create_future()
    loop.add_reader(left, lambda: got.done() or got.set_result(left.recv(10)))
    right.send(b"pair")
    found.append((await got).decode())
    loop.remove_reader(left)
    left.close()
    right.close()
    assert found == ["HELLO\n", "cba", "pair"]
    return found
