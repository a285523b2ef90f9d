"""Who holds which port of a host, and who may share it: Linux's rules, for TCP and for UDP.

Two sockets conflict on a port when their addresses overlap. SO_REUSEPORT on both lets them share
it. SO_REUSEADDR on both lets datagram sockets share it, and stream sockets as long as neither
listens: a listener's port is taken, whatever the options say.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toron.core.process import Process
from toron.world.addresses import ANY_V4, ANY_V6, Address, error, is_v6

EPHEMERAL_FIRST, EPHEMERAL_LAST = 32_768, 60_999

Key = tuple[Process, str, int]


@dataclass(slots=True, eq=False)
class Claim:
    """One socket's hold on an address of its process."""

    owner: Any
    process: Process
    protocol: str
    ip: str
    port: int
    v6only: bool
    shares_address: bool
    shares_port: bool
    listens: bool = False

    def covers(self, ip: str) -> bool:
        """Whether packets to ``ip`` are for this claim."""
        if self.ip == ip or (self.ip == ANY_V4 and not is_v6(ip)):
            return True
        return self.ip == ANY_V6 and (is_v6(ip) or not self.v6only)

    def conflicts(self, other: Claim) -> bool:
        """Whether the two may not hold the port at the same time."""
        if not self.covers(other.ip) and not other.covers(self.ip):
            return False
        if self.shares_port and other.shares_port:
            return False
        if self.shares_address and other.shares_address:
            return self.listens or other.listens
        return True


class Ports:
    """The ports of all processes of a world."""

    def __init__(self) -> None:
        self._claims: dict[Key, list[Claim]] = {}
        self._next: dict[tuple[Process, str], int] = {}

    def take(self, claim: Claim) -> Address:
        """Enter ``claim`` (port 0: at the next free one); EADDRINUSE as the system's."""
        if claim.port == 0:
            claim.port = self._free(claim.process, claim.protocol)
        elif any(claim.conflicts(other) for other in self._at(claim)):
            raise error(errno.EADDRINUSE)
        self._claims.setdefault((claim.process, claim.protocol, claim.port), []).append(claim)
        return claim.ip, claim.port

    def listen(self, claim: Claim) -> None:
        """Mark ``claim`` as a listener's; EADDRINUSE when another listener has the port."""
        claim.listens = True
        if any(other is not claim and claim.conflicts(other) for other in self._at(claim)):
            claim.listens = False
            raise error(errno.EADDRINUSE)

    def release(self, claim: Claim) -> None:
        """Give a port back."""
        key = (claim.process, claim.protocol, claim.port)
        held = [other for other in self._claims.get(key, []) if other is not claim]
        if held:
            self._claims[key] = held
        else:
            self._claims.pop(key, None)

    def forget(self, process: Process) -> None:
        """Give back all ports of a process that lost power."""
        for key in [key for key in self._claims if key[0] is process]:
            del self._claims[key]

    def holders(self, process: Process, protocol: str, target: Address) -> list[Claim]:
        """Whose claims cover ``target``, those of the exact address first."""
        held = self._claims.get((process, protocol, target[1]), ())
        ip = target[0]
        exact = [claim for claim in held if claim.ip == ip]
        return exact + [claim for claim in held if claim.ip != ip and claim.covers(ip)]

    def of(self, process: Process, protocol: str) -> list[Claim]:
        """All claims of a process, by the age of their ports."""
        return [
            claim
            for (holder, kind, _), claims in self._claims.items()
            if holder is process and kind == protocol
            for claim in claims
        ]

    def _at(self, claim: Claim) -> Iterator[Claim]:
        yield from self._claims.get((claim.process, claim.protocol, claim.port), ())

    def _free(self, process: Process, protocol: str) -> int:
        first = self._next.get((process, protocol), EPHEMERAL_FIRST)
        span = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1
        for step in range(span):
            port = EPHEMERAL_FIRST + (first - EPHEMERAL_FIRST + step) % span
            if (process, protocol, port) not in self._claims:
                self._next[process, protocol] = port + 1
                return port
        raise error(errno.EADDRINUSE)
