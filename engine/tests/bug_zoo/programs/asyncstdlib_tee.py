"""One feed of prices for two readers of different speed, shared by `tee`."""

import asyncio
import random

import asyncstdlib

import toron


class Feed:
    """Prices as they come; several may wait for the next one."""

    def __init__(self, prices):
        self.prices = prices

    def __aiter__(self):
        return self

    async def __anext__(self):
        price = await self.prices.get()
        if price is None:
            self.prices.put_nowait(None)  # whoever else waits has to hear it too
            raise StopAsyncIteration
        return price


async def read(prices):
    seen = []
    async for price in prices:
        await asyncio.sleep(random.uniform(0, 0.01))
        seen.append(price)
    return seen


async def publish(prices):
    for price in range(10):
        await asyncio.sleep(random.uniform(0, 0.01))
        prices.put_nowait(price)
    prices.put_nowait(None)


@toron.kernel
async def main():
    prices = asyncio.Queue()
    one, two = asyncstdlib.tee(Feed(prices), n=2)
    seen_by_one, seen_by_two, _ = await asyncio.gather(read(one), read(two), publish(prices))
    assert seen_by_one == seen_by_two == list(range(10)), f"{seen_by_one} and {seen_by_two}"
