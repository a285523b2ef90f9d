"""asyncpg's pool against a small PostgreSQL: prepared statements, transactions, errors, a queue."""

import asyncio
import struct

import asyncpg
import hostile

import toron

INT8, TEXT = 20, 25
STATEMENTS = {  # text: (types of the parameters, columns as (name, type))
    "SELECT $1 + $2 AS sum": ((INT8, INT8), (("sum", INT8),)),
    "INSERT INTO orders VALUES ($1, $2)": ((TEXT, INT8), ()),
    "SELECT value FROM orders WHERE name = $1": ((TEXT,), (("value", INT8),)),
    "SELECT name, value FROM orders": ((), (("name", TEXT), ("value", INT8))),
}


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def error(code, what):
    return message(b"E", b"SERROR\0C" + text(code) + b"M" + text(what) + b"\0")


class SmallPostgres:
    """One session: the extended query protocol in binary for the statements above."""

    def __init__(self, kept, counts):
        self.kept, self.counts = kept, counts
        self.parsed, self.state = {}, b"I"
        self.bound = None
        self.undo = None
        self.skipping = False

    async def __call__(self, reader, writer):
        self.counts["connections"] = self.counts.get("connections", 0) + 1
        try:
            await self.start(reader, writer)
            while (kind := await reader.readexactly(1)) != b"X":
                size = struct.unpack("!I", await reader.readexactly(4))[0] - 4
                writer.write(self.handle(kind, await reader.readexactly(size)))
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self.rollback()
            writer.close()

    async def start(self, reader, writer):
        while True:
            size, code = struct.unpack("!II", await reader.readexactly(8))
            await reader.readexactly(size - 8)
            if code == 196608:
                break
            writer.write(b"N")  # no TLS
        said = {"server_version": "16.0", "client_encoding": "UTF8", "integer_datetimes": "on"}
        for name, value in said.items():
            writer.write(message(b"S", text(name) + text(value)))
        writer.write(message(b"R", bytes(4)) + message(b"K", bytes(8)) + message(b"Z", b"I"))

    def rollback(self):
        if self.undo is not None:
            for name in self.undo:
                del self.kept[name]
        self.undo = None

    def handle(self, kind, body):
        if kind in b"SQ":
            self.skipping = False
        if self.skipping:
            return b""
        if kind == b"Q":
            return self.simple(body[:-1].decode()) + message(b"Z", self.state)
        answer = {b"P": self.parse, b"D": self.describe, b"B": self.bind, b"E": self.execute}
        answer |= {b"S": lambda _: message(b"Z", self.state), b"C": lambda _: message(b"3")}
        return answer.get(kind, lambda _: b"")(body)

    def simple(self, query):
        word = query.split()[0].strip(";")
        if word == "BEGIN":
            self.state, self.undo = b"T", []
        elif word == "ROLLBACK":
            self.rollback()
            self.state = b"I"
        elif word == "COMMIT":
            self.state, self.undo = b"I", None
        return message(b"C", text(word))

    def parse(self, body):
        name, query = body.split(b"\0")[:2]
        if query.decode() not in STATEMENTS:
            self.skipping = True
            return error("42601", "syntax error")
        self.parsed[name] = STATEMENTS[query.decode()], query.decode()
        return message(b"1")

    def describe(self, body):
        (types, columns), _ = self.parsed[body[1:-1]]
        answer = message(b"t", struct.pack(f"!H{len(types)}I", len(types), *types))
        if not columns:
            return answer + message(b"n")
        rows = [
            text(name) + struct.pack("!IHIhih", 0, 0, type_, -1, -1, 1) for name, type_ in columns
        ]
        return answer + message(b"T", struct.pack("!H", len(columns)) + b"".join(rows))

    def bind(self, body):
        _portal, rest = body.split(b"\0", 1)
        name, rest = rest.split(b"\0", 1)
        (types, _), query = self.parsed[name]
        at = 2 + 2 * struct.unpack_from("!H", rest)[0] + 2
        values = []
        for type_ in types:
            size = struct.unpack_from("!i", rest, at)[0]
            raw = rest[at + 4 : at + 4 + size]
            values.append(
                int.from_bytes(raw, "big", signed=True) if type_ == INT8 else raw.decode()
            )
            at += 4 + size
        self.bound = query, values
        return message(b"2")

    def execute(self, _body):
        query, values = self.bound
        if query.startswith("INSERT"):
            if values[0] in self.kept:
                self.skipping = True
                return error("23505", "duplicate key")
            self.kept[values[0]] = values[1]
            if self.undo is not None:
                self.undo.append(values[0])
            return message(b"C", b"INSERT 0 1\0")
        rows = [[sum(values)]] if "sum" in query else [[k, v] for k, v in self.kept.items()]
        if "WHERE" in query:
            rows = [[v] for k, v in self.kept.items() if k == values[0]]
        return b"".join(map(encoded, rows)) + message(b"C", text(f"SELECT {len(rows)}"))


def encoded(row):
    cells = [struct.pack("!q", one) if isinstance(one, int) else one.encode() for one in row]
    body = b"".join(struct.pack("!I", len(cell)) + cell for cell in cells)
    return message(b"D", struct.pack("!H", len(row)) + body)


async def listen(kept, counts, host, port):
    async def session(reader, writer):
        await SmallPostgres(kept, counts)(reader, writer)

    return await asyncio.start_server(session, host, port)


async def quiet(_connection):
    """Instead of asking the server to reset the session, which the stand-in has no need of."""


def pool(host, port, **options):
    # A user and a password are named, so that no file of the machine is looked at for them.
    named = {"user": "u", "password": "p", "database": "d", "ssl": False}
    return asyncpg.create_pool(host=host, port=port, reset=quiet, **named, **options)


INSERT, ALL = "INSERT INTO orders VALUES ($1, $2)", "SELECT name, value FROM orders"


async def main():
    kept, counts, found = {}, {}, []
    server = await listen(kept, counts, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with pool("127.0.0.1", port, min_size=2, max_size=3) as database:
        sums = (database.fetchval("SELECT $1 + $2 AS sum", n, n) for n in range(12))
        found.append(await asyncio.gather(*sums))
        async with database.acquire() as connection, connection.transaction():
            found.append(await connection.execute(INSERT, "a", 1))
        try:
            async with database.acquire() as connection, connection.transaction():
                await connection.execute(INSERT, "b", 2)
                await connection.execute(INSERT, "a", 3)
        except asyncpg.UniqueViolationError as failure:
            found.append(failure.sqlstate)
        found.append([dict(row) for row in await database.fetch(ALL)])
        try:
            await database.fetch("NONSENSE")
        except asyncpg.PostgresSyntaxError as failure:
            found.append(failure.message)
    server.close()
    assert found[0] == [2 * n for n in range(12)]
    assert found[1:] == ["INSERT 0 1", "23505", [{"name": "a", "value": 1}], "syntax error"], found
    assert counts["connections"] == 3
    return [*found, counts]


async def serve(kept):
    async with await listen(kept, {}, "0.0.0.0", hostile.PORT) as server:
        await server.serve_forever()


async def work(patient):
    database = await patient.insist(
        lambda: pool("server", hostile.PORT, min_size=1, max_size=2, timeout=0.5)._async__init__()
    )

    async def place(name, value):
        async with database.acquire(timeout=0.8) as connection, connection.transaction():
            known = await connection.fetchval("SELECT value FROM orders WHERE name = $1", name)
            if known is None:
                await connection.execute(INSERT, name, value)
        return value if known is None else known

    answers = await patient.place_orders(place)
    await database.close()
    return answers


ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError)


@toron.kernel
async def partitioned(world):
    await hostile.with_partition(world, serve, work, ERRORS)


@toron.kernel
async def crashed(world):
    await hostile.with_crash(world, serve, work, ERRORS)
