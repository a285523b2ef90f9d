"""Seeds, ranges of them, and the named sub-streams that each consumer draws from.

Nothing here draws a seed: chance is an argument, and only `--seed random` asks for it.
"""

import hashlib
from dataclasses import dataclass

from testops.domain.errors import BadInput

SEED_COUNT = 1 << 64
# A range is held in memory and each seed is an execution in two processes; a typing error in a
# bound must be refused, not queued for years.
RANGE_LENGTH_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Seeds:
    """The one pair that drives a run: schedules, order and data by `sim`, faults by `chaos`."""

    sim: int
    chaos: int

    def __post_init__(self) -> None:
        assert 0 <= self.sim < SEED_COUNT, self.sim
        assert 0 <= self.chaos < SEED_COUNT, self.chaos

    def to_json(self) -> dict[str, int]:
        return {"sim": self.sim, "chaos": self.chaos}


def parse_seed(text: str, *, where: str = "seed") -> int:
    """The integer that `text` names; `where` (a flag or a variable) is named when it is none."""
    digits = text.strip()
    # isascii as well: int() also reads the digits of other scripts, and underscores.
    if not (digits.isascii() and digits.isdigit()):
        raise BadInput(f"{text[:24]!r} is not a seed", where=where, fix=_SEED_FIX)
    # A bound on the digits first: int() of a megabyte of them is refused by Python itself.
    if len(digits.lstrip("0")) > 20 or int(digits) >= SEED_COUNT:
        raise BadInput(f"{digits[:24]} is too large for a seed", where=where, fix=_SEED_FIX)
    return int(digits)


_SEED_FIX = "give an integer from 0 to 2^64-1"


def parse_seed_range(text: str, *, where: str = "seeds") -> range:
    """The half-open range that `A:B` names."""
    first, colon, end = text.partition(":")
    if not colon:
        raise BadInput(f"{text[:50]!r} is not a range of seeds", where=where, fix=_RANGE_FIX)
    start, stop = parse_seed(first, where=where), _parse_end(end, where=where)
    if stop <= start:
        raise BadInput(f"the range {text} is empty", where=where, fix=_RANGE_FIX)
    if stop - start > RANGE_LENGTH_MAX:
        raise BadInput(
            f"the range {text} has {stop - start} seeds",
            where=where,
            fix=f"give at most {RANGE_LENGTH_MAX} at a time",
        )
    return range(start, stop)


_RANGE_FIX = "write A:B, where B is the first seed left out"


def _parse_end(text: str, *, where: str) -> int:
    # The end is left out of the range, so it may be one past the largest seed.
    return SEED_COUNT if text.strip() == str(SEED_COUNT) else parse_seed(text, where=where)


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    """`count` seeds from `first` on; after the largest seed comes 0."""
    return tuple((first + offset) % SEED_COUNT for offset in range(count))


def substream(seed: int, name: str) -> int:
    """The seed of the consumer called `name`: adding a consumer does not move the others."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
