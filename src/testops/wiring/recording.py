"""Keeps a run of the command line in the store of its project: a server there shows it live.

The command executes its run itself, whether anybody keeps it or not: an error of the store is a
warning, and the record on the disk is complete without it. The store takes the run for dead when
the command stops showing signs of life.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from testops import engine
from testops.domain.errors import StoreUnavailable
from testops.domain.execution import Ending, Executor, StageRecord, Taken, cancelled
from testops.domain.gate import GateResult
from testops.domain.run import Run, RunState
from testops.domain.snapshot import NewBundle
from testops.domain.stage import StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.runner.asking import Wish, new_run
from testops.runner.execution import event_of
from testops.runner.left_bundles import left_bundle
from testops.runner.planning import Planned
from testops.runner.projects import Project
from testops.runner.stage_child import Told
from testops.runner.worker import BEAT_S
from testops.telemetry.clock import Clock, SystemClock
from testops.telemetry.events import (
    Event,
    GateEvaluated,
    Listener,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)
from testops.warroom.verdicts import judgement_json
from testops.wiring import cpu_count
from testops.wiring.roles import Store, open_store, settings_for


@contextlib.contextmanager
def keeping(
    folder: Path, environment: Mapping[str, str], *, token: str, who: str
) -> Iterator[Callable[[Planned], Listener]]:
    """What keeps runs in the store of the project around `folder`."""
    settings = settings_for(folder, environment)
    with open_store(settings, may_migrate=False) as store, contextlib.ExitStack() as open_ones:

        def keeper(planned: Planned) -> Listener:
            kept = _Kept(store, planned, f"cli-{token}", who)
            open_ones.callback(kept.close)
            return kept.hear

        yield keeper


log = logging.getLogger("testops.recording")


class _Kept:
    """One run of the command line, as it goes into the store."""

    def __init__(self, store: Store, planned: Planned, executor_id: str, who: str) -> None:
        self._store = store
        self._planned = planned
        self._who = who
        self._clock: Clock = SystemClock()
        self._executor = Executor(
            executor_id,
            "foreground",
            socket.gethostname(),
            os.getpid(),
            cpu_count(),
            engine.ENGINE_VERSION,
        )
        self._taken: Taken | None = None
        self._cancelled_by: str | None = None
        self._gates: list[GateResult] = []
        self._told: Told | None = None
        self._over = threading.Event()

    def hear(self, event: Event) -> None:
        """Keep what `event` tells."""
        match event:
            case RunStarted():
                self._begin()
            case _ if self._taken is None:
                # Somebody else executes this run now; the record on the disk is ours alone.
                return
            case StageStarted(stage=stage, attempt=1):
                self._told = Told(stage.value, self._clock, self._tell)
                self._store.executions.begin_stage(
                    self._mine, stage.value, self._executor.executor_id
                )
            case GateEvaluated(result=result):
                # Those of stages that the run has not come after the last, and go with its end.
                self._gates.append(result)
            case StageFinished(report=report):
                self._flush()
                self._record(report)
            case RunFinished(run=run):
                self._finish(run)
            case _ if self._told is not None:
                self._told(event)
            case _:
                return

    def _flush(self) -> None:
        if self._told is not None:
            self._told.flush()
            self._told = None

    def close(self) -> None:
        """Show no more signs of life."""
        self._over.set()
        with contextlib.suppress(StoreUnavailable):
            self._store.leases.leave(self._executor.executor_id)

    @property
    def _mine(self) -> Taken:
        assert self._taken is not None
        return self._taken

    def _begin(self) -> None:
        self._store.leases.beat(self._executor)
        threading.Thread(target=self._live, name="beat", daemon=True).start()
        wanted = new_run(self._planned, Wish(created_by=self._who))
        self._taken = self._store.runs.create_foreground(wanted, self._executor.executor_id)
        if self._taken is None:
            log.warning(
                "run %s is being executed by the server; this execution is only on the disk",
                self._planned.run_id,
            )

    def _live(self) -> None:
        while not self._over.wait(BEAT_S):
            # It may be back for the next one.
            with contextlib.suppress(StoreUnavailable):
                self._store.leases.beat(self._executor)
                self._obey()

    def _obey(self) -> None:
        """End this process as Ctrl-C does when somebody cancelled its run elsewhere."""
        if self._taken is None or self._cancelled_by is not None:
            return
        for seen in self._store.executions.watch([self._taken.run.run_id]):
            is_mine = seen.fence == self._taken.fence and seen.state is RunState.RUNNING
            if is_mine and seen.cancel_requested_by is not None:
                self._cancelled_by = seen.cancel_requested_by
                os.kill(os.getpid(), signal.SIGINT)

    def _tell(self, body: Mapping[str, Any]) -> None:
        self._store.executions.tell(self._mine, [event_of(body)])

    def _record(self, report: StageReport) -> None:
        gates, self._gates = self._gates, []
        if report.state in (StageState.NOT_IN_SUITE, StageState.NOT_ASKED):
            return
        project = Project(self._planned.project_root)
        left = [path for name in report.artifacts if (path := project.root / name).is_file()]
        record = StageRecord(
            report.name.value,
            report.to_full_json(),
            [gate.to_full_json() for gate in gates],
            [self._store.keep(path, project.shown(path)) for path in left],
            "infrastructure" if report.state is StageState.TOOL_ERROR else None,
        )
        # What moved is reviewed where the run is: in the files of the project.
        bundle = self._bundle(project, left, record) if report.name is StageName.SIM else None
        self._store.executions.record(self._mine, replace(record, bundle=bundle))

    def _bundle(
        self, project: Project, left: Sequence[Path], record: StageRecord
    ) -> NewBundle | None:
        path = project.snapshots / f"run-{self._planned.run_id}.tar.gz"
        kept = dict(zip(left, record.artifacts, strict=True))
        if path not in kept:
            return None
        return left_bundle(self._mine.run, path, kept[path], None, record.report, record.gates)

    @staticmethod
    def _judgement(run: Run) -> Mapping[str, Any] | None:
        """What no stage's record has: the score, the gates of stages that it has not."""
        if run.state is not RunState.FINISHED:
            return None
        have = {
            stage.name
            for stage in run.stages
            if stage.state not in (StageState.NOT_IN_SUITE, StageState.NOT_ASKED)
        }
        absent = [gate for gate in run.gates if gate.rule.stage not in have]
        return judgement_json(run.score, absent, run.waivers_unused)

    def _finish(self, run: Run) -> None:
        assert run.verdict is not None
        ending = Ending(
            run.state,
            Verdict(run.verdict),
            ExitCode.INTERNAL if run.exit_code is None else run.exit_code,
            run.reason,
            run.bundle,
            run.bundle_identity,
            self._judgement(run),
        )
        if self._cancelled_by is not None and run.state is RunState.CANCELLED:
            ending = cancelled(self._cancelled_by)
        # Signs of life go on until it is kept: a database that is busy for long may take its time.
        self._store.executions.finish(self._mine, ending)
        self._over.set()
