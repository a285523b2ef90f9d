"""aiohttp over TLS: a certificate that is checked, a wrong name, a client without trust."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import hostile
from aiohttp import web

import toron

CERTIFICATE = Path(__file__).with_name("localhost.pem")


def server_side():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_side():
    return ssl.create_default_context(cafile=CERTIFICATE)


def session(address, context):
    resolver = aiohttp.ThreadedResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=context)
    return aiohttp.ClientSession(address, connector=connector)


async def tell(request):
    tls = request.transport.get_extra_info("ssl_object")
    return web.json_response({"version": tls.version(), "scheme": request.scheme})


async def measure(request):
    return web.json_response({"size": len(await request.read())})


async def listen(application, host, port):
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=server_side()).start()
    return runner


async def failure(address, context):
    async with session(address, context) as client:
        try:
            await client.get("/tell")
        except aiohttp.ClientConnectorCertificateError as error:
            return error.certificate_error.verify_message


async def main():
    application = web.Application(client_max_size=10**6)
    application.add_routes([web.get("/tell", tell), web.post("/measure", measure)])
    runner = await listen(application, "127.0.0.1", 0)
    port = runner.addresses[0][1]
    found = []
    async with session(f"https://127.0.0.1:{port}", client_side()) as client:
        async with client.get("/tell") as answer:
            found.append(await answer.json())
        async with client.post("/measure", data=b"z" * 300_000) as answer:
            found.append(await answer.json())
    async with session(f"https://localhost:{port}", client_side()) as client:
        answers = await asyncio.gather(*(client.get("/tell") for _ in range(3)))
        found.append([answer.status for answer in answers])
    found.append(await failure(f"https://127.0.0.1:{port}", ssl.create_default_context()))
    await runner.cleanup()
    assert found[0] == {"version": "TLSv1.3", "scheme": "https"}
    assert found[1:] == [{"size": 300_000}, [200, 200, 200], "self-signed certificate"], found
    return found


async def serve(kept):
    async def take(request):
        name, value = await request.json()
        return web.json_response(hostile.keep(kept, name, value))

    application = web.Application()
    application.router.add_put("/orders", take)
    await listen(application, "0.0.0.0", hostile.PORT)
    await asyncio.Event().wait()


async def work(patient):
    async with session(f"https://server:{hostile.PORT}", client_side()) as client:

        async def place(name, value):
            async with client.put("/orders", json=[name, value]) as answer:
                answer.raise_for_status()
                return await answer.json()

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (aiohttp.ClientError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (aiohttp.ClientError,))
