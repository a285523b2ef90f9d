"""Follows an event stream over HTTP until it is complete, through every break of the connection.

What is yielded is in order, without a loss and without a repetition, except where the stream itself
says `gap` or `coalesced`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx

from testops.client.reconnect import Reconnect, Stand
from testops.client.sse import Message, Parser, StreamBroken
from testops.domain.errors import TestOpsError

_CONNECT_S = 10.0


class StreamRefused(TestOpsError):
    """The server will not show this stream: `status` says why, `detail` in words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the server refused the stream ({status}): {detail}")
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Interrupted:
    """There is no connection now; the next try is in `wait_s`."""

    why: str
    wait_s: float


async def follow(
    http: httpx.AsyncClient, url: str, reconnect: Reconnect
) -> AsyncGenerator[Message | Interrupted]:
    """Everything that the stream at `url` tells; ends when it is complete.

    `StreamRefused` when coming back cannot help, and httpx's own errors when `url` is no address.
    `http` brings the authorization.
    """
    while not reconnect.over:
        why = ""
        try:
            async with contextlib.aclosing(_one_connection(http, url, reconnect)) as messages:
                async for message in messages:
                    yield message
            why = "the stream was closed"
        except httpx.ReadTimeout:
            why = f"nothing was heard for {reconnect.waits.stall_s:g} s"
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            raise  # an address or a header that no server could be asked with
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
        except StreamBroken as error:
            why = str(error)
        if not reconnect.over:
            wait_s = reconnect.lost()
            yield Interrupted(why, wait_s)
            await asyncio.sleep(wait_s)


async def _one_connection(
    http: httpx.AsyncClient, url: str, reconnect: Reconnect
) -> AsyncGenerator[Message]:
    headers = {
        "accept": "text/event-stream",
        # Compressed, an event would wait in the server for others.
        "accept-encoding": "identity",
        "cache-control": "no-store",
    }
    if reconnect.place is not None:
        headers["last-event-id"] = reconnect.place
    timeout = httpx.Timeout(_CONNECT_S, read=reconnect.waits.stall_s)
    async with http.stream("GET", url, headers=headers, timeout=timeout) as response:
        stand = reconnect.answered(response.status_code, response.headers.get("retry-after", ""))
        if stand is Stand.REFUSED:
            raise StreamRefused(response.status_code, await _detail(response))
        if stand is not Stand.READING:
            return
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if media_type != "text/event-stream":
            raise StreamBroken(f"{url} answers with {media_type or 'something'}, not events")
        parser = Parser(reconnect.place)
        async for piece in response.aiter_raw():
            for told in parser.feed(piece):
                stand = reconnect.heard(told)
                if isinstance(told, Message):
                    yield told
                if stand is not Stand.READING:
                    return


async def _detail(response: httpx.Response) -> str:
    """What the problem says, or as much of another answer as a person can use."""
    body = (await response.aread())[:4096]
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
