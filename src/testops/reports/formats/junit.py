"""JUnit XML, the dialect that Maven Surefire, pytest and CI servers share.

A test that was repeated keeps its earlier tries: `flakyFailure` and `flakyError` where it passed in
the end, `rerunFailure` and `rerunError` where it did not, as Surefire writes them. There is no
`timestamp` and no `hostname`: equal results are equal bytes, but for the durations.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from testops.domain.test_case import Outcome, TestCase, Try, counted
from testops.reports.formats.reading import Source, count_in, number_in, tag_of, xml_of
from testops.reports.formats.writing import (
    clean,
    element,
    seconds,
    text_element,
    xml_document,
)

_TRIES = ("flakyFailure", "flakyError", "rerunFailure", "rerunError")


def write_junit(cases: Sequence[TestCase], *, name: str) -> str:
    """The file: suites in the order in which they first appear, tests in theirs."""
    suites: dict[str, list[TestCase]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case.bounded())
    total = _counts(cases)
    return xml_document(
        element(
            "testsuites",
            {"name": name, **total},
            (_suite(suite, found) for suite, found in suites.items()),
        )
    )


def _counts(cases: Sequence[TestCase]) -> dict[str, object]:
    counts = counted(cases)
    timed = [case.duration_s for case in cases if case.duration_s is not None]
    return {
        "tests": counts["tests"],
        "failures": counts["failed"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "time": seconds(sum(timed)) if timed else None,
    }


def _suite(name: str, cases: Sequence[TestCase]) -> str:
    return element(
        "testsuite", {"name": name or "tests", **_counts(cases)}, (_case(case) for case in cases)
    )


def _case(case: TestCase) -> str:
    values = {
        "classname": case.group or None,
        "name": case.name,
        "file": case.file or None,
        "line": case.line,
        "time": seconds(case.duration_s),
    }
    inside = list(_inside(case))
    return element("testcase", values, inside or None)


def _inside(case: TestCase) -> Iterator[str]:
    pairs = [*case.properties, *([("outcome", case.said)] if case.said else [])]
    if pairs:
        yield element(
            "properties",
            {},
            (element("property", {"name": name, "value": value}) for name, value in pairs),
        )
    tag = {Outcome.FAILED: "failure", Outcome.ERROR: "error", Outcome.SKIPPED: "skipped"}
    if case.outcome in tag:
        yield _said(tag[case.outcome], case.message, case.detail)
    for one in case.tries:
        kind = "Error" if one.outcome is Outcome.ERROR else "Failure"
        prefix = "flaky" if case.outcome is Outcome.PASSED else "rerun"
        if not one.outcome.holds:
            yield _said(f"{prefix}{kind}", one.message, one.detail)
    for name, text in (("system-out", case.stdout), ("system-err", case.stderr)):
        if text:
            yield text_element(name, {}, text)


def _said(tag: str, message: str, detail: str) -> str:
    # One line: an attribute's line ends become spaces in most readers.
    first = " ".join(clean(message).split())[:500]
    return text_element(tag, {"message": first}, detail or message)


# --- reading ------------------------------------------------------------------------------------


def is_junit(root: ET.Element) -> bool:
    """Whether the root is one of the two that JUnit files have."""
    return tag_of(root) in ("testsuites", "testsuite")


def read_junit(source: Source) -> list[TestCase]:
    """Every test of the file; tests that are told several times in a row are tries of one."""
    root = xml_of(source)
    if not is_junit(root):
        raise source.bad(
            f"<{tag_of(root)}> is not JUnit",
            field="the root element",
            fix="give a file whose root is testsuites or testsuite",
        )
    found = list(_cases_in(root, "", source))
    same = groupby(found, key=lambda case: (case.suite, case.group, case.name, case.file))
    return [_one_of(list(tries)) for _, tries in same]


def _cases_in(parent: ET.Element, suite: str, source: Source) -> Iterator[TestCase]:
    for child in parent if tag_of(parent) == "testsuites" else [parent]:
        if tag_of(child) != "testsuite":
            continue
        name = child.get("name") or suite
        for inner in child:
            if tag_of(inner) == "testcase":
                yield _case_of(inner, name, source)
            elif tag_of(inner) == "testsuite":
                yield from _cases_in(inner, name, source)


def _case_of(found: ET.Element, suite: str, source: Source) -> TestCase:
    name = found.get("name")
    if not name:
        raise source.bad(
            "a test without a name", field="<testcase name>", fix="give every testcase a name"
        )
    outcome, message, detail = _outcome_of(found)
    expected = any(one.get("type") == "pytest.xfail" for one in found)
    properties = _properties_of(found)
    said = dict(properties).get("outcome", "xfailed" if expected else "")
    return TestCase(
        name=name,
        outcome=outcome,
        suite=suite,
        group=found.get("classname", ""),
        file=found.get("file", ""),
        line=count_in(found, "line", source),
        duration_s=number_in(found, "time", source),
        message=message,
        detail=detail,
        said=said,
        tries=tuple(_tries_of(found, source)),
        stdout=_text_of(found, "system-out"),
        stderr=_text_of(found, "system-err"),
        properties=tuple(pair for pair in properties if pair[0] != "outcome"),
    ).bounded()


def _outcome_of(found: ET.Element) -> tuple[Outcome, str, str]:
    # An error counts more than a failure, and both more than a skip.
    for tag, outcome in (
        ("error", Outcome.ERROR),
        ("failure", Outcome.FAILED),
        ("skipped", Outcome.SKIPPED),
    ):
        for child in found:
            if tag_of(child) == tag:
                detail = (child.text or "").strip()
                return outcome, child.get("message") or _first_line(detail), detail
    return Outcome.PASSED, "", ""


def _tries_of(found: ET.Element, source: Source) -> Iterator[Try]:
    for child in found:
        if tag_of(child) in _TRIES:
            failed = tag_of(child).endswith("Failure")
            detail = (child.text or _text_of(child, "stackTrace")).strip()
            message = child.get("message") or _first_line(detail)
            took = number_in(child, "time", source)
            yield Try(Outcome.FAILED if failed else Outcome.ERROR, message, took, detail)


def _one_of(tries: Sequence[TestCase]) -> TestCase:
    """The last telling, with those before it as its tries: how plain runners report repeats."""
    last = tries[-1]
    if len(tries) == 1:
        return last
    before = tuple(Try(one.outcome, one.message, one.duration_s, one.detail) for one in tries[:-1])
    return TestCase.from_json(
        {**last.to_json(), "tries": [one.to_json() for one in (*before, *last.tries)]}
    )


def _properties_of(found: ET.Element) -> list[tuple[str, str]]:
    holders: Iterable[ET.Element] = (one for one in found if tag_of(one) == "properties")
    return [
        (one.get("name", ""), one.get("value") or (one.text or "").strip())
        for holder in holders
        for one in holder
    ]


def _text_of(found: ET.Element, tag: str) -> str:
    return "\n".join((one.text or "").strip() for one in found if tag_of(one) == tag)


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""
