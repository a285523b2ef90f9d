"""Dask: a scheduler, two workers and a client in one process; a small graph."""

import dask
from distributed import Client, Scheduler, Worker

dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})


async def main():
    options = {"dashboard_address": None, "protocol": "tcp"}
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, **options) as scheduler:
        workers = [Worker(scheduler.address, host="127.0.0.1", nthreads=1) for _ in range(2)]
        async with workers[0], workers[1]:
            async with Client(scheduler.address, asynchronous=True) as client:
                squares = client.map(pow, range(6), [2] * 6)
                total = await client.submit(sum, squares)
                found = await client.gather(squares)
    assert (found, total) == ([0, 1, 4, 9, 16, 25], 55)
    return [found, total]
