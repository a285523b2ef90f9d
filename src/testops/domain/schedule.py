"""A schedule: a request for a run that is asked again at the times that a cron line names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timetable:
    """When: a cron line of five fields, read in a time zone of the IANA database."""

    cron: str
    time_zone: str

    def to_json(self) -> dict[str, str]:
        return {"cron": self.cron, "time_zone": self.time_zone}


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What somebody wants repeated; `request` is the body of `POST /v1/test-runs`."""

    schedule_id: str
    workspace: str
    name: str
    timetable: Timetable
    request: Mapping[str, Any]
    enabled: bool
    created_by: str


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that came: the run that it made, or why it made none; `missed` came before it."""

    due_at: str
    run_id: str | None
    problem: str
    missed: int

    def to_json(self) -> dict[str, Any]:
        return {
            "due_at": self.due_at,
            "run_id": self.run_id,
            "problem": self.problem,
            "missed": self.missed,
        }


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is kept. `version` grows with each change of what somebody wants."""

    schedule_id: str
    workspace: str
    name: str
    timetable: Timetable
    request: Mapping[str, Any]
    enabled: bool
    version: int
    created_by: str
    created_at: str
    next_due_ms: int | None
    next_due_at: str | None
    last: Firing | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schedule_id": self.schedule_id,
            "workspace": self.workspace,
            "name": self.name,
            **self.timetable.to_json(),
            "request": dict(self.request),
            "enabled": self.enabled,
            "version": self.version,
            "created_by": self.created_by,
            "created_at": self.created_at,
            "next_due_at": self.next_due_at,
            "last": None if self.last is None else self.last.to_json(),
        }
