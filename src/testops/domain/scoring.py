"""Which policy a run was judged by, and the score that it reached; the rules are in `policy`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy as a run names it; `digest` is the sha256 of its canonical JSON."""

    name: str
    version: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Score:
    """What of all weights was achieved, in percent, and from where on it passes and warns."""

    value: float
    pass_at: float
    warn_at: float

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "pass": self.pass_at, "warn": self.warn_at}


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """One version of a policy as a server keeps it."""

    name: str
    version: int
    digest: str
    definition: Mapping[str, Any]
    created_by: str
    created_at: str

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "definition": dict(self.definition),
            "created_by": self.created_by,
            "created_at": self.created_at,
        }
