"""anyio: a TCP listener (sock_accept), worker threads, task groups, streams, cancellation."""

import json

import anyio
import anyio.from_thread
import anyio.to_thread
import hostile
from anyio.streams.buffered import BufferedByteReceiveStream

import toron


async def shout(stream):
    async with stream:
        async for chunk in stream:
            await stream.send(chunk.upper())


async def talk(port, word, answers):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(word.encode())
        await stream.send_eof()
        answers[word] = b"".join([chunk async for chunk in stream]).decode()


def in_a_thread(number):
    return [number, anyio.from_thread.run(anyio.sleep, 0), anyio.from_thread.run_sync(abs, -number)]


async def produce_and_consume():
    send, receive = anyio.create_memory_object_stream(2)
    taken = []

    async def consume():
        async with receive:
            taken.extend([item async for item in receive])

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        async with send:
            for number in range(6):
                await send.send(number)
    return taken


async def main():
    answers = {}
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, shout)
        async with anyio.create_task_group() as clients:
            for word in ("one", "two", "three"):
                clients.start_soon(talk, port, word, answers)
        group.cancel_scope.cancel()
    await listener.aclose()
    threads = [await anyio.to_thread.run_sync(in_a_thread, number) for number in (3, 4)]
    taken = await produce_and_consume()
    with anyio.move_on_after(0.05) as scope:
        await anyio.sleep_forever()
    failed = []
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise ValueError("inside")
    except* ValueError as errors:
        failed = [str(error) for error in errors.exceptions]
    assert answers == {"one": "ONE", "two": "TWO", "three": "THREE"}, answers
    assert threads == [[3, None, 3], [4, None, 4]]
    return [sorted(answers.items()), threads, taken, scope.cancelled_caught, failed]


async def serve(kept):
    async def take(stream):
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            try:
                while True:
                    name, value = json.loads(await lines.receive_until(b"\n", 1000))
                    await stream.send(b"%d\n" % hostile.keep(kept, name, value))
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                return

    listener = await anyio.create_tcp_listener(local_host="0.0.0.0", local_port=hostile.PORT)
    await listener.serve(take)


async def work(patient):
    async def place(name, value):
        async with await anyio.connect_tcp("server", hostile.PORT) as stream:
            await stream.send(json.dumps([name, value]).encode() + b"\n")
            return int(await BufferedByteReceiveStream(stream).receive_until(b"\n", 100))

    return await patient.place_orders(place)


ERRORS = (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, ERRORS)


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, ERRORS)
