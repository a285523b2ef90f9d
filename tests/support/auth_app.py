"""The HTTP application around real access, and a client that comes from an address."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from tests.support.access import Access

from testops.api.application import create_api
from testops.api.auth_routes import AccessServices, routes
from testops.api.ports import ApiServices


def app_over(access: Access) -> FastAPI:
    """The API; what its other routes need is not there, and nothing here asks for it."""
    away: Any = None
    services = ApiServices(
        guard=access.guard,
        audit=access.store,
        runs=away,
        snapshots=away,
        collector=away,
        contents=away,
        workspaces=away,
        schedules=away,
        idempotency=away,
        leases=away,
        policies=away,
        waivers=away,
        history_of=away,
        means=away,
        clock=access.clock,
        checks=list,
        metrics=lambda: (b"", "text/plain"),
        version="0",
        versions=away,
        signing_key=away,
    )
    app = create_api(services, more=[routes])
    app.state.access = AccessServices(
        access.guard, access.keys, access.sessions, access.store, access.settings, access.clock
    )
    return app


@dataclass
class Client:
    """Sends one request at a time; keeps cookies only when told to."""

    app: FastAPI
    base: str = "http://localhost:8080"
    address: str = "192.0.2.7"

    def send(
        self,
        method: str,
        path: str,
        *,
        key: str = "",
        cookie: str = "",
        headers: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx.Response:
        given = dict(headers or {})
        if key:
            given["authorization"] = f"Bearer {key}"
        if cookie:
            given["cookie"] = cookie
        return asyncio.run(self._send(method, path, given, json))

    async def _send(
        self, method: str, path: str, headers: dict[str, str], json: Any
    ) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(self.address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
            return await client.request(method, path, headers=headers, json=json)


def cookie_set_by(response: httpx.Response) -> str:
    """`name=value` of the cookie that an answer sets."""
    return response.headers["set-cookie"].partition(";")[0]
