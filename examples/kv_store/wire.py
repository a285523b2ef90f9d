"""Carries questions and answers between processes: one JSON object a line, over TCP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from examples.kv_store.storage import StorageFailed

Message = dict[str, Any]
Address = tuple[str, int]

LINE_BYTES_MAX = 1 << 20
_log = logging.getLogger("kv_store")


class Peer:
    """A connection to ``address``, made when it is needed and dropped when in doubt."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._one_at_a_time = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: Message) -> Message | None:
        """The answer, or None when none came in time: then the question may have been heard."""
        async with self._one_at_a_time:
            answer = None
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._exchange(question)
            except (OSError, ValueError) as error:
                _log.debug("no answer from %s: %r", self._address, error)
            finally:
                if answer is None:
                    self.close()  # an answer that comes late must not be taken for the next one's
            return answer

    async def _exchange(self, question: Message) -> Message:
        if self._streams is None:
            host, port = self._address
            self._streams = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
        reader, writer = self._streams
        writer.write(encode(question))
        await writer.drain()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection ended inside an answer")
        answer: Message = json.loads(line)
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def encode(message: Message) -> bytes:
    """``message`` as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


async def serve(
    port: int, answer: Callable[[Message], Awaitable[Message]], host: str | None = None
) -> asyncio.Server:
    """Answer every question that comes in at ``port``."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                writer.write(encode(await answer(json.loads(line))))
                await writer.drain()
        except (OSError, ValueError, KeyError, StorageFailed) as error:
            _log.debug("a session ended: %r", error)
        finally:
            writer.close()

    return await asyncio.start_server(session, host, port, limit=LINE_BYTES_MAX)
