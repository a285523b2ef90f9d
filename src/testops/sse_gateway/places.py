"""Where a viewer stands, as it says so itself: `12` on one run, `A:12,B:7` on several.

A place names the last event that was seen. Whether that event exists is for the hub to find out.
"""

import re
from collections.abc import Mapping, Sequence

from testops.domain.errors import BadInput
from testops.domain.run import RUN_ID_LENGTH

# Nineteen digits hold every number that a database can give to an event.
_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)
_RUN_ID = re.compile(rf"[0-9a-f]{{{RUN_ID_LENGTH}}}", re.ASCII)


def is_run_id(text: str) -> bool:
    """Whether `text` could name a run."""
    return _RUN_ID.fullmatch(text) is not None


def place_on_one(text: str) -> int:
    """The number of the last event seen."""
    if _SEQ.fullmatch(text) is None:
        raise BadInput(
            f"{text[:40]!r} is not an event id",
            where="Last-Event-ID",
            fix="give the number of the last event that you have, or none",
        )
    return int(text)


def place_on_several(text: str, runs: Sequence[str]) -> dict[str, int]:
    """The last event seen of each of `runs`; 0 for one that `text` does not name.

    Others that it names are ignored: a page may have stopped watching them.
    """
    seen = dict.fromkeys(runs, 0)
    for part in text.split(","):
        run_id, colon, seq = part.strip().partition(":")
        if not colon or not is_run_id(run_id) or _SEQ.fullmatch(seq) is None:
            raise BadInput(
                f"{part[:40]!r} is not a run and an event id",
                where="Last-Event-ID",
                fix="give run:number pairs with commas between, as the stream's ids are",
            )
        if run_id in seen:
            seen[run_id] = int(seq)
    return seen


def spelled(places: Mapping[str, int]) -> str:
    """`places` as the id of an event on a stream of several runs."""
    return ",".join(f"{run_id}:{seq}" for run_id, seq in places.items())
