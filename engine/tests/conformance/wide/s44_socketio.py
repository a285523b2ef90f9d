"""python-socketio: a server on aiohttp, a client over a web socket, an acknowledgement."""

import asyncio

import socketio
from aiohttp import web


async def main():
    server = socketio.AsyncServer(async_mode="aiohttp")
    application = web.Application()
    server.attach(application)

    @server.event
    async def shout(sid, text):
        await server.emit("heard", text.upper(), to=sid)
        return len(text)

    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client, heard = socketio.AsyncClient(), asyncio.get_running_loop().create_future()
    client.on("heard", heard.set_result)
    port = runner.addresses[0][1]
    await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    length = await client.call("shout", "hello", timeout=5)
    found = [length, await asyncio.wait_for(heard, 5)]
    await client.disconnect()
    await runner.cleanup()
    assert found == [5, "HELLO"]
    return found
