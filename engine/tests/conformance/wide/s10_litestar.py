"""litestar on uvicorn: an async handler, a sync one in a thread, validation."""

import asyncio

import httpx
import uvicorn
from litestar import Litestar, get, post


@get("/square/{n:int}")
async def square(n: int) -> dict[str, int]:
    return {"square": n * n}


@get("/thread/{n:int}", sync_to_thread=True)
def threaded(n: int) -> dict[str, int]:
    return {"cube": n**3}


@post("/sum")
async def total(data: list[int]) -> int:
    return sum(data)


async def main():
    application = Litestar([square, threaded, total], logging_config=None)
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        found = [(await client.get("/square/7")).json(), (await client.get("/thread/3")).json()]
        found.append((await client.post("/sum", json=[1, 2, 39])).text)
        found.append((await client.post("/sum", json=["x"])).status_code)
    server.should_exit = True
    await serving
    assert found == [{"square": 49}, {"cube": 27}, "42", 400], found
    return found
