"""starlette's TestClient: a loop in a thread of anyio's blocking portal, used from a worker."""

import asyncio

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient


async def hello(request):
    return JSONResponse({"hello": request.query_params["name"]})


async def echo(socket):
    await socket.accept()
    await socket.send_text((await socket.receive_text()).upper())
    await socket.close()


def ask():
    routes = [Route("/hello", hello), WebSocketRoute("/echo", echo)]
    with TestClient(Starlette(routes=routes)) as client:
        found = [client.get("/hello", params={"name": "ann"}).json()]
        with client.websocket_connect("/echo") as socket:
            socket.send_text("abc")
            found.append(socket.receive_text())
    return found


async def main():
    found = await asyncio.to_thread(ask)
    assert found == [{"hello": "ann"}, "ABC"]
    return found
