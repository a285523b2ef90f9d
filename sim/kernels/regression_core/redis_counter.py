"""redis-py counts visits and orders on a stand-in Redis, with its own pool, reconnects and retries.

redis-py repeats a command whose answer was lost, so INCR counts at least once: never less than was
confirmed, and more only for what was lost. An order must count exactly once, which takes a
transaction: WATCH a mark of the order, and set mark and counter together.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

import toron
from sim.kernels.standins.redis import Keyspace, serve_redis

CLIENTS = ("ola", "pia")
ORDERS_EACH = 6
VISITS_AN_ORDER = 2
CONNECTIONS_MAX = 2
FAULTS_S = 6.0
RECOVERY_S = 14.0
ANSWER_S = 0.3
RETRIES = 2
PACE_S = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps orders single. Tests break it and Toron must notice."""

    orders_are_marked: bool = True


@dataclass(slots=True)
class Till:
    """What one client keeps: the orders confirmed, and what it was told about visits."""

    orders: list[str] = field(default_factory=list)
    visits_confirmed: int = 0
    calls_failed: int = 0
    races: int = 0


class Client:
    """One client between two power cuts."""

    def __init__(self, name: str, till: Till, rules: Rules) -> None:
        self._name = name
        self._till = till
        self._rules = rules
        pool = BlockingConnectionPool(
            host="redis",
            max_connections=CONNECTIONS_MAX,
            timeout=ANSWER_S,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(EqualJitterBackoff(cap=0.5, base=0.05), RETRIES),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
            decode_responses=True,
        )
        self._redis = Redis(connection_pool=pool)

    async def work(self) -> None:
        for number in range(ORDERS_EACH):
            order = f"{self._name}-{number}"
            if order not in self._till.orders:
                await asyncio.gather(*(self._visit() for _ in range(VISITS_AN_ORDER)))
                await self._insist(order)
                self._till.orders.append(order)
                await asyncio.sleep(random.uniform(*PACE_S))
        await self._redis.aclose()

    async def _visit(self) -> None:
        """Count a visit if that succeeds within redis-py's own retries."""
        try:
            await self._redis.incr("visits")
        except RedisError:
            self._till.calls_failed += 1
        else:
            self._till.visits_confirmed += 1

    async def _insist(self, order: str) -> None:
        while True:
            try:
                await self._count(order)
            except WatchError:
                self._till.races += 1
            except RedisError:
                self._till.calls_failed += 1
                await asyncio.sleep(random.uniform(0.05, 0.3))
            else:
                return

    async def _count(self, order: str) -> None:
        """Count ``order`` unless its mark says that an earlier attempt did."""
        if not self._rules.orders_are_marked:
            await self._redis.incr("orders")
            return
        async with self._redis.pipeline(transaction=True) as transaction:
            await transaction.watch(f"mark:{order}", "orders")
            if await transaction.exists(f"mark:{order}"):
                return
            transaction.multi()  # type: ignore[no-untyped-call]  # redis-py left it untyped
            transaction.set(f"mark:{order}", "counted")
            transaction.incr("orders")
            await transaction.execute()


async def count_orders(world: toron.World, rules: Rules) -> None:
    """Counting through faults: an order counts once, a visit at least as often as confirmed."""
    keyspace = Keyspace()
    tills = {name: Till() for name in CLIENTS}

    async def server() -> None:
        await serve_redis(keyspace)

    async def client(name: str) -> None:
        await Client(name, tills[name], rules).work()

    def counted(key: str) -> int:
        return int(keyspace.values.get(key, "0"))

    def is_done() -> bool:
        return all(len(till.orders) == ORDERS_EACH for till in tills.values())

    world.host("redis").spawn(server)
    for name in CLIENTS:
        world.host(name).spawn(client, name)
        world.net.link(name, "redis", latency=(0.001, 0.030), loss=0.03)
    world.faults(partitions=True, crashes=True, loss=True, slow=True, resets=True, within=FAULTS_S)
    world.always("no order counts twice", lambda: counted("orders") <= ORDERS_EACH * len(CLIENTS))
    world.always(
        "a confirmed visit is counted",
        lambda: counted("visits") >= sum(till.visits_confirmed for till in tills.values()),
    )
    world.eventually("every order is confirmed", is_done, within=FAULTS_S + RECOVERY_S)
    while not is_done() and world.now < FAULTS_S + RECOVERY_S + 1:
        await world.sleep(0.25)
    world.always("every order counts", counted("orders") == ORDERS_EACH * len(CLIENTS))
    confirmed = sum(till.visits_confirmed for till in tills.values())
    world.sometimes("a call failed after all retries", any(t.calls_failed for t in tills.values()))
    world.sometimes("a visit counted twice", counted("visits") > confirmed)
    world.sometimes("two transactions met", any(till.races for till in tills.values()))
    world.record("orders", counted("orders"))
    world.record("visits", {"counted": counted("visits"), "confirmed": confirmed})
    world.record("calls_failed", {name: till.calls_failed for name, till in tills.items()})
    world.record("races", {name: till.races for name, till in tills.items()})


@toron.kernel
async def redis_counter(world: toron.World) -> None:
    await count_orders(world, Rules())
