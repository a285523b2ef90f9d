"""asyncio streams: lines, exact reads, half close, many connections, a limit, a cancelled read."""

import asyncio
import json

import hostile

import toron


async def shout(reader, writer):
    """Answer each line in capitals until the end, then say how many there were."""
    count = 0
    async for line in reader:
        count += 1
        writer.write(line.upper())
        await writer.drain()
    writer.write(b"%d lines\n" % count)
    writer.close()
    await writer.wait_closed()


async def talk(port, words):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for word in words:
        writer.write(f"{word}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.write_eof()
    rest = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return [*answers, rest]


async def read_in_pieces(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"abcdef\nghi\n")
    found = [await reader.readexactly(3), await reader.readuntil(b"\n")]
    writer.write_eof()
    try:
        await reader.readexactly(1000)
    except asyncio.IncompleteReadError as error:
        found += [error.partial, error.expected]
    assert reader.at_eof()
    writer.close()
    await writer.wait_closed()
    return found


async def wait_in_vain(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.wait_for(reader.readline(), 0.05)
    except TimeoutError:
        return "timed out"
    finally:
        writer.close()
        await writer.wait_closed()


async def too_long(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16)
    writer.write(b"x" * 100 + b"\n")
    try:
        await reader.readline()
    except ValueError as error:
        return str(error)
    finally:
        writer.close()
        await writer.wait_closed()


async def refused(port):
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return "refused"


async def main():
    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        many = await asyncio.gather(*(talk(port, [f"word {n}", "end"]) for n in range(5)))
        assert many[3] == ["WORD 3", "END", "2 lines\n"]
        pieces = await read_in_pieces(port)
        assert pieces == [b"ABC", b"DEF\n", b"GHI\n2 lines\n", 1000]
        in_vain = await wait_in_vain(port)
        long = await too_long(port)
    await server.wait_closed()
    return [many, [str(piece) for piece in pieces], in_vain, long, await refused(port)]


async def serve(kept):
    async def take(reader, writer):
        try:
            async for line in reader:
                name, value = json.loads(line)
                writer.write(json.dumps(hostile.keep(kept, name, value)).encode() + b"\n")
                await writer.drain()
        except OSError:  # a client that gave up
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(take, "0.0.0.0", hostile.PORT) as server:
        await server.serve_forever()


async def work(patient):
    async def place(name, value):
        reader, writer = await asyncio.open_connection("server", hostile.PORT)
        try:
            writer.write(json.dumps([name, value]).encode() + b"\n")
            line = await reader.readline()
            if not line:
                raise EOFError
            return json.loads(line)
        finally:
            writer.close()

    return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work)


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work)
