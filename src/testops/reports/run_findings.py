"""Findings told once for each cause: what was found, how often, where, and how to see it again."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GROUPS_SHOWN_MAX = 60
INSTANCES_SHOWN_MAX = 8
_ORDER = {"fail": 0, "inconclusive": 1, "warn": 2, "pass": 3}
# What tells two findings of one cause apart, where the stage did not say which belong together.
_VARIES = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|[0-9a-f]{12,}|\d+")
_KEY_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one cause: the first of them, and where the others are."""

    stage: str
    verdict: str
    count: int
    message: str
    rule: str
    where: str
    reproduce: str
    instances: Sequence[str]

    @property
    def hidden(self) -> int:
        return self.count - 1 - len(self.instances)


@dataclass(frozen=True, slots=True)
class Grouped:
    """The groups that are shown, and how much there is in all."""

    shown: Sequence[Group]
    groups: int
    findings: int

    @property
    def groups_hidden(self) -> int:
        return self.groups - len(self.shown)


class _Building:
    def __init__(self, stage: Mapping[str, Any], first: Mapping[str, Any]) -> None:
        self.stage = stage
        self.first = first
        self.count = 1
        self.instances: list[str] = []

    def add(self, finding: Mapping[str, Any], instance: str) -> None:
        self.count += 1
        if len(self.instances) < INSTANCES_SHOWN_MAX:
            self.instances.append(instance or str(finding.get("where", "")))

    def group(self) -> Group:
        return Group(
            stage=str(self.stage.get("name", "")),
            verdict=str(self.stage.get("verdict") or ""),
            count=self.count,
            message=str(self.first.get("message", "")),
            rule=str(self.first.get("rule", "")),
            where=str(self.first.get("where", "")),
            reproduce=str(self.first.get("reproduce", "")),
            instances=tuple(self.instances),
        )


def grouped(stages: Iterable[Mapping[str, Any]]) -> Grouped:
    """The findings of all stages; those of failed stages first, in the order they were found."""
    ordered = sorted(stages, key=lambda stage: _ORDER.get(str(stage.get("verdict")), 4))
    groups: dict[tuple[str, str], _Building] = {}
    count = 0
    for stage in ordered:
        for finding, cause, instance in _with_causes(stage):
            count += 1
            key = (str(stage.get("name", "")), cause)
            if key in groups:
                groups[key].add(finding, instance)
            else:
                groups[key] = _Building(stage, finding)
    shown = [one.group() for one in list(groups.values())[:GROUPS_SHOWN_MAX]]
    return Grouped(shown, len(groups), count)


def _with_causes(stage: Mapping[str, Any]) -> Iterable[tuple[Mapping[str, Any], str, str]]:
    """Each finding with its cause, from the stage or else from what it says, and its instance."""
    findings = stage.get("findings") or ()
    causes = (stage.get("exact") or {}).get("causes") or ()
    for number, finding in enumerate(findings):
        cause, instance = causes[number] if number < len(causes) else ("", "")
        yield finding, f"said:{cause}" if cause else _likeness(finding), instance


def _likeness(finding: Mapping[str, Any]) -> str:
    message = str(finding.get("message", ""))[:_KEY_LENGTH_MAX]
    return f"alike:{finding.get('rule', '')}:{_VARIES.sub('#', message)}"
