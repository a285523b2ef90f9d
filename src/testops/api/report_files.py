"""`/v1/reports/import` and `/v1/reports/flaky`: other tools' files, and which tests to distrust.

Reading a file keeps nothing of it: the server parses and answers. Reports of one run are its
artifacts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import answer, problems, tagged
from testops.api.ports import ApiServices
from testops.api.problems import INVALID, Problem, error_at
from testops.api.routing import Admitted, permits, router
from testops.api.schemas import Wire, WorkspaceName
from testops.domain.access import Permission
from testops.domain.errors import BadInput
from testops.domain.execution import Artifact
from testops.domain.run_view import RunFilter, RunView
from testops.domain.shapes import Strict
from testops.domain.stage import StageName, StageState
from testops.reports.flaky import TestRun, flaky_report
from testops.reports.formats.reading import Source
from testops.reports.imports import NO_PROJECT, Format, import_report
from testops.runner.test_history import build_name, with_tests

routes = router("reports")

TESTS = "reports/tests.json"
# A record of tests that is larger is left out: the answer would take longer than anybody waits.
RECORD_BYTES_MAX = 16 * 1024 * 1024
RUNS_MAX = 100

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
    source = Source(asked.name, asked.content.encode())
    try:
        return import_report(
            source, root=NO_PROJECT, suite=asked.suite, asked=asked.format
        ).to_json()
    except BadInput as error:
        errors = [error_at("body", "/content", error.problem, error.fix)]
        raise Problem(INVALID, str(error), errors=errors) from error


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
