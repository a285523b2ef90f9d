"""What became of a request that named an `Idempotency-Key`."""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """Where the request stands that first named the key."""

    # Nobody did: the caller is the first, and must finish or release it.
    FIRST = "first"
    IN_FLIGHT = "in flight"
    DONE = "done"
    # It asked for something else.
    OTHER_BODY = "other body"


@dataclass(frozen=True, slots=True)
class Claim:
    """The standing of a key; `run_id` is what a finished request made."""

    standing: Standing
    run_id: str | None = None
