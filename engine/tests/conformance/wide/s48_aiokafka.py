"""aiokafka: a producer and a consumer against a broker of one topic, made of its own structures.

Without the library's C extension, which reads the real clock for the times of messages.
"""

import asyncio
import os
from io import BytesIO

os.environ["AIOKAFKA_NO_EXTENSIONS"] = "1"

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.protocol.admin import ApiVersionRequest_v0
from aiokafka.protocol.api import RequestHeader_v1
from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.protocol.metadata import MetadataRequest_v1
from aiokafka.protocol.offset import OffsetRequest_v1
from aiokafka.protocol.produce import ProduceRequest_v3

TOPIC = "orders"
KNOWN = {
    one.API_KEY: one
    for one in (
        ProduceRequest_v3,
        FetchRequest_v4,
        OffsetRequest_v1,
        MetadataRequest_v1,
        ApiVersionRequest_v0,
    )
}
LAST_OFFSET_DELTA = slice(23, 27)


class Broker:
    def __init__(self):
        self.batches, self.end, self.port = [], 0, 0

    async def start(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def serve(self, reader, writer):
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                frame = BytesIO(await reader.readexactly(size))
                fields = [field.decode(frame) for field in RequestHeader_v1.SCHEMA.fields]
                api_key, version, correlation_id, _ = fields
                assert version == KNOWN[api_key].API_VERSION, fields
                request = KNOWN[api_key].decode(frame)
                answer = getattr(self, f"on_{api_key}")(request)
                if api_key == FetchRequest_v4.API_KEY and not answer[1][0][1][0][-1]:
                    await asyncio.sleep(0.05)
                body = request.RESPONSE_TYPE(*answer).encode()
                body = correlation_id.to_bytes(4, "big") + body
                writer.write(len(body).to_bytes(4, "big") + body)
        except asyncio.IncompleteReadError:
            writer.close()

    def on_0(self, request):
        first = self.end
        [(topic, [(partition, batch)])] = request.topics
        self.batches.append((first, batch))
        self.end += int.from_bytes(batch[LAST_OFFSET_DELTA], "big") + 1
        return [[(topic, [(partition, 0, first, -1)])], 0]

    def on_1(self, request):
        [(topic, [(partition, offset, _)])] = request.topics
        wanted = [
            first.to_bytes(8, "big") + batch[8:] for first, batch in self.batches if first >= offset
        ]
        return [0, [(topic, [(partition, 0, self.end, self.end, [], b"".join(wanted))])]]

    def on_2(self, request):
        [(topic, [(partition, timestamp)])] = request.topics
        return [[(topic, [(partition, 0, -1, self.end if timestamp == -1 else 0)])]]

    def on_3(self, _request):
        partitions = [(0, 0, 1, [1], [1])]
        return [[(1, "127.0.0.1", self.port, None)], 1, [(0, TOPIC, False, partitions)]]

    def on_18(self, _request):
        return [0, [(key, one.API_VERSION, one.API_VERSION) for key, one in KNOWN.items()]]


async def main():
    broker = Broker()
    server = await broker.start()
    where = f"127.0.0.1:{broker.port}"
    producer = AIOKafkaProducer(bootstrap_servers=where, enable_idempotence=False, linger_ms=5)
    await producer.start()
    sent = [await producer.send_and_wait(TOPIC, b"first", key=b"0")]
    waiting = [await producer.send(TOPIC, f"order {number}".encode()) for number in range(5)]
    sent += await asyncio.gather(*waiting)
    consumer = AIOKafkaConsumer(bootstrap_servers=where, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(TOPIC, 0)])
    found = [await consumer.getone() for _ in range(6)]
    late = asyncio.create_task(consumer.getone())
    await asyncio.sleep(0.2)
    await producer.send_and_wait(TOPIC, b"last")
    found.append(await late)
    await consumer.stop()
    await producer.stop()
    server.close()
    offsets = [one.offset for one in sent]
    values = [[one.offset, one.value.decode()] for one in found]
    assert offsets == list(range(6))
    assert [one.key for one in found[:2]] == [b"0", None]
    assert values[-1] == [6, "last"]
    return [offsets, values]
