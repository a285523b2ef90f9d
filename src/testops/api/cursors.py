"""Cursors of lists: opaque to clients, so that the order behind them may change."""

import base64
import binascii
import re

from testops.api.problems import BAD_CURSOR, Problem

_SPELLED = re.compile(r"1:([0-9]{1,15}):([0-9a-f]{64}|[0-9a-f]{16})")


def cursor_of(place: tuple[int, str]) -> str:
    """The cursor behind which the list goes on."""
    spelled = f"1:{place[0]}:{place[1]}"
    return base64.urlsafe_b64encode(spelled.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[int, str]:
    """The place that a cursor of ours names; a `Problem` for any other text."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = _SPELLED.fullmatch(raw.decode("ascii"))
    except (binascii.Error, ValueError) as error:
        raise _foreign() from error
    if found is None:
        raise _foreign()
    return int(found[1]), found[2]


def _foreign() -> Problem:
    return Problem(BAD_CURSOR, "give the next_cursor of an earlier answer, or none")
