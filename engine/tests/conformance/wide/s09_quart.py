"""quart under hypercorn, asked by aiohttp."""

import asyncio

import aiohttp
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request


async def main():
    application = Quart(__name__)

    @application.post("/double")
    async def double():
        return {"double": 2 * (await request.get_json())["n"]}

    ports = []

    class Known(Config):
        def create_sockets(self):
            sockets = super().create_sockets()
            ports.append(sockets.insecure_sockets[0].getsockname()[1])
            return sockets

    config, stop = Known(), asyncio.Event()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    serving = asyncio.create_task(serve(application, config, shutdown_trigger=stop.wait))
    while not ports:
        await asyncio.sleep(0.01)
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(connector=connector) as session:
        address = f"http://127.0.0.1:{ports[0]}/double"
        async with session.post(address, json={"n": 21}) as answer:
            found = await answer.json()
    stop.set()
    await serving
    assert found == {"double": 42}
    return found
