"""Seeded chance behind `random`, `os.urandom`, `secrets` and `uuid`.

Before a run (while the program is imported) entropy comes from a fixed stream, so that an id drawn
at import time is the same in every process; at the start of a run every generator that seeded
itself from the system is seeded again from SIM_SEED, in the order in which they were made.
"""

from __future__ import annotations

import _random
import os
import random
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from toron.core.choices import substream
from toron.world.boundary.aliases import Stand, replace

_NODE = 0x02_00_5E_00_00_01
"""The hardware address of a run: locally administered, of nobody."""
_BYTES_MAX = 1 << 24


class EntropySource:
    """The stream that replaces the system's entropy, and the generators it has seeded."""

    def __init__(self) -> None:
        self._stream = _random.Random(substream(0, "entropy.import"))
        self._self_seeded: list[weakref.ref[random.Random]] = []
        self.on_draw: Callable[[bytes], None] = _ignore
        self._turned: tuple[object, str] | None = None

    def bytes(self, count: int) -> bytes:
        """``count`` bytes in place of the system's."""
        payload = self._stream.getrandbits(count * 8).to_bytes(count, "little") if count else b""
        self.on_draw(payload)
        return payload

    def seed_for(self, generator: random.Random) -> int:
        """The seed of a generator that asked for a random one."""
        self._self_seeded.append(weakref.ref(generator))
        return self._stream.getrandbits(128)

    def begin(self, seed: int) -> None:
        """Draw everything from ``seed`` from now on."""
        self._stream = _random.Random(substream(seed, "entropy.system"))
        random.seed(substream(seed, "entropy.random"))
        generators = [generator for ref in self._self_seeded if (generator := ref()) is not None]
        for number, generator in enumerate(generators):
            _random.Random.seed(generator, substream(seed, f"entropy.generator:{number}"))

    def reseed(self, seed: int) -> None:
        """Draw everything from ``seed`` from now on, in the middle of a run."""
        before = self.state_digest_input()
        self.begin(seed)
        self._turned = random.getstate(), before

    def state_digest_input(self) -> str:
        """The state of the module-level generator: equal states mean equal draws so far.

        Of one that nobody used since it was seeded anew it is the state before: branches of a world
        that draw nothing behave alike.
        """
        state = random.getstate()
        if self._turned is not None and state == self._turned[0]:
            return self._turned[1]
        return repr(state)


def install(source: EntropySource) -> None:
    """Replace every source of entropy that Python code can reach."""

    def urandom(size: int, /) -> bytes:
        if size < 0:
            raise ValueError("negative argument not allowed")
        if size > _BYTES_MAX:
            raise ValueError(f"a simulated run gives {_BYTES_MAX} bytes of entropy at most a call")
        return source.bytes(size)

    def getrandom(size: int, flags: int = 0) -> bytes:
        return urandom(size)

    replace(os, "urandom", Stand(os.urandom, urandom))
    replace(os, "getrandom", Stand(getattr(os, "getrandom", None), getrandom))
    _install_random(source)
    uuid._generate_time_safe = None  # type: ignore[attr-defined]
    uuid._UuidCreate = None  # type: ignore[attr-defined]
    uuid._node = _NODE  # type: ignore[attr-defined]


def _install_random(source: EntropySource) -> None:
    original = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        original(self, source.seed_for(self) if a is None else a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    # `random.seed` is a method bound before the class was changed; without arguments it would ask
    # the system.
    replace(random, "seed", random._inst.seed)
    # The module-level generator seeded itself before we came; `begin` seeds it, by name.
    random.seed(substream(0, "entropy.import.random"))


def _ignore(_payload: bytes) -> None:
    return None
