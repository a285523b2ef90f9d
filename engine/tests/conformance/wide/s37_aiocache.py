"""aiocache and async-lru: time to live, one computation for many that wait."""

import asyncio

from aiocache import SimpleMemoryCache, cached
from async_lru import alru_cache


async def main():
    calls = []

    @alru_cache(maxsize=2)
    async def square(n):
        calls.append(n)
        await asyncio.sleep(0.01)
        return n * n

    squares = await asyncio.gather(*(square(n) for n in (2, 2, 3, 2)))
    cache = SimpleMemoryCache()
    await cache.set("k", "v", ttl=0.1)
    found = [await cache.get("k")]
    await asyncio.sleep(0.2)
    found.append(await cache.get("k", "gone"))

    @cached(ttl=10)
    async def once(n):
        calls.append(f"once {n}")
        return n

    found += [await once(1), await once(1)]
    calls = sorted(map(str, calls))
    assert (squares, calls) == ([4, 4, 9, 4], ["2", "3", "once 1"])
    return [squares, calls, found, square.cache_info().hits]
