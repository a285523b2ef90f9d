"""Asks another host a question and gives its answer: one JSON object a line, over TCP.

What a question means, and whether asking it twice is safe, belongs to the protocols. Nothing is
retried here, because only they know.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

PORT = 7000

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message]]


class Unanswered(Exception):
    """No answer came. The other host may or may not have acted on the question."""


class Channel:
    """Questions to one host over one connection, which is opened on first use and after trouble.

    One question is under way at a time. A connection on which an answer failed to come is dropped:
    a late answer would otherwise be taken for that of the next question.
    """

    def __init__(self, host: str, *, timeout_s: float) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str, **facts: Any) -> Message:
        """The answer to a question; Unanswered when none came in time."""
        async with self._turn:
            has_answer = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._exchange({"kind": kind, **facts})
                has_answer = True
            except (OSError, EOFError) as error:  # a TimeoutError is an OSError
                raise Unanswered(f"{self.host} did not answer {kind}: {error!r}") from error
            finally:
                if not has_answer:
                    self._drop()
            return answer

    async def ask_if_reachable(self, kind: str, **facts: Any) -> Message | None:
        """As `ask`, with None for no answer."""
        try:
            return await self.ask(kind, **facts)
        except Unanswered:
            return None

    async def _exchange(self, question: Message) -> Message:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, PORT)
        reader, writer = self._streams
        writer.write(_line(question))
        await writer.drain()
        answer: Message = json.loads(await reader.readuntil(b"\n"))
        return answer

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask_all(channels: list[Channel], kind: str, **facts: Any) -> list[Message]:
    """Ask several hosts at once; the answers that came, in the order of the channels."""
    asked = [channel.ask_if_reachable(kind, **facts) for channel in channels]
    answers = await asyncio.gather(*asked)
    return [answer for answer in answers if answer is not None]


async def answer_questions(handler: Handler) -> None:
    """Serve this host's port until the power goes; each connection is answered in order."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The peer may vanish between any two bytes; it then asks again on another connection.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                question = json.loads(await reader.readuntil(b"\n"))
                writer.write(_line(await handler(question)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve_one, "0.0.0.0", PORT)
    async with server:
        await server.serve_forever()


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
