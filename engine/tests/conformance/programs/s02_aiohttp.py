"""aiohttp: JSON, an error, a streamed upload, chunks, cookies, a web socket, keep-alive."""

import asyncio

import aiohttp
import hostile
from aiohttp import web

import toron


def connector(**options):
    # The threaded resolver asks the event loop; the other one asks a C library of its own.
    return aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver(), **options)


async def add(request):
    numbers = (await request.json())["numbers"]
    answer = web.json_response({"sum": sum(numbers)}, headers={"X-Count": str(len(numbers))})
    answer.set_cookie("seen", "yes")
    return answer


async def measure(request):
    size = 0
    async for chunk in request.content.iter_chunked(4096):
        size += len(chunk)
    return web.json_response({"size": size, "cookie": request.cookies.get("seen")})


async def count(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(5):
        await response.write(f"{number};".encode())
        await asyncio.sleep(0.001)
    await response.write_eof()
    return response


async def fail(_request):
    raise web.HTTPConflict(text="not now")


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.data == "close":
            await socket.close(code=4001, message=b"as you wish")
        elif message.type == aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data[::-1])
        else:
            await socket.send_str(message.data[::-1])
    return socket


async def chat(session):
    heard = []
    async with session.ws_connect("/echo") as socket:
        await socket.send_str("desserts")
        heard.append((await socket.receive()).data)
        await socket.send_bytes(bytes(range(200)) * 400)
        heard.append(len((await socket.receive()).data))
        await socket.send_str("close")
        ended = await socket.receive()
        heard += [ended.type.name, ended.data, ended.extra]
    return heard


async def upload():
    for _ in range(10):
        yield b"y" * 10_000


async def main():
    application = web.Application()
    application.add_routes(
        [
            web.post("/add", add),
            web.post("/measure", measure),
            web.get("/count", count),
            web.get("/fail", fail),
            web.get("/echo", echo),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(address, cookie_jar=jar, connector=connector()) as session:
        found = []
        async with session.post("/add", json={"numbers": [1, 2, 39]}) as answer:
            found.append([answer.status, answer.headers["X-Count"], await answer.json()])
        async with session.post("/measure", data=upload()) as answer:
            found.append(await answer.json())
        async with session.get("/count") as answer:
            found.append(await answer.text())
        async with session.get("/fail") as answer:
            found.append([answer.status, await answer.text()])
        async with session.get("/nothing") as answer:
            found.append(answer.status)
        found.append(await chat(session))
        many = await asyncio.gather(*(session.post("/add", json={"numbers": [n]}) for n in (1, 2)))
        found.append([answer.status for answer in many])
    await runner.cleanup()
    assert found[0] == [200, "3", {"sum": 42}]
    assert found[1] == {"size": 100_000, "cookie": "yes"}
    assert found[5] == ["stressed", 80_000, "CLOSE", 4001, "as you wish"]
    return found


async def serve(kept):
    async def take(request):
        name, value = await request.json()
        return web.json_response(hostile.keep(kept, name, value))

    application = web.Application()
    application.router.add_put("/orders", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", hostile.PORT).start()
    await asyncio.Event().wait()


async def work(patient):
    async with aiohttp.ClientSession(
        f"http://server:{hostile.PORT}", connector=connector()
    ) as session:

        async def place(name, value):
            async with session.put("/orders", json=[name, value]) as answer:
                answer.raise_for_status()
                return await answer.json()

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (aiohttp.ClientError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (aiohttp.ClientError,))
