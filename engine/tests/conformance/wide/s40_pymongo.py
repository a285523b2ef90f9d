"""pymongo's asynchronous client (with its monitor tasks) against a small OP_MSG server."""

import asyncio
import struct

import bson
from pymongo import AsyncMongoClient
from pymongo.errors import DuplicateKeyError

HELLO = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "maxWireVersion": 21,
    "minWireVersion": 0,
    "maxBsonObjectSize": 16777216,
    "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000,
    "helloOk": True,
}


class SmallMongo:
    def __init__(self):
        self.documents = {}

    async def __call__(self, reader, writer):
        try:
            while True:
                size, number, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(size - 16)
                if code == 2004:  # OP_QUERY, which only says hello
                    payload = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(HELLO)
                    answer = 1
                else:
                    payload = bytes(5) + bson.encode(self.execute(self.command(body)))
                    answer = 2013
                writer.write(struct.pack("<iiii", 16 + len(payload), 1, number, answer) + payload)
        except (OSError, EOFError):
            pass
        writer.close()

    @staticmethod
    def command(body):
        size = struct.unpack_from("<i", body, 5)[0]
        command = bson.decode(body[5 : 5 + size])
        at = 5 + size
        while at < len(body) and body[at] == 1:
            size = struct.unpack_from("<i", body, at + 1)[0]
            name, documents = body[at + 5 : at + 1 + size].split(b"\0", 1)
            command[name.decode()] = bson.decode_all(documents)
            at += 1 + size
        return command

    def execute(self, command):
        if "hello" in command or "ismaster" in command:
            return HELLO
        if "insert" in command:
            for document in command["documents"]:
                if document["_id"] in self.documents:
                    error = {"index": 0, "code": 11000, "errmsg": "duplicate", "keyPattern": {}}
                    return {"ok": 1.0, "n": 0, "writeErrors": [error]}
                self.documents[document["_id"]] = document
            return {"ok": 1.0, "n": len(command["documents"])}
        if "find" in command:
            batch = list(self.documents.values())
            return {"ok": 1.0, "cursor": {"id": 0, "ns": "d.c", "firstBatch": batch}}
        return {"ok": 1.0}


async def main():
    server = await asyncio.start_server(SmallMongo(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AsyncMongoClient("127.0.0.1", port, serverSelectionTimeoutMS=5000) as client:
        things = client.d.c
        await things.insert_many([{"_id": n, "name": f"thing {n}"} for n in range(3)])
        found = [dict(document) async for document in things.find({})]
        try:
            await things.insert_one({"_id": 1})
        except DuplicateKeyError as error:
            found.append(error.code)
    server.close()
    assert found[1:] == [{"_id": 1, "name": "thing 1"}, {"_id": 2, "name": "thing 2"}, 11000]
    return found
