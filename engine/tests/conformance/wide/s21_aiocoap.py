"""aiocoap: a server and a client over UDP, a block-wise answer, an unknown path."""

import aiocoap
from aiocoap import resource


class Text(resource.Resource):
    async def render_get(self, _request):
        return aiocoap.Message(payload=b"block " * 500)

    async def render_put(self, request):
        return aiocoap.Message(code=aiocoap.CHANGED, payload=request.payload.upper())


async def main():
    site = resource.Site()
    site.add_resource(["text"], Text())
    server = await aiocoap.Context.create_server_context(
        site, bind=("127.0.0.1", 5683), transports=["simplesocketserver"]
    )
    client = await aiocoap.Context.create_client_context(transports=["simple6"])
    base = "coap://127.0.0.1"
    found = []
    request = aiocoap.Message(code=aiocoap.PUT, uri=f"{base}/text", payload=b"loud")
    found.append((await client.request(request).response).payload.decode())
    answer = await client.request(aiocoap.Message(code=aiocoap.GET, uri=f"{base}/text")).response
    found.append(len(answer.payload))
    answer = await client.request(aiocoap.Message(code=aiocoap.GET, uri=f"{base}/no")).response
    found.append(str(answer.code))
    await client.shutdown()
    await server.shutdown()
    assert found == ["LOUD", 3000, "4.04 Not Found"], found
    return found
