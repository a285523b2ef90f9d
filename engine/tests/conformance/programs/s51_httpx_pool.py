"""httpx keep-alive: one connection carries all requests, until the server has closed it."""

import asyncio

import hostile
import httpx

import toron


class Web:
    """A small HTTP/1.1 server that counts its connections."""

    def __init__(self, answer=None):
        self.connections = 0
        self.answer = answer or (lambda path: path)
        self.open = []

    async def __call__(self, reader, writer):
        self.connections += 1
        self.open.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = self.answer(head.split()[1].decode()).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


async def main():
    web = Web()
    server = await asyncio.start_server(web, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    counts = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answers = [(await client.get(f"/{number}")).text for number in range(5)]
        counts.append(web.connections)
        await asyncio.sleep(0.05)
        answers.append((await client.get("/later")).text)
        counts.append(web.connections)
        web.open[0].close()
        await asyncio.sleep(0.05)
        answers.append((await client.get("/again")).text)
        counts.append(web.connections)
        await asyncio.gather(*(client.get(f"/{number}") for number in range(4)))
    for writer in web.open:
        await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert counts == [1, 1, 2], f"one connection, reused, then a new one: {counts}"
    return {"answers": answers, "connections": counts}


async def serve(kept):
    def take(path):
        name, value = path[1:].replace("%20", " ").split("=")
        return str(hostile.keep(kept, name, int(value)))

    async with await asyncio.start_server(Web(take), "0.0.0.0", hostile.PORT) as server:
        await server.serve_forever()


async def work(patient):
    async with httpx.AsyncClient(
        base_url=f"http://server:{hostile.PORT}", trust_env=False
    ) as client:

        async def place(name, value):
            return (await client.get(f"/{name}={value}")).raise_for_status().json()

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (httpx.HTTPError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (httpx.HTTPError,))
