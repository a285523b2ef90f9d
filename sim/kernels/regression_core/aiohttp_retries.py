"""An aiohttp shop and its clients, which repeat an order until it is answered.

The shop is overloaded at times (503) and the network loses answers, so a client cannot know whether
its order was taken; it repeats it under the same idempotency key, slower each time and with jitter,
so that clients which failed together do not come back together.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

import toron

CLIENTS = ("anna", "boris")
ORDERS_EACH = 6
PORT = 8080
FAULTS_S = 6.0
RECOVERY_S = 14.0
ATTEMPT_S = 0.5
WORK_S = (0.001, 0.02)
BACKOFF_S = (0.05, 1.0)
PACE_S = (0.0, 1.0)
OVERLOADED_ONE_IN = 8


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps orders single. Tests break it and Toron must notice."""

    keys_are_checked: bool = True


@dataclass(slots=True)
class Orders:
    """The shop's database: each order taken, and which key it came under."""

    taken: list[str] = field(default_factory=list)
    number_by_key: dict[str, int] = field(default_factory=dict)

    def has_repeats(self) -> bool:
        return len(self.taken) != len(set(self.taken))


class Shop:
    """The web application of the shop, between two power cuts."""

    def __init__(self, orders: Orders, rules: Rules) -> None:
        self._orders = orders
        self._rules = rules

    async def serve(self) -> None:
        application = web.Application()
        application.router.add_post("/orders", self.take_order)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", PORT).start()
        await asyncio.Event().wait()

    async def take_order(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        body = await request.json()
        if random.randrange(OVERLOADED_ONE_IN) == 0:
            return web.json_response({"error": "overloaded"}, status=503)
        await asyncio.sleep(random.uniform(*WORK_S))
        # From the look to the write without a pause: a repetition cannot slip in between.
        known = self._orders.number_by_key.get(key) if self._rules.keys_are_checked else None
        if known is not None:
            return web.json_response({"number": known, "item": body["item"]}, status=200)
        self._orders.taken.append(key)
        number = self._orders.number_by_key[key] = len(self._orders.taken)
        return web.json_response({"number": number, "item": body["item"]}, status=201)


@dataclass(slots=True)
class Basket:
    """What one client keeps: the answer to each order, and what else it was told."""

    numbers: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def count(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1


async def order_all(name: str, basket: Basket) -> None:
    """Place the orders of one client, each until the shop has answered it."""
    # The threaded resolver asks the event loop; the other one asks a C library of its own.
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
    async with aiohttp.ClientSession(
        f"http://shop:{PORT}", connector=connector, timeout=timeout
    ) as session:
        for number in range(ORDERS_EACH):
            key = f"{name}-{number}"
            if key not in basket.numbers:
                basket.numbers[key] = await _insist(session, key, basket)
                await asyncio.sleep(random.uniform(*PACE_S))


async def _insist(session: aiohttp.ClientSession, key: str, basket: Basket) -> int:
    wait_s, longest_s = BACKOFF_S
    while True:
        try:
            async with session.post(
                "/orders", json={"item": f"tea for {key}"}, headers={"Idempotency-Key": key}
            ) as response:
                basket.count(str(response.status))
                if response.status < 300:
                    return int((await response.json())["number"])
        except TimeoutError:
            basket.count("timeout")
        except aiohttp.ClientError:
            basket.count("lost")
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
        wait_s = min(2 * wait_s, longest_s)


async def keep_shop(world: toron.World, rules: Rules) -> None:
    """Orders over a lossy, partitioned link: all are answered in the end, none is taken twice."""
    orders = Orders()
    baskets = {name: Basket() for name in CLIENTS}

    async def shop() -> None:
        await Shop(orders, rules).serve()

    def is_answered() -> bool:
        return all(len(basket.numbers) == ORDERS_EACH for basket in baskets.values())

    world.host("shop").spawn(shop)
    for name in CLIENTS:
        world.host(name).spawn(order_all, name, baskets[name])
        world.net.link(name, "shop", latency=(0.002, 0.040), loss=0.03)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("no order is taken twice", lambda: not orders.has_repeats())
    world.eventually("every order is answered", is_answered, within=FAULTS_S + RECOVERY_S)
    while not is_answered() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    told = {key: number for basket in baskets.values() for key, number in basket.numbers.items()}
    world.always("each client was told its own number", told == orders.number_by_key)
    statuses = {name: basket.statuses for name, basket in baskets.items()}
    world.sometimes("an order was repeated", any("200" in each for each in statuses.values()))
    world.sometimes("the shop was overloaded", any("503" in each for each in statuses.values()))
    world.sometimes("an attempt timed out", any("timeout" in each for each in statuses.values()))
    world.record("taken", orders.taken)
    world.record("statuses", statuses)


@toron.kernel
async def aiohttp_retries(world: toron.World) -> None:
    await keep_shop(world, Rules())
