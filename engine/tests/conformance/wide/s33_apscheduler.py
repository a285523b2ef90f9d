"""APScheduler: an interval job and a date job, both by the wall clock."""

import asyncio
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler


async def main():
    log = []

    async def tick():
        log.append("tick")

    scheduler = AsyncIOScheduler(timezone=UTC)
    now = datetime.now(UTC)
    scheduler.add_job(tick, "interval", seconds=0.2, max_instances=3)
    scheduler.add_job(log.append, "date", run_date=now + timedelta(seconds=0.5), args=["once"])
    scheduler.start()
    await asyncio.sleep(1.1)
    scheduler.shutdown()
    assert (log.count("tick"), log.count("once")) == (5, 1), log
    return log
