"""How tests ended in the runs of a project: kept beside each record, and read back for comparing.

`snapshots/runs/<id>/tests-N.json` belongs to `attempt-N.json`. Texts that only a reader of that one
run wants (output, tracebacks) are left out of it.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from testops.domain.run import Run
from testops.domain.stage import StageName, StageState
from testops.domain.test_case import TestCase
from testops.reports.flaky import TestRun
from testops.reports.test_record import read_test_record, write_test_record
from testops.runner.files import write_atomically
from testops.runner.projects import Project

log = logging.getLogger("testops.runner")
_DETAIL_KEPT = 2_000


def keep_tests(run: Run, project: Project) -> None:
    """Keep how the tests of `run` ended, where its unit stage ran."""
    unit = next((one for one in run.stages if one.name is StageName.UNIT), None)
    if unit is None or unit.state is not StageState.RAN:
        return
    circumstances, cases = read_test_record((project.reports / "tests.json").read_text("utf-8"))
    text = write_test_record(circumstances, [_slim(case) for case in cases])
    folder = project.snapshots / "runs" / run.run_id
    write_atomically(folder / f"tests-{run.attempt}.json", text.encode())


def _slim(case: TestCase) -> TestCase:
    own = tuple(pair for pair in case.properties if pair[0].startswith("testops."))
    return replace(
        case,
        detail=case.detail[-_DETAIL_KEPT:],
        stdout="",
        stderr="",
        properties=own,
        tries=tuple(replace(one, detail="") for one in case.tries),
    )


def runs_with_tests(project: Project, *, suite: str | None, last: int) -> list[TestRun]:
    """The newest `last` attempts that had a unit stage, oldest first; of any suite if None."""
    found = sorted(_attempts(project, suite), key=lambda one: (one[0], one[1].shown))
    return [run for _, run in found[-last:]]


def _attempts(project: Project, suite: str | None) -> Iterator[tuple[str, TestRun]]:
    for path in sorted((project.snapshots / "runs").glob("*/attempt-*.json")):
        record = _read(path)
        if record is None or (suite is not None and record.get("suite") != suite):
            continue
        unit = next((one for one in record.get("stages", ()) if one.get("name") == "unit"), None)
        if unit is None or unit.get("state") not in (StageState.RAN, StageState.TOOL_ERROR):
            continue
        run = _run_of(path, record, unit)
        if run is not None:
            yield str(record.get("finished_at") or ""), run


def build_name(commit: str | None, dirty: str | None, *, stated: bool) -> str:
    """The build as runs are compared by it; "" where it is not known to the byte."""
    # What was only stated says nothing about the files that ran.
    return "" if stated else "+".join(name for name in (commit, dirty) if name)


def with_tests(run: TestRun, text: str, *, shown: str) -> TestRun | None:
    """`run` with the tests of its record; None where that is no record."""
    try:
        circumstances, cases = read_test_record(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): its run is left out", shown, error)
        return None
    return replace(run, circumstances=circumstances, cases=cases)


def _run_of(path: Path, record: Mapping[str, Any], unit: Mapping[str, Any]) -> TestRun | None:
    build = record.get("build") or {}
    stated = bool(build.get("stated"))
    run = TestRun(
        run_id=str(record["run_id"]),
        attempt=int(record["attempt"]),
        build=build_name(build.get("commit"), build.get("dirty"), stated=stated),
        seed=int(record["seeds"]["sim"]),
        broken=str(unit["reason"]) if unit.get("state") == StageState.TOOL_ERROR else "",
        reproduce=str(record.get("reproduce", "")),
    )
    if run.broken:
        return run
    tests = path.with_name(path.name.replace("attempt-", "tests-"))
    try:
        text = tests.read_text("utf-8")
    except FileNotFoundError:
        # A run of before its tests were kept.
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): its run is left out", tests, error)
        return None
    return with_tests(run, text, shown=str(tests))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
