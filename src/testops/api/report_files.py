"""`/v1/reports/…` of files: those of other tools read and shown, and which tests to distrust.

Reading a file keeps nothing of it: the server parses and answers. Reports of one run are its
artifacts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, TypeVar

from fastapi import Header, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, encode, problems, tagged
from testops.api.ports import ApiServices
from testops.api.problems import INVALID, Problem, error_at
from testops.api.reports import page_or_json
from testops.api.routing import Admitted, permits, router
from testops.api.schemas import Wire, WorkspaceName
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.performance import Performance
from testops.domain.run_view import RunFilter, RunView
from testops.domain.shapes import Strict
from testops.domain.stage import StageName, StageState
from testops.reports.flaky import TestRun, flaky_report
from testops.reports.formats.reading import Source
from testops.reports.hardening import Check, checks_in, hardening_json, phases_of
from testops.reports.hardening_page import render_hardening
from testops.reports.imports import (
    NO_PROJECT,
    Format,
    Imported,
    import_report,
    load_test_in,
)
from testops.reports.performance_page import TESTS_MAX, performance_json, render_performance
from testops.runner.test_history import build_name, with_tests

routes = router("reports")

TESTS = "reports/tests.json"
# A record of tests that is larger is left out: the answer would take longer than anybody waits.
RECORD_BYTES_MAX = 16 * 1024 * 1024
RUNS_MAX = 100

Result = TypeVar("Result")
_PLAIN = r"^[^\x00-\x1f\x7f]*$"


class ReportAsked(Strict):
    """A report of another tool, as text."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=_PLAIN)] = Field(
        description="What messages call it."
    )
    content: str = Field(min_length=1, description="The file.")
    format: Annotated[Format, Field(strict=False)] | None = Field(
        None, description="Left out: told by the content."
    )
    suite: Annotated[str, Field(max_length=200, pattern=_PLAIN)] = ""


class ReportRead(Wire):
    """What the file says. Only what the format has is there: tests, findings, and so on."""

    schema_version: int = Field(alias="schema")
    file: str
    format: Format
    digest: str
    suite: str
    metrics: dict[str, float]
    units: dict[str, str]
    notes: list[str]
    tests: list[dict[str, Any]] | None = None
    performance: dict[str, Any] | None = None
    coverage: dict[str, Any] | None = None
    findings: list[dict[str, Any]] | None = None


class SuspectShown(Wire):
    """One test that did not hold in every run, and what the runs say about it."""

    test: str
    kind: str
    reason: str
    build: str
    passed: int
    failed: int
    excused: int
    runs: list[str]
    polluters: list[str]
    next: str


class OutageShown(Wire):
    """A run whose tests say nothing about the code."""

    run: str
    reason: str


class FlakyShown(Wire):
    """Tests that cannot be trusted, the most certain first."""

    runs: int
    tests: int
    suspects: list[SuspectShown]
    outages: list[OutageShown]


@routes.post(
    "/v1/reports/import",
    operation_id="readReport",
    summary="Read a report of another tool",
    responses={**problems(body=True), 200: {"model": ReportRead}},
)
@permits(Permission.RUNS_CREATE)
async def read_report(asked: ReportAsked, caller: Admitted) -> Response:
    """JUnit, CTRF, Cobertura, LCOV, SARIF, k6, Hyperfoil and hyperfine, as `report import` does.

    The metrics have the names that gates use; what the file does not have is absent. Nothing is
    kept.
    """
    return answer(await run_in_threadpool(_read, asked))


def _read(asked: ReportAsked) -> Mapping[str, Any]:
    return _of(asked, _imported).to_json()


def _imported(source: Source, asked: ReportAsked) -> Imported:
    return import_report(source, root=NO_PROJECT, suite=asked.suite, asked=asked.format)


def _of(asked: ReportAsked, read: Callable[[Source, ReportAsked], Result]) -> Result:
    """What `read` makes of the file; a `Problem` where that is nothing."""
    try:
        return read(Source(asked.name, asked.content.encode()), asked)
    except BadInput as error:
        errors = [error_at("body", "/content", error.problem, error.fix)]
        raise Problem(INVALID, str(error), errors=errors) from error


class LoadTestsAsked(Strict):
    """Load tests that other tools recorded."""

    files: list[ReportAsked] = Field(min_length=1, max_length=TESTS_MAX)


class ResultsAsked(Strict):
    """Recorded results of the checks of phases 4 to 9, each file as it would be sent alone."""

    files: list[ReportAsked] = Field(min_length=1, max_length=20)


class PerformanceShown(Wire):
    """What load tests measured, each as its tool told it."""

    schema_version: int = Field(alias="schema")
    tests: list[dict[str, Any]]


class HardeningShown(Wire):
    """How each phase stands; what left no result is missing, and never passed."""

    schema_version: int = Field(alias="schema")
    at: str
    phases: list[dict[str, Any]]


_Accept = Annotated[str, Header()]
_OR_PAGE = {"content": {"text/html": {}}, "description": "As JSON, or as Accept asks: a page"}


@routes.post(
    "/v1/reports/performance",
    operation_id="reportPerformance",
    summary="Show what load tests measured",
    responses={**problems(body=True), 200: {"model": PerformanceShown, **_OR_PAGE}},
)
@permits(Permission.RUNS_CREATE)
async def report_performance(
    request: Request, asked: LoadTestsAsked, caller: Admitted, accept: _Accept = "application/json"
) -> Response:
    """As `report performance` does. Percentiles are shown as told; nothing is kept."""

    def made() -> str:
        measured = [_of(one, _load_test) for one in asked.files]
        names = ", ".join(one.name for one in asked.files[:3])
        wants_page = "text/html" in accept
        return render_performance(measured, of=names) if wants_page else performance_json(measured)

    return page_or_json(request, await run_in_threadpool(made), accept)


@routes.post(
    "/v1/reports/hardening",
    operation_id="reportHardening",
    summary="Show how phases 4 to 9 stand",
    responses={**problems(body=True), 200: {"model": HardeningShown, **_OR_PAGE}},
)
@permits(Permission.RUNS_CREATE)
async def report_hardening(
    request: Request, asked: ResultsAsked, caller: Admitted, accept: _Accept = "application/json"
) -> Response:
    """As `report hardening` does, by these results as of now; nothing is kept."""

    def made() -> str:
        checks = [check for one in asked.files for check in _of(one, _checks)]
        phases = phases_of(checks, at=caller.services.clock.now())
        if "text/html" in accept:
            return render_hardening(phases)
        return encode(hardening_json(phases)).decode()

    return page_or_json(request, await run_in_threadpool(made), accept)


def _load_test(source: Source, asked: ReportAsked) -> Performance:
    return load_test_in(source, root=NO_PROJECT, asked=asked.format)


def _checks(source: Source, _: ReportAsked) -> Sequence[Check]:
    return checks_in(source)


@routes.get(
    "/v1/reports/flaky",
    operation_id="listFlakyTests",
    summary="Which tests cannot be trusted, and why",
    responses={
        **problems(),
        200: {"model": FlakyShown},
        304: {"description": "The client has it already"},
    },
)
@permits(Permission.RUNS_READ)
async def list_flaky_tests(
    request: Request,
    caller: Admitted,
    workspace: Annotated[WorkspaceName, Query()] = "default",
    suite: Annotated[str | None, Query(max_length=64, pattern=_PLAIN)] = None,
    last: Annotated[int, Query(ge=1, le=RUNS_MAX, description="So many attempts.")] = 50,
) -> Response:
    """Over the newest attempts with a unit stage; runs of one build are compared."""
    await caller.enter(workspace)
    wanted = RunFilter(suite=suite, workspaces=frozenset({workspace}))
    runs = await run_in_threadpool(lambda: list(islice(_test_runs(caller.services, wanted), last)))
    report = await run_in_threadpool(flaky_report, runs[::-1])
    return tagged(request, report.to_json())


def _test_runs(services: ApiServices, wanted: RunFilter) -> Iterator[TestRun]:
    """The attempts that had a unit stage, the newest first, of the newest runs."""
    for view in services.runs.list(wanted, limit=RUNS_MAX).runs:
        for number in range(view.attempt, 0, -1):
            run = _attempt(services, view, number)
            if run is not None:
                yield run


def _attempt(services: ApiServices, view: RunView, number: int) -> TestRun | None:
    left = {one.path: one for one in services.runs.artifacts(view.run_id, number)}
    build = view.build
    run = TestRun(
        run_id=view.run_id,
        attempt=number,
        build=build_name(build.commit, build.dirty, stated=build.stated),
        seed=view.seeds.sim,
        reproduce=view.reproduce,
    )
    record = left.get(TESTS)
    if record is not None:
        text = _content(services, record)
        return None if text is None else with_tests(run, text, shown=run.shown)
    # How the stages of an earlier attempt ended is not kept; only what they left.
    broken = _broken(services, view.run_id) if number == view.attempt else ""
    return replace(run, broken=broken) if broken else None


def _content(services: ApiServices, record: Artifact) -> str | None:
    if record.size > RECORD_BYTES_MAX:
        return None
    try:
        content = services.contents.read(record.sha256, offset=0, length=record.size)
    except FileNotFoundError:
        # Retention removed it with its run.
        return None
    return content.decode("utf-8", "replace")


def _broken(services: ApiServices, run_id: str) -> str:
    """Why the unit stage of a run measured nothing; "" where it has none, or is not at its end."""
    view = services.runs.get(run_id)
    reports = [stage.report for stage in view.stages if stage.report is not None] if view else []
    for report in reports:
        if report["name"] == StageName.UNIT and report["state"] == StageState.TOOL_ERROR:
            return str(report["reason"])
    return ""
