"""Hardening in numbers: phases 4 to 9, how much of each was checked, and how old the evidence is.

Results come from whoever ran the checks, as a file of `schema` 1. A check that left no result is
`not measured`, and never passed; evidence that is older than a week is stale, and its phase
inconclusive.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.verdict import Verdict, worst
from testops.reports.formats.reading import Source, json_of
from testops.reports.page_text import moment_of

SCHEMA = 1
# The last phase asks for a week without a critical finding: evidence of it is no older.
FRESH_FOR = timedelta(days=7)
# What is of the future is no evidence, or it would be fresh for ever; clocks differ by so much.
_SKEW = timedelta(minutes=5)
SEVERITIES = ("critical", "high", "medium", "low", "info")
CHECKS_MAX = 1000
_CHECKED_BY = {
    4: ("api_fuzz", "property_tests", "replayed_requests", "resource_slope", "parser_fuzz"),
    5: ("rendered_profiles", "storage_drivers", "no_cloud_sdk"),
    6: ("sast", "secrets", "sbom_drift", "advisories", "http_checks", "pii_scan", "quarantine"),
    7: ("lost_writes", "recovery", "latency_slo"),
    8: ("rollback_drill", "snapshot_gate", "incident_template"),
    9: ("release_artifact", "audit_chain", "signed_checklist"),
}
_NAMES = {
    4: "engine",
    5: "multi-environment",
    6: "security and PII",
    7: "load and chaos",
    8: "controlled beta",
    9: "public beta",
}


@dataclass(frozen=True, slots=True)
class Check:
    """What one check of a phase said, when; `open` counts findings that nobody closed."""

    phase: int
    name: str
    verdict: Verdict
    at: datetime
    tool: str = ""
    source: str = ""
    summary: str = ""
    open: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """The key numbers of one phase; None where nothing was measured."""

    number: int
    checks: Sequence[Check]
    at: datetime

    @property
    def name(self) -> str:
        return _NAMES[self.number]

    @property
    def expected(self) -> Sequence[str]:
        """The checks that the phase demands, and those that somebody ran besides."""
        others = [check.name for check in self.checks]
        return tuple(dict.fromkeys([*_CHECKED_BY[self.number], *others]))

    @property
    def missing(self) -> Sequence[str]:
        known = {check.name for check in self.checks}
        return tuple(name for name in self.expected if name not in known)

    @property
    def stale(self) -> Sequence[Check]:
        return tuple(
            check for check in self.checks if not -_SKEW <= self.at - check.at <= FRESH_FOR
        )

    @property
    def verdict(self) -> Verdict | None:
        if not self.checks:
            return None
        told = [check.verdict for check in self.checks]
        doubt = [Verdict.INCONCLUSIVE] if self.missing or self.stale else []
        return worst([*told, *doubt])

    @property
    def pass_percent(self) -> float | None:
        """How many of the checks that were made hold."""
        if not self.checks:
            return None
        return 100 * sum(not check.verdict.blocks for check in self.checks) / len(self.checks)

    @property
    def coverage_percent(self) -> float:
        return 100 * (len(self.expected) - len(self.missing)) / len(self.expected)

    @property
    def open(self) -> Mapping[str, int] | None:
        if not self.checks:
            return None
        return {
            severity: sum(check.open.get(severity, 0) for check in self.checks)
            for severity in SEVERITIES
        }

    @property
    def oldest_s(self) -> float | None:
        """The age of the oldest evidence, in seconds."""
        ages = [(self.at - check.at).total_seconds() for check in self.checks]
        return max(ages, default=None)

    def to_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "phase": self.number,
            "name": self.name,
            "verdict": None if verdict is None else verdict.value,
            "checks_expected": len(self.expected),
            "checks_measured": len(self.expected) - len(self.missing),
            "coverage_percent": self.coverage_percent,
            "pass_percent": self.pass_percent,
            "open_findings": None if self.open is None else dict(self.open),
            "oldest_evidence_s": self.oldest_s,
            "stale": [check.name for check in self.stale],
            "missing": list(self.missing),
            "checks": [
                {
                    "name": check.name,
                    "verdict": check.verdict.value,
                    "at": check.at.isoformat(),
                    "tool": check.tool,
                    "source": check.source,
                    "summary": check.summary,
                    "open_findings": dict(check.open),
                }
                for check in self.checks
            ],
        }


def phases_of(checks: Iterable[Check], *, at: datetime) -> Sequence[Phase]:
    """Every phase at the moment `at`, by the newest result of each check."""
    newest: dict[tuple[int, str], Check] = {}
    for check in checks:
        known = newest.get((check.phase, check.name))
        if known is None or check.at >= known.at:
            newest[check.phase, check.name] = check
    return tuple(
        Phase(number, tuple(one for (of, _), one in newest.items() if of == number), at)
        for number in _CHECKED_BY
    )


def hardening_json(phases: Sequence[Phase]) -> dict[str, Any]:
    """`reports/hardening.json`."""
    return {
        "schema": SCHEMA,
        "at": phases[0].at.isoformat(),
        "phases": [phase.to_json() for phase in phases],
    }


def checks_in(source: Source) -> Sequence[Check]:
    """The checks of a file of recorded results; `BadInput` names the field that is wrong."""
    body, where = json_of(source), source.name
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise BadInput(f"it is not of schema {SCHEMA}", where=where, fix='give "schema": 1')
    checks = body.get("checks")
    if not isinstance(checks, list) or len(checks) > CHECKS_MAX:
        problem = f"checks is no list of at most {CHECKS_MAX}"
        raise BadInput(problem, where=where, fix="see docs/reference/reports.md")
    return tuple(_check(one, f"{where}: /checks/{place}") for place, one in enumerate(checks))


def _check(body: object, where: str) -> Check:
    if not isinstance(body, dict):
        raise BadInput("it is no object", where=where, fix="see docs/reference/reports.md")
    phase, at = body.get("phase"), moment_of(body.get("at"))
    if phase not in _CHECKED_BY:
        raise BadInput(f"phase {phase!r} is none", where=where, fix="give one from 4 to 9")
    if at is None:
        problem = f"at {body.get('at')!r} is no moment with a zone"
        raise BadInput(problem, where=where, fix="write it as 2026-11-25T19:00:00+00:00")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise BadInput("it has no name", where=where, fix="name the check")
    texts = {key: str(body.get(key, "")) for key in ("tool", "source", "summary")}
    return Check(int(phase), name, _verdict(body, where), at, open=_open(body, where), **texts)


def _verdict(body: Mapping[str, Any], where: str) -> Verdict:
    try:
        return Verdict(str(body.get("verdict")))
    except ValueError:
        known = ", ".join(verdict.value for verdict in Verdict)
        problem = f"verdict {body.get('verdict')!r} is none"
        raise BadInput(problem, where=where, fix=f"give one of {known}") from None


def _open(body: Mapping[str, Any], where: str) -> Mapping[str, int]:
    given = body.get("open_findings", {})
    if not isinstance(given, dict):
        given = {"": 0}
    for severity, count in given.items():
        is_count = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        if severity not in SEVERITIES or not is_count:
            problem = f"open_findings {severity!r}: {count!r}"
            raise BadInput(problem, where=where, fix=f"count {', '.join(SEVERITIES)}")
    return given
