"""CTRF, the Common Test Report Format, in the version of its schema that `SPEC_VERSION` names.

The format wants the beginning and end of the run in milliseconds; they are the only values here
that two equal runs spell differently, besides the durations.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from testops.domain.test_case import Outcome, TestCase, Try, counted
from testops.reports.formats.reading import Fields, Source, json_of
from testops.reports.formats.writing import json_document

SPEC_VERSION = "0.0.0"
_STATUS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    # CTRF has no word for what broke outside of the test; `rawStatus` keeps ours.
    Outcome.ERROR: "failed",
    Outcome.SKIPPED: "skipped",
}
_OUTCOMES = {
    "passed": Outcome.PASSED,
    "failed": Outcome.FAILED,
    "skipped": Outcome.SKIPPED,
    "pending": Outcome.SKIPPED,
    # The runner could not say; a report that hides it would be green by accident.
    "other": Outcome.ERROR,
}


def write_ctrf(
    cases: Sequence[TestCase],
    *,
    started_at: str | None = None,
    finished_at: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """The file; times are RFC 3339, and 0 where nobody knows them."""
    counts = counted(cases)
    start, stop = _milliseconds(started_at), _milliseconds(finished_at)
    summary = {
        "tests": counts["tests"],
        "passed": counts["passed"],
        "failed": counts["failed"] + counts["error"],
        "skipped": counts["skipped"],
        "pending": 0,
        "other": 0,
        "flaky": counts["flaky"],
        "suites": len({case.suite for case in cases}),
        "start": start,
        "stop": stop,
    }
    return json_document(
        {
            "reportFormat": "CTRF",
            "specVersion": SPEC_VERSION,
            "generatedBy": "testops",
            **({"extra": dict(extra)} if extra else {}),
            "results": {
                "tool": {"name": "testops"},
                "summary": summary,
                "tests": [_test(case.bounded()) for case in cases],
            },
        }
    )


def _milliseconds(at: str | None) -> int:
    return 0 if at is None else int(datetime.fromisoformat(at).timestamp() * 1000)


def _test(case: TestCase) -> dict[str, Any]:
    suite = [part for part in (case.suite, case.group) if part]
    known = {
        "name": case.name,
        "status": _STATUS[case.outcome],
        "duration": _duration(case.duration_s) or 0,
        "suite": suite or None,
        "message": case.message or None,
        "trace": case.detail or None,
        "line": case.line,
        "rawStatus": case.said or case.outcome.value,
        "filePath": case.file or None,
        "retries": len(case.tries) or None,
        "retryAttempts": [_try(n, one) for n, one in enumerate(case.tries, 1)] or None,
        "flaky": True if case.flaky else None,
        "stdout": case.stdout.splitlines() or None,
        "stderr": case.stderr.splitlines() or None,
        "labels": dict(case.properties) or None,
        # CTRF has no absent duration: 0 there, and said here.
        "extra": None if case.duration_s is not None else {"durationUnknown": True},
    }
    return {name: value for name, value in known.items() if value is not None}


def _try(number: int, one: Try) -> dict[str, Any]:
    known = {
        "attempt": number,
        "status": _STATUS[one.outcome],
        "duration": _duration(one.duration_s),
        "message": one.message or None,
        "trace": one.detail or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _duration(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


# --- reading ------------------------------------------------------------------------------------


def is_ctrf(value: Any) -> bool:
    """Whether it says so, or has the shape of those that did not say it yet."""
    if not isinstance(value, Mapping):
        return False
    results = value.get("results")
    return value.get("reportFormat") == "CTRF" or (
        isinstance(results, Mapping) and "tests" in results and "tool" in results
    )


def read_ctrf(source: Source) -> list[TestCase]:
    """Every test of the file."""
    results = Fields.of(source, json_of(source)).object("results")
    if not results.has("tests"):
        raise source.bad(
            "there are no tests", field="/results/tests", fix="give a whole CTRF report"
        )
    return [_case_of(one, source) for one in results.objects("tests")]


def _case_of(found: Fields, source: Source) -> TestCase:
    name = found.text("name")
    if not name:
        raise source.bad("a test without a name", field=found.place("name"), fix="name every test")
    suite = _suite_of(found)
    raw = found.text("rawStatus")
    outcome = _outcome(found, source)
    if raw == "error" and outcome is Outcome.FAILED:
        outcome = Outcome.ERROR
    tries = tuple(
        Try(
            _outcome(one, source),
            one.text("message"),
            _seconds(one.number("duration")),
            one.text("trace"),
        )
        for one in found.objects("retryAttempts")
    )
    if not tries and found.truth("flaky") and outcome is Outcome.PASSED:
        tries = (Try(Outcome.FAILED, "reported as flaky, without its tries"),)
    unknown = found.object("extra").truth("durationUnknown") is True
    return TestCase(
        name=name,
        outcome=outcome,
        suite=suite[0] if suite else "",
        group=" > ".join(suite[1:]),
        file=found.text("filePath"),
        line=found.count("line"),
        duration_s=None if unknown else _seconds(found.number("duration")),
        message=found.text("message"),
        detail=found.text("trace"),
        said=raw if raw != outcome.value else "",
        tries=tries,
        stdout=_lines(found, "stdout"),
        stderr=_lines(found, "stderr"),
        properties=_labels(found),
    ).bounded()


def _suite_of(found: Fields) -> list[str]:
    value = found.body.get("suite")
    # Reports from before suites were lists have one text.
    if isinstance(value, str):
        return value.split(" > ")
    return [str(part) for part in found.list("suite")]


def _outcome(found: Fields, source: Source) -> Outcome:
    status = found.text("status")
    if status not in _OUTCOMES:
        raise source.bad(
            f"{status!r} is no status",
            field=found.place("status"),
            fix=f"write one of {', '.join(_OUTCOMES)}",
        )
    return _OUTCOMES[status]


def _lines(found: Fields, name: str) -> str:
    return "\n".join(str(line) for line in found.list(name))


def _labels(found: Fields) -> tuple[tuple[str, str], ...]:
    labels = found.object("labels").body
    return tuple((name, value) for name, value in labels.items() if isinstance(value, str))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
