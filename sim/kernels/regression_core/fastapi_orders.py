"""A FastAPI service under uvicorn and its httpx clients, over connections that are kept alive.

The clients send good orders and, now and then, one that validation must refuse. At the end the
server is asked to stop and must do so by itself: accept nothing more, finish what it has, return.
All endpoints are `async def`: FastAPI runs the others in threads, which Toron does not simulate.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

import toron

CLIENTS = ("mia", "noah")
ORDERS_EACH = 8
PORT = 8000
FAULTS_S = 5.0
RECOVERY_S = 15.0
ATTEMPT_S = 0.5
STOP_S = 5.0
BACKOFF_S = (0.05, 1.0)
PACE_S = (0.0, 0.5)
BAD_ONE_IN = 5

_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, as all is plain HTTP; without it each client reads the certificates of the system."""


class Order(BaseModel):
    """What a client sends."""

    item: str = Field(min_length=1)
    quantity: int = Field(gt=0, le=100)


@dataclass(slots=True)
class Ledger:
    """The service's database, and what somebody counts who watches its front door."""

    orders: dict[str, Order] = field(default_factory=dict)
    starts: int = 0
    stops: int = 0
    requests: int = 0
    connections: set[tuple[str, int]] = field(default_factory=set)


def make_service(ledger: Ledger) -> FastAPI:
    """The application; its state is in ``ledger``, which outlives a power cut."""

    @asynccontextmanager
    async def lifespan(_service: FastAPI) -> AsyncIterator[None]:
        ledger.starts += 1
        yield
        ledger.stops += 1

    service = FastAPI(lifespan=lifespan, openapi_url=None)

    @service.post("/orders", status_code=201)
    async def place(order: Order, idempotency_key: Annotated[str, Header()]) -> dict[str, Any]:
        await asyncio.sleep(random.uniform(0.001, 0.02))
        known = ledger.orders.setdefault(idempotency_key, order)
        return {"key": idempotency_key, "quantity": known.quantity}

    @service.get("/orders/{key}")
    async def read(key: str) -> Order:
        if key not in ledger.orders:
            raise HTTPException(404, f"no order {key}")
        return ledger.orders[key]

    return service


class Doorman:
    """Counts, in front of the service, requests and the connections on which they come."""

    def __init__(self, service: ASGIApp, ledger: Ledger) -> None:
        self._service = service
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._ledger.requests += 1
            self._ledger.connections.add(tuple(scope["client"]))
        await self._service(scope, receive, send)


@dataclass(slots=True)
class Shopper:
    """What one client keeps: how each order ended, and what it was told on the way."""

    name: str
    quantities: list[int]
    """What to order, drawn once: a client that starts again after a crash orders the same."""
    ended: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    async def shop(self) -> None:
        async with httpx.AsyncClient(
            base_url=f"http://api:{PORT}", timeout=ATTEMPT_S, verify=_TLS, trust_env=False
        ) as client:
            for number in range(ORDERS_EACH):
                key = f"{self.name}-{number}"
                if key not in self.ended:
                    self.ended[key] = await self._order(client, key, number)
                    await asyncio.sleep(random.uniform(*PACE_S))

    async def _order(self, client: httpx.AsyncClient, key: str, number: int) -> str:
        """How one order ended: ``refused``, or what reading it back gives."""
        body = {"item": f"book {number}", "quantity": self.quantities[number]}
        answer = await self._insist(
            client, "POST", "/orders", json=body, headers={"Idempotency-Key": key}
        )
        if answer.status_code == 422:
            return "refused: " + str(answer.json()["detail"][0]["loc"][-1])
        seen = await self._insist(client, "GET", f"/orders/{key}")
        return f"{seen.json()['quantity']} of {seen.json()['item']}"

    async def _insist(
        self, client: httpx.AsyncClient, method: str, path: str, **content: Any
    ) -> httpx.Response:
        """The service's answer, however often it takes to get one."""
        wait_s, longest_s = BACKOFF_S
        while True:
            try:
                response = await client.request(method, path, **content)
            except httpx.TransportError as error:
                self._count("timeout" if isinstance(error, httpx.TimeoutException) else "lost")
            else:
                self._count(str(response.status_code))
                return response
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, longest_s)

    def _count(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1


def draw_quantities() -> list[int]:
    """What one client orders: a growing number of books, and now and then nonsense."""
    return [-1 if random.randrange(BAD_ONE_IN) == 0 else n + 1 for n in range(ORDERS_EACH)]


def _import_what_comes_late() -> None:
    """Import once, and not in each execution, what these libraries import on first use."""
    uvicorn.Config(make_service(Ledger()), log_config=None, lifespan="on", http="h11").load()
    for name in ("httpcore", "anyio._backends._asyncio"):
        importlib.import_module(name)


_import_what_comes_late()


@toron.kernel
async def fastapi_orders(world: toron.World) -> None:
    ledger = Ledger()
    shoppers = [Shopper(name, draw_quantities()) for name in CLIENTS]
    running: list[uvicorn.Server] = []
    ended: list[uvicorn.Server] = []

    async def api() -> None:
        application = Doorman(make_service(ledger), ledger)
        config = uvicorn.Config(
            application, host="0.0.0.0", port=PORT, log_config=None, lifespan="on", http="h11"
        )
        running[:] = [uvicorn.Server(config)]
        await running[0].serve()
        ended[:] = running

    def is_done() -> bool:
        return all(len(shopper.ended) == ORDERS_EACH for shopper in shoppers)

    world.host("api").spawn(api)
    for shopper in shoppers:
        world.host(shopper.name).spawn(shopper.shop)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.eventually("every order ends", is_done, within=FAULTS_S + RECOVERY_S)
    while not (is_done() and world.now >= FAULTS_S) and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    world.always("a refused order is not in the database", _only_good_orders(ledger, shoppers))
    world.always("connections are used again", len(ledger.connections) < ledger.requests)
    world.eventually("the server stops when asked to", lambda: ended == running, within=STOP_S)
    running[0].should_exit = True
    await world.sleep(STOP_S)
    world.always("what was started last was stopped", ledger.stops == 1)
    world.sometimes("an order was refused", len(ledger.orders) < ORDERS_EACH * len(CLIENTS))
    world.sometimes("the service came up again after a crash", ledger.starts > 1)
    world.record("orders", {key: order.quantity for key, order in ledger.orders.items()})
    world.record("ended", {shopper.name: shopper.ended for shopper in shoppers})
    world.record("statuses", {shopper.name: shopper.statuses for shopper in shoppers})
    world.record("requests", ledger.requests)
    world.record("connections", len(ledger.connections))


def _only_good_orders(ledger: Ledger, shoppers: list[Shopper]) -> bool:
    ended = {key: how for shopper in shoppers for key, how in shopper.ended.items()}
    good = {key for key, how in ended.items() if not how.startswith("refused")}
    return good == set(ledger.orders)
