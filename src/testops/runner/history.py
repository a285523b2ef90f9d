"""`History` by the records of a project's disk: `snapshots/runs/<id>/attempt-N.json`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testops.domain.gate import GateResult
from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.stage import Metric, StageName, StageReport
from testops.domain.verdict import Verdict
from testops.runner.records import RunStore

log = logging.getLogger("testops.history")


class FileHistory:
    """The ended attempts of one project, as its disk remembers them."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        """The newest `limit` finished attempts of `suite`, newest first; of any profile if None."""
        found: list[PastRun] = []
        for record in self._store.newest_first():
            if len(found) == limit:
                break
            is_wanted = (
                record.get("state") == RunState.FINISHED.value
                and record.get("suite") == suite
                and profile in (None, record.get("profile"))
                and record.get("verdict") in {verdict.value for verdict in verdicts}
            )
            if is_wanted and (past := _read(record)) is not None:
                found.append(past)
        return sorted(found, key=lambda run: run.finished_at, reverse=True)

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        """Every ended attempt of that run, the newest first, also one that was cut short."""
        ended = [one for one in self._store.attempts(run_id) if one.get("finished_at")]
        return [past for record in reversed(ended) if (past := _read(record)) is not None]


def _read(record: Mapping[str, Any]) -> PastRun | None:
    try:
        return past_run(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # It is no evidence, and whoever wrote it must not stop the runs that come after it.
        log.warning("the record of run %s cannot be read: %r", record.get("run_id"), error)
        return None


def past_run(record: Mapping[str, Any]) -> PastRun:
    """The run that a record of a finished attempt tells of."""
    return PastRun(
        run_id=record["run_id"],
        attempt=record["attempt"],
        suite=record["suite"],
        profile=record["profile"],
        state=RunState(record["state"]),
        verdict=Verdict(record["verdict"]),
        finished_at=record["finished_at"],
        commit=record["build"]["commit"],
        engine_version=record["engine_version"],
        **measured_in(record["stages"], record["gates"]),
    )


def measured_in(
    stages: Sequence[Mapping[str, Any]], gates: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What kept reports and gates say, as the fields of `PastRun`."""
    metrics: dict[StageName, Any] = {}
    samples: dict[StageName, Any] = {}
    for name, every in _measured(stages):
        sampled = {metric.name: metric.samples for metric in every if metric.samples}
        metrics |= {name: {metric.name: metric.value for metric in every}} if every else {}
        samples |= {name: sampled} if sampled else {}
    let_through = {
        (result.rule.stage, result.rule.metric)
        for result in map(GateResult.from_json, gates)
        if result.waiver is not None or result.verdict is Verdict.FAIL
    }
    return {"metrics": metrics, "samples": samples, "let_through": frozenset(let_through)}


def _measured(
    stages: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[StageName, Sequence[Metric]]]:
    for stage in stages:
        if "exact" in stage:
            yield StageName(stage["name"]), tuple(StageReport.from_json(stage).metrics.values())
        else:
            # A record of a release that kept what people see, and nothing else.
            seen = stage["metrics"].items()
            yield StageName(stage["name"]), [Metric(n, v, "", "") for n, v in seen]
