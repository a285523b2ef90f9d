"""Recognises a report of another tool, and makes our values and metrics of it.

What each format means belongs to `reports.formats`; where the result is kept, to the caller.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.performance import Performance
from testops.domain.stage import Metric
from testops.domain.test_case import TestCase, counted
from testops.reports.coverage import Coverage, merged
from testops.reports.findings import (
    CodeFinding,
    finding_metrics,
    fingerprinted,
    with_snippets,
)
from testops.reports.formats.cobertura import is_cobertura, read_cobertura
from testops.reports.formats.coverage_json import is_coverage_json, read_coverage_json
from testops.reports.formats.ctrf import is_ctrf, read_ctrf
from testops.reports.formats.hyperfine import is_hyperfine, read_hyperfine
from testops.reports.formats.hyperfoil import is_hyperfoil, read_hyperfoil
from testops.reports.formats.junit import is_junit, read_junit
from testops.reports.formats.k6 import is_k6_summary, read_k6_summary
from testops.reports.formats.k6_points import is_k6_points, read_k6_points
from testops.reports.formats.lcov import is_lcov, read_lcov
from testops.reports.formats.reading import Source, json_of, tag_of, xml_of
from testops.reports.formats.sarif import is_sarif, read_sarif

SCHEMA = 1
# A folder that cannot be there: who has no project looks for no file of one.
NO_PROJECT = Path("/dev/null/project")


class Format(StrEnum):
    """What can be imported."""

    JUNIT = "junit"
    CTRF = "ctrf"
    COBERTURA = "cobertura"
    LCOV = "lcov"
    COVERAGE_JSON = "coverage-json"
    SARIF = "sarif"
    K6 = "k6"
    K6_POINTS = "k6-points"
    HYPERFOIL = "hyperfoil"
    HYPERFINE = "hyperfine"


_FIX = f"say what it is: --as {'|'.join(Format)}"


@dataclass(frozen=True, slots=True)
class Imported:
    """A file of another tool as our values; only one of the four is filled."""

    name: str
    format: Format
    digest: str
    suite: str
    metrics: tuple[Metric, ...]
    tests: tuple[TestCase, ...] = ()
    performance: Performance | None = None
    coverage: Coverage | None = None
    findings: tuple[CodeFinding, ...] = ()
    tools: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is kept and what `--json` prints; the content only, nothing of when or who."""
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "file": self.name,
            "format": self.format.value,
            "digest": self.digest,
            "suite": self.suite,
            "metrics": {metric.name: metric.value for metric in self.metrics},
            "units": {metric.name: metric.unit for metric in self.metrics if metric.unit},
            "notes": list(self.notes),
        }
        if self.tests:
            body["tests"] = [case.to_json() for case in self.tests]
        if self.performance is not None:
            body["performance"] = self.performance.to_json()
        if self.coverage is not None:
            body["coverage"] = self.coverage.to_json()
        if self.findings:
            body["findings"] = [finding.to_json() for finding in self.findings]
        return body


def import_report(
    source: Source, *, root: Path, suite: str = "", asked: Format | None = None
) -> Imported:
    """The file as our values; `BadInput` names file, field and fix."""
    found = asked or recognised(source)
    return _READERS[found](_Asked(source, found, suite, root))


def load_test_in(source: Source, *, root: Path, asked: Format | None = None) -> Performance:
    """The load test that the file tells of; `BadInput` where it is something else."""
    found = import_report(source, root=root, asked=asked)
    if found.performance is None:
        raise source.bad(
            f"it is {found.format.value}, and no load test",
            fix="give a summary or points of k6, Hyperfoil or hyperfine",
        )
    return found.performance


def recognised(source: Source) -> Format:
    """What the file is, told by what is in it: names of files say little."""
    head = source.content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise source.bad("it is empty", fix="give the report of a finished run")
    if head.startswith(b"<"):
        return _recognised_xml(source)
    if head.startswith((b"{", b"[")):
        text = source.text()
        return Format.K6_POINTS if is_k6_points(text) else _recognised_json(source)
    if is_lcov(source.text()):
        return Format.LCOV
    raise source.bad("nobody knows this format", fix=_FIX)


def _recognised_xml(source: Source) -> Format:
    root = xml_of(source)
    if is_junit(root):
        return Format.JUNIT
    if is_cobertura(root):
        return Format.COBERTURA
    raise source.bad(f"nobody knows XML that begins with <{tag_of(root)}>", fix=_FIX)


_JSON: tuple[tuple[Callable[[Any], bool], Format], ...] = (
    (is_sarif, Format.SARIF),
    (is_ctrf, Format.CTRF),
    (is_k6_summary, Format.K6),
    (is_coverage_json, Format.COVERAGE_JSON),
    (is_hyperfoil, Format.HYPERFOIL),
    (is_hyperfine, Format.HYPERFINE),
)


def _recognised_json(source: Source) -> Format:
    value = json_of(source)
    for matches, found in _JSON:
        if matches(value):
            return found
    raise source.bad("nobody knows JSON of this shape", fix=_FIX)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One file, and as what it is read."""

    source: Source
    format: Format
    suite: str
    root: Path

    @property
    def stem(self) -> str:
        return Path(self.source.name).stem

    def imported(self, metrics: tuple[Metric, ...], **values: Any) -> Imported:
        digest = hashlib.sha256(self.source.content).hexdigest()
        return Imported(
            self.source.name, self.format, digest, self.suite or self.stem, metrics, **values
        )


def _tests(asked: _Asked) -> Imported:
    read = read_junit if asked.format is Format.JUNIT else read_ctrf
    cases = tuple(read(asked.source))
    counts = counted(cases)
    # As the unit stage counts: an error is a test that did not pass.
    counts["failed"] += counts.pop("error")
    metrics = tuple(Metric(name, value, asked.source.name) for name, value in counts.items())
    notes = () if cases else ("there is no test in it",)
    return asked.imported(metrics, tests=cases, notes=notes)


def _coverage(asked: _Asked) -> Imported:
    coverage = _COVERAGES[asked.format](asked.source, root=asked.root)
    return asked.imported(coverage.metrics(asked.source.name), coverage=coverage)


_COVERAGES: Mapping[Format, Callable[..., Coverage]] = {
    Format.COBERTURA: read_cobertura,
    Format.LCOV: read_lcov,
    Format.COVERAGE_JSON: read_coverage_json,
}


def _findings(asked: _Asked) -> Imported:
    log = read_sarif(asked.source, root=asked.root)
    found = fingerprinted(with_snippets(log.found, asked.root))
    notes = [] if log.tools else ["no tool ran: nothing is counted"]
    if log.suppressed:
        notes.append(f"{log.suppressed} suppressed findings are left out")
    if log.failed:
        notes.append(f"{', '.join(log.failed)} did not get through: nothing is counted")
    # What a tool found before it broke down is shown; how much it would have found is not known.
    broken = log.failed or not log.tools
    metrics = () if broken else finding_metrics(found, asked.source.name)
    return asked.imported(metrics, findings=found, tools=log.tools, notes=tuple(notes))


_LOADS: Mapping[Format, Callable[..., Performance]] = {
    Format.K6: read_k6_summary,
    Format.K6_POINTS: read_k6_points,
    Format.HYPERFOIL: read_hyperfoil,
    Format.HYPERFINE: read_hyperfine,
}


def _load(asked: _Asked) -> Imported:
    name = asked.suite or asked.stem
    performance = _LOADS[asked.format](asked.source, name=name)
    metrics = performance.metrics(asked.source.name)
    if not metrics:
        raise asked.source.bad(
            "there is nothing measured in it", fix="give the report of a finished run"
        )
    return asked.imported(metrics, performance=performance, notes=performance.notes)


_READERS: Mapping[Format, Callable[[_Asked], Imported]] = {
    Format.JUNIT: _tests,
    Format.CTRF: _tests,
    Format.COBERTURA: _coverage,
    Format.LCOV: _coverage,
    Format.COVERAGE_JSON: _coverage,
    Format.SARIF: _findings,
    Format.K6: _load,
    Format.K6_POINTS: _load,
    Format.HYPERFOIL: _load,
    Format.HYPERFINE: _load,
}


def format_called(name: str) -> Format:
    """The format that somebody named."""
    try:
        return Format(name)
    except ValueError:
        raise BadInput(f"{name!r} is no format", where="--as", fix=_FIX) from None


def kept(imported: Imported, *, run_id: str | None) -> str:
    """The text that is kept under `reports/imported/`; `run_id` is the run that it belongs to."""
    body = {**imported.to_json(), "run": run_id}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Merged:
    """Several files as one; what they have none of is empty."""

    tests: tuple[TestCase, ...]
    coverage: Coverage
    findings: tuple[CodeFinding, ...]
    tools: tuple[str, ...]


def merged_imports(imported: Sequence[Imported]) -> Merged:
    """Tests in the order of the files, coverage added up, each finding once.

    A test of which several files tell stands in the suite of each: shards have names of their own.
    """
    coverages = [one.coverage for one in imported if one.coverage is not None]
    return Merged(
        tests=tuple(_in_suite(case, one) for one in imported for case in one.tests),
        coverage=merged(coverages),
        findings=fingerprinted(finding for one in imported for finding in one.findings),
        tools=tuple(dict.fromkeys(tool for one in imported for tool in one.tools)),
    )


def _in_suite(case: TestCase, imported: Imported) -> TestCase:
    return replace(case, suite=case.suite or imported.suite)
