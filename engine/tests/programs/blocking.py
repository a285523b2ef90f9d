"""Blocking sockets, as libraries with threads of their own use them."""

import asyncio
import http.server
import socket
import threading
import time
import urllib.error
import urllib.request

import toron


async def a_threaded_echo():
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(100):
                connection.sendall(data.upper())

    def ask():
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"x" * 100_000)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while data := client.recv(65_536):
                answer += data
            return len(answer), set(answer) == {ord("X")}

    serving = threading.Thread(target=serve)
    serving.start()
    found = await asyncio.to_thread(ask)
    serving.join()
    server.close()
    return list(found)


async def files_of_a_socket():
    left, right = socket.socketpair()
    with left.makefile("rw", encoding="utf-8", newline="\n") as file:
        asyncio.get_running_loop().call_later(1, right.sendall, b"a\nb\n")
        return [await asyncio.to_thread(file.readline), file.readline()]


async def a_timeout():
    server = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(server.getsockname(), timeout=2.5) as client:
        started = time.monotonic()
        try:
            client.recv(10)
        except TimeoutError as error:
            return [str(error), round(time.monotonic() - started, 3)]


async def an_http_server_of_the_standard_library():
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"

    def get(path):
        with urllib.request.urlopen(base + path, timeout=5) as answer:
            return answer.read().decode()

    pages = await asyncio.gather(*[asyncio.to_thread(get, f"/{n}") for n in range(4)])
    await asyncio.to_thread(server.shutdown)
    thread.join()
    server.server_close()
    try:
        await asyncio.to_thread(get, "/gone")
    except urllib.error.URLError as error:
        pages.append(type(error.reason).__name__)
    return pages


@toron.kernel
async def a_client_in_a_partition(world):
    async def serve():
        async def answer(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        await (await asyncio.start_server(answer, "0.0.0.0", 9000)).serve_forever()

    def ask():
        with socket.create_connection(("db", 9000), timeout=20) as client:
            client.sendall(b"hello\n")
            return client.makefile().readline()

    async def call():
        return await asyncio.to_thread(ask)

    world.host("db").spawn(serve)
    await world.sleep(1)
    world.host("app")
    world.net.partition("app", "db")
    task = world.host("app").spawn(call)
    await world.sleep(5)
    world.net.heal("app", "db")
    world.record("line", await task)
    world.record("late", world.now > 6)


async def blocks_the_loop_for_ever():
    left, _ = socket.socketpair()
    left.recv(1)  # HERE
