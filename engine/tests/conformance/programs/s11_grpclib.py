"""grpclib: the four kinds of call with JSON messages, an error, a deadline, an interceptor."""

import asyncio
import json

import hostile
from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.events import RecvRequest, listen
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server

import toron


class JsonCodec(CodecBase):
    """Messages without a compiler: JSON values."""

    __content_subtype__ = "json"

    def encode(self, message, _type):
        return json.dumps(message).encode()

    def decode(self, raw, _type):
        return json.loads(raw)


class Calculator:
    async def square(self, stream):
        number = await stream.recv_message()
        if number < 0:
            raise GRPCError(Status.INVALID_ARGUMENT, "negative")
        await stream.send_message(number * number)

    async def count(self, stream):
        for number in range(await stream.recv_message()):
            await stream.send_message(number)

    async def total(self, stream):
        await stream.send_message(sum([number async for number in stream]))

    async def echo(self, stream):
        async for word in stream:
            await stream.send_message(word[::-1])

    async def sleep(self, stream):
        await asyncio.sleep(await stream.recv_message())
        await stream.send_message("slept")

    def __mapping__(self):
        kinds = {
            "square": Cardinality.UNARY_UNARY,
            "sleep": Cardinality.UNARY_UNARY,
            "count": Cardinality.UNARY_STREAM,
            "total": Cardinality.STREAM_UNARY,
            "echo": Cardinality.STREAM_STREAM,
        }
        return {
            f"/Calculator/{name}": Handler(getattr(self, name), kind, object, object)
            for name, kind in kinds.items()
        }


async def main():
    server, seen = Server([Calculator()], codec=JsonCodec()), []

    async def notice(event):
        seen.append(event.metadata.get("who"))

    listen(server, RecvRequest, notice)
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]
    async with Channel("127.0.0.1", port, codec=JsonCodec()) as channel:

        def call(kind, name):
            return kind(channel, f"/Calculator/{name}", object, object)

        square = call(UnaryUnaryMethod, "square")
        found = [await square(7, metadata={"who": "ann"})]
        found.append(await call(UnaryStreamMethod, "count")(5))
        found.append(await call(StreamUnaryMethod, "total")([1, 2, 39]))
        found.append(await call(StreamStreamMethod, "echo")(["abc", "def"]))
        found.append(await asyncio.gather(*(square(number) for number in range(10))))
        try:
            await square(-1)
        except GRPCError as error:
            found.append([error.status.name, error.message])
        try:
            await call(UnaryUnaryMethod, "sleep")(30, timeout=0.1)
        except (TimeoutError, GRPCError):
            found.append("deadline")
    server.close()
    await server.wait_closed()
    assert found[:4] == [49, [0, 1, 2, 3, 4], 42, ["cba", "fed"]], found
    assert found[4:] == [[n * n for n in range(10)], ["INVALID_ARGUMENT", "negative"], "deadline"]
    return [found, seen[0], len(seen)]


async def serve(kept):
    class Orders:
        async def place(self, stream):
            name, value = await stream.recv_message()
            await stream.send_message(hostile.keep(kept, name, value))

        def __mapping__(self):
            kind = Cardinality.UNARY_UNARY
            return {"/Orders/place": Handler(self.place, kind, object, object)}

    server = Server([Orders()], codec=JsonCodec())
    await server.start("0.0.0.0", hostile.PORT)
    await server.wait_closed()


async def work(patient):
    channel = Channel("server", hostile.PORT, codec=JsonCodec())

    async def place(name, value):
        nonlocal channel
        method = UnaryUnaryMethod(channel, "/Orders/place", object, object)
        try:
            return await method([name, value], timeout=0.8)
        except BaseException:
            channel.close()
            channel = Channel("server", hostile.PORT, codec=JsonCodec())
            raise

    answers = await patient.place_orders(place)
    channel.close()
    return answers


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, (GRPCError, StreamTerminatedError))


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, (GRPCError, StreamTerminatedError))
