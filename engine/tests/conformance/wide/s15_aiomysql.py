"""aiomysql against a small MySQL: the handshake, a query, an error, a pool."""

import asyncio
import struct

import aiomysql

OK = b"\x00\x00\x00\x02\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"


def coded(value):
    return bytes([len(value)]) + value


def column(name, kind):
    head = b"".join(map(coded, (b"def", b"", b"", b"", name, name)))
    return head + b"\x0c" + struct.pack("<HIBHB2x", 45, 255, kind, 0, 0)


def reply(command, body):
    text = body.decode()
    if command == 3 and text.startswith("SELECT id"):
        rows = [coded(b"%d" % n) + coded(f"name {n}".encode()) for n in range(3)]
        return [b"\x02", column(b"id", 8), column(b"name", 253), EOF, *rows, EOF]
    if command == 3 and text.startswith("NONSENSE"):
        return [b"\xff" + struct.pack("<H", 1064) + b"#42000you have an error"]
    return [OK]


async def session(reader, writer):
    def send(packet, number):
        writer.write(len(packet).to_bytes(3, "little") + bytes([number]) + packet)

    scramble = b"12345678" + bytes(1)
    capabilities = 0x0FFFF | 0x00080000
    hello = b"\x0a8.0.0\0" + struct.pack("<I", 7) + scramble
    hello += struct.pack("<HBHHB", capabilities & 0xF7FF & 0xFFFF, 45, 2, capabilities >> 16, 21)
    send(hello + bytes(10) + b"abcdefghijkl\0mysql_native_password\0", 0)
    try:
        first = True
        while True:
            head = await reader.readexactly(4)
            packet = await reader.readexactly(int.from_bytes(head[:3], "little"))
            if not first and packet[:1] == b"\x01":
                break
            packets = [OK] if first else reply(packet[0], packet[1:])
            first = False
            for number, one in enumerate(packets, head[3] + 1):
                send(one, number)
    except EOFError:
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(session, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = {"host": "127.0.0.1", "port": port, "user": "u", "password": "p", "db": "d"}
    async with (
        aiomysql.create_pool(**options, minsize=1, maxsize=2) as pool,
        pool.acquire() as connection,
    ):
        async with connection.cursor() as cursor:
            count = await cursor.execute("SELECT id, name FROM t")
            rows = [list(row) for row in await cursor.fetchall()]
            try:
                await cursor.execute("NONSENSE")
            except aiomysql.ProgrammingError as error:
                code = error.args[0]
    server.close()
    assert (count, code) == (3, 1064)
    return [count, rows, code]
