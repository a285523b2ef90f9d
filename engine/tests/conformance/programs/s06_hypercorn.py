"""hypercorn, which makes its own listening sockets, over HTTP/1.1 and HTTP/2, and its shutdown."""

import asyncio

import h2.config
import h2.connection
import h2.events
import hostile
import httpx
from hypercorn.asyncio import serve as run
from hypercorn.config import Config

import toron


class Known(Config):
    """Tells the port that the system gave."""

    port = None

    def create_sockets(self):
        sockets = super().create_sockets()
        self.port = sockets.insecure_sockets[0].getsockname()[1]
        return sockets


def configured(address):
    config = Known()
    config.bind = [address]
    config.accesslog = config.errorlog = None
    return config


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
        return
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"text/plain"), (b"x-version", scope["http_version"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in (scope["path"], " ", str(size)):
        more = part != str(size)
        await send({"type": "http.response.body", "body": part.encode(), "more_body": more})


async def ask_http2(port):
    """One request over HTTP/2 with prior knowledge, by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="ascii"))
    connection.initiate_connection()
    names = {":method": "GET", ":path": "/two", ":scheme": "http", ":authority": "localhost"}
    connection.send_headers(1, list(names.items()), end_stream=True)
    writer.write(connection.data_to_send())
    found, ended = {}, False
    while not ended:
        for event in connection.receive_data(await reader.read(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                found.update(dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                found["body"] = found.get("body", "") + event.data.decode()
            elif isinstance(event, h2.events.StreamEnded):
                ended = True
        writer.write(connection.data_to_send())
    writer.close()
    await writer.wait_closed()
    return [found[":status"], found["x-version"], found["body"]]


async def main():
    config, stop = configured("127.0.0.1:0"), asyncio.Event()
    serving = asyncio.create_task(run(application, config, shutdown_trigger=stop.wait))
    while config.port is None:
        await asyncio.sleep(0.005)
    address = f"http://127.0.0.1:{config.port}"
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        first = await client.post("/one", content=b"q" * 50_000)
        many = await asyncio.gather(*(client.get(f"/{n}") for n in range(4)))
    two = await ask_http2(config.port)
    stop.set()
    await serving
    assert first.text == "/one 50000", first.text
    assert two == ["200", "2", "/two 0"], two
    return [first.text, first.headers["x-version"], [answer.text for answer in many], two]


async def serve(kept):
    async def take(scope, receive, send):
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return
        value = int(scope["query_string"])
        answer = str(hostile.keep(kept, scope["path"][1:], value)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    forever = asyncio.Event().wait
    await run(take, configured(f"0.0.0.0:{hostile.PORT}"), shutdown_trigger=forever)


async def work(patient):
    async with httpx.AsyncClient(
        base_url=f"http://server:{hostile.PORT}", trust_env=False
    ) as client:

        async def place(name, value):
            return (await client.get(f"/{name}?{value}")).raise_for_status().json()

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (httpx.HTTPError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (httpx.HTTPError,))
