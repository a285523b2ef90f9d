"""A device on a bus: when the bus is lost all ends, when only its sensor is, it is replaced."""

import asyncio
import random

import toron


class BusLost(Exception):
    pass


class SensorLost(Exception):
    pass


async def watch_bus(lost_after_s):
    await asyncio.sleep(lost_after_s)
    raise BusLost


async def read_sensor(lost_after_s):
    await asyncio.sleep(lost_after_s)
    raise SensorLost


async def log():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.003)  # flush


async def run_sensor(replaced):
    while True:
        try:
            async with asyncio.TaskGroup() as sensor:
                sensor.create_task(read_sensor(random.uniform(0.01, 0.05)))
                sensor.create_task(log())
        except* SensorLost:
            pass
        await replaced.wait()
        replaced.clear()


async def replace(replaced):
    for _ in range(10):
        await asyncio.sleep(random.uniform(0.02, 0.04))
        replaced.set()


@toron.kernel
async def main():
    replaced = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as device:
            device.create_task(watch_bus(random.uniform(0.1, 0.2)))
            device.create_task(replace(replaced))
            await run_sensor(replaced)
    except* BusLost:
        pass
