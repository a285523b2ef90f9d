"""Real libraries, unmodified: each kernel names what it needs in its name."""

import asyncio

import toron


@toron.kernel
async def aiohttp_server_and_client(world):
    import aiohttp
    from aiohttp import web

    async def hello(request):
        return web.json_response({"hello": request.match_info["name"]})

    async def serve():
        application = web.Application()
        application.router.add_get("/{name}", hello)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 8080).start()
        await asyncio.Event().wait()

    async def ask():
        async with aiohttp.ClientSession() as session:
            answers = []
            for name in ("ann", "bob"):
                async with session.get(f"http://web:8080/{name}") as response:
                    answers.append([response.status, await response.json()])
            world.record("answers", answers)

    world.host("web").spawn(serve)
    await world.sleep(1)
    await world.host("app").spawn(ask)


@toron.kernel
async def fastapi_uvicorn_httpx_keep_alive(world):
    import fastapi
    import httpx
    import uvicorn

    application = fastapi.FastAPI()
    ports = set()

    @application.get("/items/{item}")
    async def read(item: int, request: fastapi.Request):
        ports.add(request.client.port)
        return {"item": item}

    async def serve():
        config = uvicorn.Config(application, host="0.0.0.0", port=8000, log_config=None)
        await uvicorn.Server(config).serve()

    async def ask():
        async with httpx.AsyncClient(base_url="http://web:8000", trust_env=False) as client:
            answers = [(await client.get(f"/items/{number}")).json() for number in range(3)]
            answers.append((await client.get("/items/x")).status_code)
            world.record("answers", answers)

    world.host("web").spawn(serve)
    await world.sleep(1)
    await world.host("app").spawn(ask)
    world.record("connections", len(ports))


@toron.kernel
async def websockets_echo(world):
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve as listen

    async def echo(socket):
        async for message in socket:
            await socket.send(message[::-1])

    async def serve():
        async with listen(echo, "0.0.0.0", 8765) as server:
            await server.serve_forever()

    async def talk():
        async with connect("ws://web:8765", proxy=None) as socket:
            heard = []
            for word in ("abc", "defg"):
                await socket.send(word)
                heard.append(await socket.recv())
            world.record("heard", heard)

    world.host("web").spawn(serve)
    await world.sleep(1)
    await world.host("app").spawn(talk)


@toron.kernel
async def anyio_groups_and_scopes(world):
    import anyio

    log = []

    async def wait(name):
        try:
            await anyio.sleep_forever()
        finally:
            log.append(name)

    with anyio.move_on_after(2) as scope:
        async with anyio.create_task_group() as group:
            for name in range(5):
                group.start_soon(wait, name)
    send, receive = anyio.create_memory_object_stream(1)
    async with anyio.create_task_group() as group:
        group.start_soon(send.send, "through a stream")
        log.append(await receive.receive())
    send.close()
    receive.close()
    world.record("timed out", scope.cancelled_caught)
    world.record("count", len(log))
