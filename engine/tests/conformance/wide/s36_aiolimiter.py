"""aiolimiter and asyncio-throttle: rates that hold."""

import asyncio

from aiolimiter import AsyncLimiter
from asyncio_throttle import Throttler


async def main():
    loop = asyncio.get_running_loop()

    async def timed(limiter, count):
        begin = loop.time()

        async def one():
            async with limiter:
                return loop.time() - begin

        return max(await asyncio.gather(*(one() for _ in range(count))))

    leaky = await timed(AsyncLimiter(5, 0.2), 10)
    window = await timed(Throttler(rate_limit=3, period=0.2), 7)
    assert 0.15 < leaky < 0.5
    assert 0.35 < window < 0.8
    return [round(leaky, 1), round(window, 1)]
