"""Clients of an API with a limit of five requests a minute, which come at about the same time."""

import asyncio

import limits
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

import toron

LIMIT = limits.parse("5/minute")


async def client(limiter):
    await asyncio.sleep(0.01)  # log in
    return await limiter.hit(LIMIT, "api")


@toron.kernel
async def main():
    limiter = MovingWindowRateLimiter(MemoryStorage())
    allowed = sum(await asyncio.gather(*(client(limiter) for _ in range(20))))
    assert allowed == 5, f"{allowed} requests were allowed"
