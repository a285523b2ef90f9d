"""Flow control: `drain` waits while nobody reads, buffers stay bounded, all bytes arrive."""

import asyncio
import hashlib
import json

import hostile

import toron

SIZE, CHUNK = 64 * 1024 * 1024, 64 * 1024


async def main():
    may_read, digest = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def take(reader, writer):
        await may_read.wait()
        summed, size = hashlib.sha256(), 0
        while chunk := await reader.read(1 << 20):
            summed.update(chunk)
            size += len(chunk)
        digest.set_result([size, summed.hexdigest()])
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    high = writer.transport.get_write_buffer_limits()[1]
    sent, biggest, summed = 0, 0, hashlib.sha256()

    async def push():
        nonlocal sent, biggest
        while sent < SIZE:
            chunk = bytes([sent // CHUNK % 251]) * CHUNK
            summed.update(chunk)
            writer.write(chunk)
            biggest = max(biggest, writer.transport.get_write_buffer_size())
            await writer.drain()
            sent += CHUNK

    pushing = asyncio.create_task(push())
    await asyncio.sleep(0.5)
    waited = not pushing.done()
    stuck_at = sent
    assert waited, "drain never waited although nobody reads"
    assert stuck_at < SIZE // 2, f"{stuck_at} bytes left with nobody reading"
    may_read.set()
    await pushing
    writer.write_eof()
    size, received = await digest
    assert (size, received) == (SIZE, summed.hexdigest())
    assert biggest <= high + CHUNK, f"the buffer grew to {biggest}, its limit is {high}"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return {"waited": waited, "limit": high, "size": size, "digest": received}


async def serve(kept):
    async def take(reader, writer):
        try:
            header = json.loads(await reader.readline())
            body = await reader.readexactly(header["size"])
            assert body == bytes([header["value"] % 256]) * header["size"]
            await asyncio.sleep(0.01)
            writer.write(b"%d\n" % hostile.keep(kept, header["name"], header["value"]))
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(take, "0.0.0.0", hostile.PORT) as server:
        await server.serve_forever()


async def work(patient):
    async def place(name, value):
        reader, writer = await asyncio.open_connection("server", hostile.PORT)
        try:
            header = {"name": name, "value": value, "size": 600_000}
            writer.write(json.dumps(header).encode() + b"\n")
            for _ in range(6):
                writer.write(bytes([value % 256]) * 100_000)
                await writer.drain()
            line = await reader.readline()
            if not line:
                raise EOFError
            return int(line)
        finally:
            writer.close()

    return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work)


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work)
