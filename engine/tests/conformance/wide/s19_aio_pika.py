"""aio-pika against a small AMQP broker: declare, publish with confirms, consume, acknowledge."""

import asyncio

import aio_pika
import pamqp.commands as c
import pamqp.frame
from pamqp import body, header


class Broker:
    def __init__(self):
        self.acknowledged = []

    async def __call__(self, reader, writer):
        assert (await reader.readexactly(8))[:4] == b"AMQP"
        self.queue, self.sent, self.tag = None, 0, 0
        self.reply(
            writer,
            0,
            c.Connection.Start(
                mechanisms="PLAIN", server_properties={"capabilities": {"publisher_confirms": True}}
            ),
        )
        raw = b""
        try:
            while chunk := await reader.read(65536):
                raw += chunk
                while raw and (found := self.parse(raw)):
                    size, channel, frame = found
                    raw = raw[size:]
                    self.handle(writer, channel, frame)
        except OSError:
            pass
        writer.close()

    @staticmethod
    def parse(raw):
        if len(raw) < 7 or len(raw) < 8 + int.from_bytes(raw[3:7], "big"):
            return None
        return pamqp.frame.unmarshal(raw)

    @staticmethod
    def reply(writer, channel, frame):
        writer.write(pamqp.frame.marshal(frame, channel))

    def handle(self, writer, channel, frame):
        answers = {
            "Connection.StartOk": lambda: c.Connection.Tune(0, 131072, 0),
            "Connection.Open": c.Connection.OpenOk,
            "Connection.Close": c.Connection.CloseOk,
            "Channel.Open": c.Channel.OpenOk,
            "Channel.Close": c.Channel.CloseOk,
            "Confirm.Select": c.Confirm.SelectOk,
            "Queue.Declare": lambda: c.Queue.DeclareOk(frame.queue, 0, 0),
            "Basic.Consume": lambda: c.Basic.ConsumeOk(frame.consumer_tag),
            "Basic.Cancel": lambda: c.Basic.CancelOk(frame.consumer_tag),
            "Basic.Qos": c.Basic.QosOk,
        }
        if frame.name in answers:
            self.reply(writer, channel, answers[frame.name]())
        if frame.name == "Basic.Consume":
            self.consumer = channel, frame.consumer_tag
        elif frame.name == "Basic.Publish":
            self.route = frame.routing_key
        elif frame.name == "Basic.Ack":
            self.acknowledged.append(frame.delivery_tag)
        elif isinstance(frame, header.ContentHeader):
            self.header = frame
        elif isinstance(frame, body.ContentBody):
            self.tag += 1
            self.reply(writer, channel, c.Basic.Ack(self.tag, False))
            to, consumer = self.consumer
            self.reply(writer, to, c.Basic.Deliver(consumer, self.tag, False, "", self.route))
            self.reply(writer, to, self.header)
            self.reply(writer, to, frame)


async def main():
    broker = Broker()
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    heard = []
    async with await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/") as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("tea")

        async def hear(message):
            async with message.process():
                heard.append(message.body.decode())

        await queue.consume(hear)
        for number in range(4):
            message = aio_pika.Message(f"cup {number}".encode())
            await channel.default_exchange.publish(message, routing_key="tea")
        while len(broker.acknowledged) < 4:
            await asyncio.sleep(0.01)
    server.close()
    assert heard == [f"cup {n}" for n in range(4)]
    return [heard, broker.acknowledged]
