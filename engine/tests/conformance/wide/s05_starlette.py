"""starlette: an endpoint in a worker thread, middleware, and the blocking test client."""

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route


def blocking(request):
    return JSONResponse({"path": request.url.path, "by": "a thread"})


async def large(_request):
    return PlainTextResponse("x" * 5000)


async def main():
    routes = [Route("/blocking/{n}", blocking), Route("/large", large)]
    application = Starlette(routes=routes, middleware=[Middleware(GZipMiddleware)])
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = await asyncio.gather(*(client.get(f"/blocking/{n}") for n in range(4)))
        text = await client.get("/large")
    found = [answer.json()["path"] for answer in answers]
    assert found == [f"/blocking/{n}" for n in range(4)]
    assert text.headers["content-encoding"] == "gzip"
    return [found, len(text.text)]
