"""A blocking client (http.client, socketserver's peer) in a thread against a server in the loop."""

import asyncio
import http.client
import socket
import urllib.request


async def main():
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        body = head.split()[1].upper()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/one")
        first = connection.getresponse().read().decode()
        connection.close()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/two", timeout=5) as answer:
            second = answer.read().decode()
        with socket.create_connection(("127.0.0.1", port), timeout=0.05) as silent:
            try:
                silent.recv(10)
            except TimeoutError:
                return [first, second, "timed out"]

    found = await asyncio.to_thread(ask)
    server.close()
    assert found == ["/ONE", "/TWO", "timed out"]
    return found
