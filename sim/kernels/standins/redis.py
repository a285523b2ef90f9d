"""A small Redis: the wire protocol (RESP 2 and 3), strings, counters and optimistic transactions.

Commands answer as Redis 7 documents them; what is not here answers `ERR unknown command`, which
clients know how to take. The keys live in a dictionary of the caller's, so that it decides whether
they outlive a power cut. Expiry, scripts and everything but strings are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

PORT = 6379

Reply = str | bytes | int | None | list["Reply"] | dict[str, "Reply"] | Exception


class Refused(Exception):
    """An error reply; its text is what goes over the wire."""


@dataclass(slots=True)
class Keyspace:
    """The data, and how often each key has changed (for WATCH)."""

    values: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def write(self, key: str, value: str | None) -> None:
        """Set ``key``, or delete it with None."""
        self.versions[key] = self.versions.get(key, 0) + 1
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value


class Session:
    """One connection: its protocol version, its transaction, what it watches."""

    def __init__(self, keyspace: Keyspace, number: int) -> None:
        self._keyspace = keyspace
        self._number = number
        self._watched: dict[str, int] = {}
        self._queued: list[list[str]] | None = None
        self._queue_is_bad = False
        self.protocol = 2
        self._commands: dict[str, Callable[[list[str]], Reply]] = {
            "PING": lambda words: words[0] if words else "+PONG",
            "HELLO": self._hello,
            "CLIENT": self._client,
            "SELECT": lambda _words: "+OK",
            "GET": self._get,
            "SET": self._set,
            "DEL": self._delete,
            "EXISTS": lambda words: sum(word in keyspace.values for word in words),
            "INCR": lambda words: self._add(words[0], 1),
            "INCRBY": lambda words: self._add(words[0], _integer(words[1])),
            "DECR": lambda words: self._add(words[0], -1),
            "WATCH": self._watch,
            "UNWATCH": self._unwatch,
        }

    def execute(self, words: list[str]) -> Reply:
        """The reply to one command, queued or done at once."""
        name, arguments = words[0].upper(), words[1:]
        try:
            if name == "MULTI":
                self._queued, self._queue_is_bad = [], False
                return "+OK"
            if name in ("EXEC", "DISCARD"):
                return self._end_transaction(does_execute=name == "EXEC")
            if self._queued is not None:
                return self._queue(name, arguments)
            return self._do(name, arguments)
        except Refused as refused:
            return refused

    def _do(self, name: str, arguments: list[str]) -> Reply:
        command = self._commands.get(name)
        if command is None:
            raise Refused(f"ERR unknown command '{name}', with args beginning with:")
        try:
            return command(arguments)
        except IndexError:
            raise Refused(f"ERR wrong number of arguments for '{name.lower()}' command") from None

    def _queue(self, name: str, arguments: list[str]) -> Reply:
        assert self._queued is not None
        if name not in self._commands:
            self._queue_is_bad = True
            raise Refused(f"ERR unknown command '{name}', with args beginning with:")
        self._queued.append([name, *arguments])
        return "+QUEUED"

    def _end_transaction(self, *, does_execute: bool) -> Reply:
        queued, self._queued = self._queued, None
        if queued is None:
            raise Refused(f"ERR {'EXEC' if does_execute else 'DISCARD'} without MULTI")
        versions = self._keyspace.versions
        has_moved = any(versions.get(key, 0) != seen for key, seen in self._watched.items())
        self._watched.clear()
        if not does_execute:
            return "+OK"
        if self._queue_is_bad:
            raise Refused("EXECABORT Transaction discarded because of previous errors.")
        return None if has_moved else [self.execute(words) for words in queued]

    def _hello(self, words: list[str]) -> Reply:
        if words:
            if words[0] not in ("2", "3"):
                raise Refused("NOPROTO unsupported protocol version")
            self.protocol = int(words[0])
        return {
            "server": "redis",
            "version": "7.4.0",
            "proto": self.protocol,
            "id": self._number,
            "mode": "standalone",
            "role": "master",
            "modules": [],
        }

    def _client(self, words: list[str]) -> Reply:
        match words[0].upper():
            case "ID":
                return self._number
            case "SETINFO" | "SETNAME":
                return "+OK"
            case other:
                raise Refused(f"ERR unknown subcommand '{other}'. Try CLIENT HELP.")

    def _get(self, words: list[str]) -> Reply:
        value = self._keyspace.values.get(words[0])
        return None if value is None else value.encode()

    def _set(self, words: list[str]) -> Reply:
        key, value, options = words[0], words[1], [word.upper() for word in words[2:]]
        unknown = [option for option in options if option not in ("NX", "XX")]
        if unknown:
            raise Refused("ERR syntax error")
        exists = key in self._keyspace.values
        if ("NX" in options and exists) or ("XX" in options and not exists):
            return None
        self._keyspace.write(key, value)
        return "+OK"

    def _delete(self, words: list[str]) -> Reply:
        known = [word for word in words if word in self._keyspace.values]
        for key in known:
            self._keyspace.write(key, None)
        return len(known)

    def _add(self, key: str, by: int) -> Reply:
        value = _integer(self._keyspace.values.get(key, "0")) + by
        self._keyspace.write(key, str(value))
        return value

    def _watch(self, words: list[str]) -> Reply:
        for key in words:
            self._watched.setdefault(key, self._keyspace.versions.get(key, 0))
        return "+OK"

    def _unwatch(self, _words: list[str]) -> Reply:
        self._watched.clear()
        return "+OK"


async def serve_redis(keyspace: Keyspace) -> None:
    """Serve ``keyspace`` on this host until the power goes."""
    connections = 0

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        session = Session(keyspace, connections)
        # A client may vanish between any two bytes; its pool opens another connection.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                reply = session.execute(await _read_command(reader))
                writer.write(encode(reply, session.protocol))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "0.0.0.0", PORT)
    async with server:
        await server.serve_forever()


async def _read_command(reader: asyncio.StreamReader) -> list[str]:
    """One command as clients send it: an array of bulk strings."""
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2].decode())
    return words


def encode(reply: Reply, protocol: int) -> bytes:
    """A reply on the wire. Text that begins with ``+`` is a simple string, other text a bulk."""
    match reply:
        case None:
            return b"_\r\n" if protocol == 3 else b"$-1\r\n"
        case Exception():
            return f"-{reply}\r\n".encode()
        case int():
            return f":{reply}\r\n".encode()
        case str() if reply.startswith("+"):
            return f"{reply}\r\n".encode()
        case str() | bytes():
            content = reply.encode() if isinstance(reply, str) else reply
            return b"$%d\r\n%s\r\n" % (len(content), content)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(encode(one, protocol) for one in reply)
        case dict():
            flat: list[Reply] = [part for pair in reply.items() for part in pair]
            head = b"%%%d\r\n" % len(reply) if protocol == 3 else b"*%d\r\n" % len(flat)
            return head + b"".join(encode(one, protocol) for one in flat)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Refused("ERR value is not an integer or out of range") from None
