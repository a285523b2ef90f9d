"""FastAPI on uvicorn, asked by httpx: validation, dependencies, a background task, lifespan."""

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

import fastapi
import hostile
import httpx
import pydantic
import uvicorn

import toron


class Item(pydantic.BaseModel):
    name: str
    price: float = pydantic.Field(gt=0)


def build(log):
    @asynccontextmanager
    async def lifespan(_application):
        log.append("up")
        yield
        log.append("down")

    application = fastapi.FastAPI(lifespan=lifespan)

    async def known(x_user: Annotated[str, fastapi.Header()]):
        if x_user != "ann":
            raise fastapi.HTTPException(403, "not you")
        return x_user

    @application.post("/items", status_code=201)
    async def create(
        item: Item, user: Annotated[str, fastapi.Depends(known)], later: fastapi.BackgroundTasks
    ):
        later.add_task(log.append, f"{user} made {item.name}")
        return {"name": item.name, "price": item.price}

    @application.get("/lines")
    async def lines(count: int):
        async def produce():
            for number in range(count):
                yield f"{number}\n"
                await asyncio.sleep(0.001)

        return fastapi.responses.StreamingResponse(produce(), media_type="text/plain")

    return application


async def ask(client):
    ann = {"X-User": "ann"}
    made = await client.post("/items", json={"name": "tea", "price": 3.5}, headers=ann)
    bad = await client.post("/items", json={"name": "tea", "price": -1}, headers=ann)
    denied = await client.post("/items", json={"name": "x", "price": 1}, headers={"X-User": "b"})
    answers = [[made.status_code, made.json()], [bad.status_code, bad.json()["detail"][0]["type"]]]
    answers.append([denied.status_code, denied.json()])
    async with client.stream("GET", "/lines", params={"count": 4}) as response:
        answers.append([line async for line in response.aiter_lines()])
    answers.append((await client.get("/openapi.json")).json()["info"]["title"])
    many = await asyncio.gather(*(client.get("/lines", params={"count": n}) for n in range(4)))
    return [*answers, [response.text for response in many]]


async def main():
    log = []
    config = uvicorn.Config(build(log), host="127.0.0.1", port=0, log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answers = await ask(client)
    server.should_exit = True
    await serving
    assert log == ["up", "ann made tea", "down"], log
    assert answers[0] == [201, {"name": "tea", "price": 3.5}]
    assert answers[3] == ["0", "1", "2", "3"]
    return {"answers": answers, "log": log}


async def serve(kept):
    application = fastapi.FastAPI()

    @application.put("/orders/{name}")
    async def take(name: str, value: int):
        return hostile.keep(kept, name, value)

    config = uvicorn.Config(application, host="0.0.0.0", port=hostile.PORT, log_config=None)
    await uvicorn.Server(config).serve()


async def work(patient):
    async with httpx.AsyncClient(
        base_url=f"http://server:{hostile.PORT}", trust_env=False
    ) as client:

        async def place(name, value):
            answer = await client.put(f"/orders/{name}", params={"value": value})
            return answer.raise_for_status().json()

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (httpx.HTTPError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (httpx.HTTPError,))
