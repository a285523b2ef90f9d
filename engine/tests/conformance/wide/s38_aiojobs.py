"""aiojobs: a scheduler with a limit, jobs that wait, one that fails."""

import asyncio

import aiojobs


async def main():
    running, most, failed = 0, 0, []
    scheduler = aiojobs.Scheduler(
        limit=3, exception_handler=lambda _s, context: failed.append(str(context["exception"]))
    )

    async def work(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        if number == 5:
            raise ValueError("five")
        return number

    jobs = [await scheduler.spawn(work(number)) for number in range(8)]
    results = [await job.wait() for job in jobs[:5]]
    await asyncio.sleep(0.2)
    await scheduler.close()
    assert (results, most, failed) == ([0, 1, 2, 3, 4], 3, ["five"])
    return [results, most, failed]
