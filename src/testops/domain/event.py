"""The event log of a run: its types, how each is delivered to a slow viewer, and one kept event.

Every run has one log, numbered from 1 without a gap over all its attempts. What stands in it was
committed together with the state that it reports, so nobody can see one without the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """What can happen to a run."""

    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    STAGE_STARTED = "stage.started"
    STAGE_PROGRESS = "stage.progress"
    STAGE_LOG = "stage.log"
    STAGE_FINISHED = "stage.finished"
    GATE_EVALUATED = "gate.evaluated"
    INCIDENT_OPENED = "incident.opened"
    RUN_FINISHED = "run.finished"


class Delivery(StrEnum):
    """What a viewer that cannot keep up may miss."""

    # Never left out: without it the viewer would show a state that is not.
    MUST = "must-deliver"
    # The newest of a key says all that the older ones said.
    COALESCE = "coalesce"
    # Some of many lines are enough; all of them are in the log.
    SAMPLE = "sample"


_LOSSY: dict[str, Delivery] = {
    EventType.STAGE_PROGRESS: Delivery.COALESCE,
    EventType.STAGE_LOG: Delivery.SAMPLE,
}


def delivery_of(event_type: str) -> Delivery:
    """How events of `event_type` are delivered; an unknown type is never left out."""
    return _LOSSY.get(event_type, Delivery.MUST)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to happen; `key` names what a later one of it supersedes."""

    type: EventType
    facts: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it is kept and sent: `body` is one line of JSON, byte for byte the same to all.

    A COALESCE event is superseded by a later one of the same `key`.
    """

    seq: int
    type: str
    delivery: Delivery
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """How far a log goes: the oldest event still kept, the newest, and whether more can come."""

    first_seq: int
    last_seq: int
    ended: bool
