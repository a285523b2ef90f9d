"""Orders through a memory object stream; the consumer writes a report whenever none has come."""

import random

import anyio

import toron


async def consume(orders, handled, reports):
    async with orders:
        while True:
            order = None
            with anyio.move_on_after(0.01):
                try:
                    order = await orders.receive()
                except anyio.EndOfStream:
                    return
            if order is None:
                reports.append(len(handled))
            else:
                handled.append(order)


@toron.kernel
async def main():
    send, receive = anyio.create_memory_object_stream(5)
    handled, reports = [], []
    async with anyio.create_task_group() as group:
        group.start_soon(consume, receive, handled, reports)
        async with send:
            for order in range(15):
                await send.send(order)
                await anyio.sleep(0.005 * random.randint(0, 4))
    assert handled == list(range(15)), f"orders were lost: {handled}"
