"""A client: sends each request again, under the same number, until a leader has answered it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from examples.kv_store.wire import Address, Message, Peer

PATIENCE_S = 1.5
PAUSE_S = (0.05, 0.15)


class Client:
    """One client; its name must be its own, its requests are made one after the other."""

    def __init__(self, name: str, addresses: Mapping[str, Address]) -> None:
        self.name = name
        self.retries = 0
        self._peers = {node: Peer(address, PATIENCE_S) for node, address in addresses.items()}
        self._nodes = list(addresses)
        self.target = self._nodes[0]
        self._number = 0

    async def get(self, key: str) -> str:
        """The value of ``key``, empty when it has none."""
        return await self.request("get", key)

    async def put(self, key: str, value: str) -> str:
        """Set ``key``."""
        return await self.request("put", key, value)

    async def append(self, key: str, value: str) -> str:
        """Put ``value`` behind what ``key`` holds; the new value."""
        return await self.request("append", key, value)

    async def request(self, operation: str, key: str, value: str = "") -> str:
        """What ``get``, ``put`` and ``append`` do, by name."""
        self._number += 1
        question: Message = {
            "kind": "request",
            "client": self.name,
            "number": self._number,
            "operation": operation,
            "key": key,
            "value": value,
        }
        while True:
            answer = await self._peers[self.target].ask(question)
            if answer is not None and "value" in answer:
                result: str = answer["value"]
                return result
            self.retries += 1
            leader = answer.get("leader") if answer is not None else None
            others = [node for node in self._nodes if node != self.target]
            self.target = leader if leader in others else random.choice(others)
            await asyncio.sleep(random.uniform(*PAUSE_S))

    def close(self) -> None:
        """Let go of all connections."""
        for peer in self._peers.values():
            peer.close()
