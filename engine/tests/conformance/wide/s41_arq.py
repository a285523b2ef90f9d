"""arq: a burst worker takes jobs from a small Redis (that of s12, with sorted sets)."""

import asyncio
import sys
from pathlib import Path

import arq
from arq.connections import RedisSettings
from arq.worker import Worker, func

sys.path.insert(0, str(Path(__file__).parents[1] / "programs"))

import s12_redis

FIXED = {"INCR": 1, "EXPIRE": 1, "PEXPIRE": 1, "WATCH": "+OK", "UNWATCH": "+OK", "DBSIZE": 0}
INFO = "redis_version:7.0.0\r\nused_memory_human:1M\r\nconnected_clients:1\r\n"


async def read_command(reader):
    """As there, with values that are not text."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode("latin-1"))
    return words


def encode(reply):
    if reply is None:
        return b"_\r\n"
    if isinstance(reply, float):
        return f",{reply}\r\n".encode()
    if isinstance(reply, dict):
        flat = [part for pair in reply.items() for part in pair]
        return b"%%%d\r\n" % len(reply) + b"".join(encode(one) for one in flat)
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(encode(one) for one in reply)
    if isinstance(reply, str) and not reply.startswith("+"):
        return b"$%d\r\n%s\r\n" % (len(reply), reply.encode("latin-1"))
    return s12_redis_encode(reply)


s12_redis_encode = s12_redis.encode


class Redis(s12_redis.SmallRedis):
    async def do(self, name, *words):
        (*given, _), kept, name = words, self.kept, name.upper()
        if name == "HELLO":
            return {"server": "redis", "proto": 3}
        if name in FIXED:
            return FIXED[name]
        if name in ("PSETEX", "SETEX"):
            kept[given[0]] = given[2]
            return "+OK"
        if name == "SET":
            kept[given[0]] = given[1]
            return "+OK"
        if name in ("EXISTS", "DEL"):
            count = sum(word in kept for word in given)
            for word in given if name == "DEL" else ():
                kept.pop(word, None)
            return count
        if name == "INFO":
            return INFO
        if name.startswith("Z"):
            return self.sorted_set(name, kept.setdefault(given[0], {}), given[1:])
        return await super().do(name, *words)

    def sorted_set(self, name, members, given):
        if name == "ZADD":
            members[given[-1]] = given[-2]
            return 1
        if name == "ZSCORE":
            return float(members[given[0]]) if given[0] in members else None
        if name == "ZREM":
            return int(members.pop(given[0], None) is not None)
        return list(members) if name.startswith("ZRANGE") else len(members)


async def main():
    s12_redis.read_command, s12_redis.encode = read_command, encode
    done = []

    async def double(_context, n):
        done.append(n)
        return 2 * n

    server = await asyncio.start_server(Redis({}), "127.0.0.1", 0)
    settings = RedisSettings(port=server.sockets[0].getsockname()[1])
    pool = await arq.create_pool(settings)
    jobs = [await pool.enqueue_job("double", n, _job_id=f"job{n}") for n in range(3)]
    worker = Worker(
        [func(double, name="double")],
        redis_pool=pool,
        burst=True,
        poll_delay=0.05,
        handle_signals=True,
    )
    await worker.main()
    results = [await job.result(timeout=5, poll_delay=0.05) for job in jobs]
    await worker.close()
    server.close()
    assert (sorted(done), results) == ([0, 1, 2], [0, 2, 4])
    return [sorted(done), results]
