"""redis-py against a small Redis: pipelines, transactions, publish/subscribe, a blocked pop."""

import asyncio

import hostile
import redis.asyncio as redis

import toron


class SmallRedis:
    """RESP 2, and enough commands for the program below."""

    def __init__(self, kept):
        self.kept = kept
        self.subscribers = []
        self.pushed = asyncio.Condition()

    async def __call__(self, reader, writer):
        queued = None
        try:
            while True:
                words = await read_command(reader)
                name = words[0].upper()
                if name == "MULTI":
                    queued, reply = [], "+OK"
                elif name == "EXEC":
                    reply, queued = [await self.do(*words, writer) for words in queued], None
                elif queued is not None:
                    queued.append(words)
                    reply = "+QUEUED"
                else:
                    reply = await self.do(*words, writer)
                writer.write(encode(reply))
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def do(self, name, *words):
        *words, writer = words
        kept, name = self.kept, name.upper()
        if name == "SET":
            if "NX" in words and words[0] in kept:
                return None
            kept[words[0]] = words[1]
            return "+OK"
        if name == "GET":
            return kept.get(words[0])
        if name == "INCRBY":
            kept[words[0]] = str(int(kept.get(words[0], 0)) + int(words[1]))
            return int(kept[words[0]])
        if name == "LPUSH":
            async with self.pushed:
                kept.setdefault(words[0], [])[:0] = words[1:]
                self.pushed.notify_all()
            return len(kept[words[0]])
        if name == "BRPOP":
            async with self.pushed:
                await self.pushed.wait_for(lambda: kept.get(words[0]))
                return [words[0], kept[words[0]].pop()]
        if name in ("SUBSCRIBE", "PUBLISH"):
            return self.tell(name, words, writer)
        if name in ("CLIENT", "SELECT", "PING"):
            return "+OK"
        return ValueError(f"ERR unknown command '{name}'")

    def tell(self, name, words, writer):
        if name == "SUBSCRIBE":
            self.subscribers.append(writer)
            return ["subscribe", words[0], 1]
        for one in self.subscribers:
            one.write(encode(["message", words[0], words[1]]))
        return len(self.subscribers)


async def read_command(reader):
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode())
    return words


def encode(reply):
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, Exception):
        return f"-{reply}\r\n".encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(encode(one) for one in reply)
    if reply.startswith("+"):
        return f"{reply}\r\n".encode()
    return f"${len(reply.encode())}\r\n{reply}\r\n".encode()


def client(host, port, **options):
    return redis.Redis(host=host, port=port, protocol=2, decode_responses=True, **options)


async def main():
    server = await asyncio.start_server(SmallRedis({}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with client("127.0.0.1", port) as one:
        found = [await one.set("a", "ä"), await one.get("a"), await one.get("b")]
        found.append(await one.set("a", "z", nx=True))
        async with one.pipeline(transaction=True) as pipe:
            found.append(await pipe.incrby("n", 5).incrby("n", 37).get("n").execute())
        counted = await asyncio.gather(*(one.incrby("many", 1) for _ in range(20)))
        found.append(sorted(counted))
        popping = asyncio.create_task(one.brpop("list", timeout=0))
        await asyncio.sleep(0.05)
        found += [popping.done(), await one.lpush("list", "x"), list(await popping)]
        channel = one.pubsub(ignore_subscribe_messages=True)
        await channel.subscribe("news")
        while await channel.get_message(timeout=0.05):
            pass
        found.append(await one.publish("news", "hello"))
        found.append((await channel.get_message(timeout=5))["data"])
        await channel.aclose()
        try:
            await one.execute_command("NONSENSE")
        except redis.ResponseError as error:
            found.append(str(error))
    server.close()
    expected = [True, "ä", None, None, [5, 42, "42"], list(range(1, 21)), False, 1, ["list", "x"]]
    assert found[:9] == expected, found
    assert found[9:] == [1, "hello", "unknown command 'NONSENSE'"], found
    return found


async def serve(kept):
    async with await asyncio.start_server(
        SmallRedis(Numbers(kept)), "0.0.0.0", hostile.PORT
    ) as server:
        await server.serve_forever()


class Numbers:
    """The kept orders, as a Redis holds them: text."""

    def __init__(self, kept):
        self.kept = kept

    def __contains__(self, name):
        return name in self.kept

    def __setitem__(self, name, value):
        hostile.keep(self.kept, name, int(value))

    def get(self, name):
        return str(self.kept[name]) if name in self.kept else None


async def work(patient):
    async with client("server", hostile.PORT, socket_timeout=0.8) as one:

        async def place(name, value):
            await one.set(name, value, nx=True)
            return int(await one.get(name))

        return await patient.place_orders(place)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (redis.RedisError,))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (redis.RedisError,))
