"""Wall clocks, dates, uuids and random draws used by a program as it goes: shapes, not values."""

import asyncio
import datetime
import random
import secrets
import time
import uuid


async def main():
    begin = [time.time(), time.monotonic(), time.perf_counter(), time.time_ns() / 1e9]
    before = datetime.datetime.now(datetime.UTC)
    await asyncio.sleep(0.25)
    end = [time.time(), time.monotonic(), time.perf_counter(), time.time_ns() / 1e9]
    passed = [round(b - a, 1) for a, b in zip(begin, end, strict=True)]
    lasted = round((datetime.datetime.now(datetime.UTC) - before).total_seconds(), 1)
    names = {str(uuid.uuid4()) for _ in range(20)} | {secrets.token_hex(16) for _ in range(20)}
    drawn = random.Random(7).sample(range(100), 5)
    time.sleep(0.05)
    slept = round(time.monotonic() - end[1], 2) >= 0.05
    assert len(names) == 40
    assert set(passed) <= {0.2, 0.3}
    assert lasted in {0.2, 0.3}
    return [drawn, len(names), slept, str(uuid.uuid5(uuid.NAMESPACE_DNS, "toron"))]
