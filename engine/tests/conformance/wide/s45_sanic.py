"""sanic, served inside the program's own loop, asked by httpx."""

import httpx
from sanic import Sanic
from sanic.response import json


async def main():
    Sanic.test_mode = True
    application = Sanic("tea", configure_logging=False)

    @application.get("/double/<n:int>")
    async def double(_request, n):
        return json({"double": 2 * n})

    server = await application.create_server(
        "127.0.0.1", 18945, return_asyncio_server=True, access_log=False
    )
    await server.startup()
    await server.before_start()
    await server.after_start()
    async with httpx.AsyncClient(base_url="http://127.0.0.1:18945", trust_env=False) as client:
        found = [(await client.get("/double/21")).json(), (await client.get("/no")).status_code]
    await server.before_stop()
    await server.close()
    await server.after_stop()
    assert found == [{"double": 42}, 404]
    return found
