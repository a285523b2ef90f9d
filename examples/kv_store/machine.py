"""What the log means: keys, values, and which request of which client was already carried out."""

from __future__ import annotations

from typing import Any


class Machine:
    """The state that every replica computes from the same log."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.applied: dict[str, tuple[int, str]] = {}
        """By client: the number of its last request, and what was answered."""

    def known(self, client: str, number: int) -> str | None:
        """What was answered to a request before, None when it is new."""
        last, result = self.applied.get(client, (0, ""))
        return result if number <= last else None

    def apply(self, command: list[Any]) -> None:
        """Carry out one command: a no-op of a new leader, or a request of a client."""
        if not command:
            return
        client, number, operation, key, value = command
        if self.known(client, number) is None:
            before = self.values.get(key, "") if operation == "append" else ""
            self.values[key] = before + value
            self.applied[client] = (number, self.values[key])
