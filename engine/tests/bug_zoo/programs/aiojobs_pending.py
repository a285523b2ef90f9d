"""Jobs of requests on a scheduler; a request whose client has gone is cancelled."""

import asyncio
import random

import aiojobs

import toron


async def job(finished, number):
    await asyncio.sleep(random.uniform(0.01, 0.03))
    finished.append(number)


async def request(scheduler, finished, number):
    await asyncio.sleep(random.uniform(0, 0.02))
    await scheduler.spawn(job(finished, number))


@toron.kernel
async def main():
    scheduler = await aiojobs.create_scheduler(limit=2, pending_limit=2)
    finished = []
    requests = [asyncio.create_task(request(scheduler, finished, n)) for n in range(8)]
    for gone in random.sample(requests, 3):
        await asyncio.sleep(random.uniform(0, 0.02))
        gone.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await asyncio.sleep(1)
    async with asyncio.timeout(30):
        await scheduler.close()
    return sorted(finished)
