"""An attempt is executed to its end, whatever its stages and their runner do meanwhile.

The store is real; what a stage answers is scripted, because no real one crashes on command.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.platform import Stores, new_run

from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.execution import Artifact, Executor, Fenced, Taken
from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.run_view import RunView
from testops.domain.stage import Metric, StageAttempt, StageName, StageReport, StageState
from testops.domain.verdict import ExitCode, Verdict
from testops.domain.waiver import Waiver
from testops.runner.budget import Budget
from testops.runner.execution import CRASHES_MAX, EXECUTIONS_MAX, Active, AttemptExecutor, Stopped
from testops.runner.stage_jobs import Result, StageCrashed, StageDone, StageJob, StageStopped
from testops.runner.worker_ports import Place, WorkerPorts
from testops.snapshots import BundleHeader, write_bundle
from testops.storage.chunks import ChunkStore
from testops.storage.database import open_database
from testops.storage.snapshots import SnapshotStore
from testops.storage.tables import run as run_table
from testops.storage.tables import stage_execution
from testops.telemetry.clock import SystemClock

RUN = "a" * 16
ME = Executor("me", "runner", "host", 1, 2, "v")
SUITE = {
    "schema": 1,
    "name": "core",
    "seeds": {"sim": 1, "chaos": 2},
    "stages": {
        "lint": {"ruff": {"paths": ["."]}},
        "sim": {"kernels": {"echo": {"run": "echo.py::echo"}}},
    },
}
PROFILE = {"schema": 1, "name": "offline", "network": {"policy": "loopback-only"}}

Answer = Callable[[StageJob, Callable[[dict[str, Any]], None], Callable[[], str | None]], Result]


# What the default rules of a stage want, and what makes them say otherwise.
GREEN = {
    "lint": {"errors": 0},
    "sim": {
        "determinism_percent": 100,
        "kernels_failed": 0,
        "kernels_inconclusive": 0,
        "kernels_warned": 0,
    },
    "snapshot-compare": {"deltas": 0, "executions_compared": 1, "findings": 0},
}
BROKEN = {
    "lint": {"errors": 3},
    "sim": {"kernels_failed": 1},
    "snapshot-compare": {"deltas": 1},
}


def done(stage: str, verdict: str = "pass", metrics: Any = None, **more: Any) -> StageDone:
    """A stage that measured what becomes `verdict`."""
    measured = {**GREEN[stage], **({} if verdict == "pass" else BROKEN[stage]), **(metrics or {})}
    if verdict == "inconclusive":
        measured = {}
    report = StageReport(
        StageName(stage),
        StageState.RAN,
        attempts=(StageAttempt(1, "ran", 0.1),),
        metrics={name: Metric(name, value, "x.json") for name, value in measured.items()},
    )
    return StageDone(report.to_full_json(), **more)


@dataclass
class Script:
    """`RunStage` that answers what it is told to, in order."""

    answers: list[Answer | Result] = field(default_factory=list)
    jobs: list[StageJob] = field(default_factory=list)

    def __call__(
        self,
        job: StageJob,
        *,
        on_event: Callable[[dict[str, Any]], None],
        stop: Callable[[], str | None],
        clock: object,
    ) -> Result:
        self.jobs.append(job)
        answer = self.answers.pop(0) if self.answers else done(job.stage)
        return answer(job, on_event, stop) if callable(answer) else answer


@dataclass
class Disk:
    """`Places` in a folder; nothing is fetched."""

    folder: Path

    def prepare(self, taken: Taken) -> Place:
        return Place(self.folder, self.folder / "output")

    def keep(self, place: Place, left: Sequence[Path]) -> Sequence[Artifact]:
        return [Artifact(path.name, "0" * 64, 1, "text/plain") for path in left]

    def baselines(self, taken: Taken, place: Place, identity: str) -> Path | None:
        return None

    def keep_chunk(self, path: Path) -> str:
        return path.name

    def fetch_chunk(self, sha256: str, place: Place) -> Path:
        return self.folder / sha256


@dataclass
class World:
    stores: Stores
    script: Script
    stop: threading.Event
    executor: AttemptExecutor
    # Why this runner executes nothing.
    refusals: list[str]

    def execute(self, why: str | None = None) -> RunView:
        taken = self.executor.take(RUN, 1)
        assert taken is not None
        active = Active(RUN, 1, taken.fence, why=why, by="bob")
        self.executor.execute(taken, active)
        return self.run

    @property
    def run(self) -> RunView:
        run = self.stores.runs.get(RUN)
        assert run is not None
        return run

    @property
    def executions(self) -> list[tuple[str, int, str | None, str | None]]:
        columns = ("stage", "number", "outcome", "cause")
        wanted = sa.select(*(stage_execution.c[name] for name in columns)).order_by(
            stage_execution.c.stage, stage_execution.c.number
        )
        with self.stores.database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted)]


@pytest.fixture
def world(migrated_sqlite: Path, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "testops.db").write_bytes(migrated_sqlite.read_bytes())
    database = open_database(f"sqlite:///{tmp_path}/testops.db")
    stores, script, stop = Stores(database), Script(), threading.Event()
    refusals: list[str] = []
    question = {
        "stages": ["lint", "sim"],
        "suite": SUITE,
        "profile": PROFILE,
        "sim_seeds": [1],
    }
    stores.runs.create(replace(new_run(), question=question))
    ports = WorkerPorts(
        executions=stores.executions,
        chunks=ChunkStore(database, lambda *_: None),
        leases=stores.leases,
        # An attempt needs none.
        queue=None,  # type: ignore[arg-type]
        places=Disk(tmp_path),
        run_stage=script,
        clock=SystemClock(),
        refusal=lambda _run: "".join(refusals),
    )
    executor = AttemptExecutor(ME, ports, Budget(cores=2, memory_mb=8000), stop)
    yield World(stores, script, stop, executor, refusals)
    database.close()


def test_a_run_whose_stages_pass_passes(world: World) -> None:
    run = world.execute()

    assert (run.state, run.verdict, run.exit_code) == (RunState.FINISHED, Verdict.PASS, 0)
    assert [job.stage for job in world.script.jobs] == ["lint", "sim"]
    assert world.executions == [("lint", 1, "ran", None), ("sim", 1, "ran", None)]


def packed(folder: Path) -> tuple[Path, str]:
    """A bundle that a stage left, and its identity."""
    header = BundleHeader("core", "offline", 1, 7, "toron-v2.5H+.2", "3.11", "0" * 64)
    path = folder / "output" / "run.tar.gz"
    path.parent.mkdir()
    return path, write_bundle(path, header, {})


def test_the_bundle_that_a_stage_left_is_registered_by_its_runner(
    world: World, tmp_path: Path
) -> None:
    path, identity = packed(tmp_path)
    left = done("sim", artifacts=(path,), bundle=path, bundle_identity=identity)
    world.script.answers = [done("lint"), left]

    run = world.execute()

    assert run.bundle_identity == identity
    kept = SnapshotStore(world.stores.database).of_run(RUN)
    assert kept is not None
    assert (kept.identity, kept.bundle.provenance["run_id"]) == (identity, RUN)
    assert kept.bundle.request["suite"] == SUITE


@pytest.mark.parametrize("lie", ["another identity", "not among its files", "no bundle"])
def test_a_stage_that_lies_about_its_bundle_leaves_none(
    world: World, tmp_path: Path, lie: str
) -> None:
    path, identity = packed(tmp_path)
    if lie == "no bundle":
        path.write_bytes(b"something else")
    claimed = "f" * 64 if lie == "another identity" else identity
    files = () if lie == "not among its files" else (path,)
    left = done("sim", artifacts=files, bundle=path, bundle_identity=claimed)
    world.script.answers = [done("lint"), left]

    run = world.execute()

    assert (run.verdict, run.bundle_identity) == (Verdict.INCONCLUSIVE, None)
    assert "not believed" in run.reason
    snapshots = SnapshotStore(world.stores.database)
    assert [snapshots.get(one, None) for one in (claimed, identity)] == [[], []]


COMPARING = {**SUITE, "stages": {**SUITE["stages"], "snapshot-compare": {}}}  # type: ignore[dict-item]


def comparison(base: str, target: str) -> dict[str, Any]:
    """The report of a comparison that has found one delta."""
    key = {"suite": "core", "profile": "offline", "engine_version": "e.1", "python": "3.11"}
    delta = {"kernel": "echo", "field": "/outputs/a", "kind": "changed", "text": "was 1, is 2"}
    seeds = {"sim_seed": 1, "chaos_seed": 7, "old_field": "/outputs/a", "old": 1, "new": 2}
    return {
        "base": {"identity": base, **key},
        "target": {"identity": target, **key},
        "cause": "regression",
        "delta_count": 1,
        "deltas": [{**delta, **seeds, "cause": "regression"}],
        "summary": [{"kernel": "echo", "field": "/outputs/a", "kind": "changed", "executions": 1}],
        "only_in_base": [],
        "only_in_base_count": 0,
        "only_in_target": [],
        "only_in_target_count": 0,
        "masks": {"rules": []},
    }


@pytest.fixture
def comparing(world: World, tmp_path: Path) -> Callable[[object], tuple[RunView, str]]:
    """Execute a run whose snapshot-compare leaves the report; the run, and its bundle."""
    path, identity = packed(tmp_path)
    question = {
        "stages": ["sim", "snapshot-compare"],
        "suite": COMPARING,
        "profile": PROFILE,
        "sim_seeds": [1],
    }
    with world.stores.database.write() as connection:
        connection.execute(sa.update(run_table).values(question=json.dumps(question)))

    def execute(report: object) -> tuple[RunView, str]:
        file = tmp_path / "output" / "snapshot_diff.json"
        said = report if isinstance(report, str) else json.dumps(report)
        file.write_text(said.replace("OWN", identity))
        world.script.answers = [
            done("sim", artifacts=(path,), bundle=path, bundle_identity=identity),
            done("snapshot-compare", "fail", artifacts=(file,)),
        ]
        return world.execute(), identity

    return execute


def test_what_has_moved_is_under_review_when_the_run_has_ended(
    world: World, comparing: Callable[[object], tuple[RunView, str]]
) -> None:
    run, identity = comparing(comparison("b" * 64, "OWN"))

    [found], _ = SnapshotStore(world.stores.database).reviews(None, state=None, after=None, limit=9)
    assert (found.review.base, found.review.target) == ("b" * 64, identity)
    assert (found.review.opened_by_run, found.cause) == (run.run_id, "regression")
    assert [group.field for group in found.review.groups] == ["/outputs/a"]


@pytest.mark.parametrize(
    "report",
    [
        comparison("b" * 64, "f" * 64),
        comparison("nobody", "OWN"),
        {**comparison("b" * 64, "OWN"), "summary": [{"kernel": 7}]},
        {"base": {}, "delta_count": 1},
        [],
        "{",
        "[" * 100_000,
    ],
    ids=["of another run", "no identity", "no group", "half", "a list", "no JSON", "a tower"],
)
def test_a_report_that_is_forged_opens_no_review_and_passes_nothing(
    world: World, comparing: Callable[[object], tuple[RunView, str]], report: object
) -> None:
    run, _ = comparing(report)

    assert run.verdict is Verdict.INCONCLUSIVE
    assert "not believed" in run.reason
    found = SnapshotStore(world.stores.database).reviews(None, state=None, after=None, limit=9)
    assert found == ([], None)


def test_a_run_of_another_engine_is_ended_and_nothing_of_it_is_executed(world: World) -> None:
    world.refusals.append("it was planned for engine toron-v2.5H+.1, and this runner has .2")

    run = world.execute()

    assert (run.state, run.verdict) == (RunState.ERRORED, Verdict.INCONCLUSIVE)
    assert run.exit_code is ExitCode.BAD_INPUT
    assert "not executed here: it was planned for engine toron-v2.5H+.1" in run.reason
    assert world.script.jobs == []
    assert world.executions == []


def test_seeds_of_a_run_of_another_engine_are_not_executed_either(world: World) -> None:
    """Another runner may hold the run: a part of another engine must not get into its bundle."""
    taken = world.executor.take(RUN, 1)
    assert taken is not None
    chunks = ChunkStore(world.stores.database, lambda *_: None)
    chunks.split(taken, [(0, 1)])
    [chunk] = chunks.all(RUN, 1)
    world.refusals.append("it was planned for engine toron-v2.5H+.1")

    world.executor.execute_chunk(taken, chunk, Active(RUN, 1, None))

    [settled] = chunks.all(RUN, 1)
    assert settled.sha256 is None
    assert settled.problem == "not executed: it was planned for engine toron-v2.5H+.1"
    assert world.script.jobs == []


def test_the_stages_after_a_failed_one_run_too(world: World) -> None:
    world.script.answers = [done("lint", "fail")]

    run = world.execute()

    assert (run.verdict, run.exit_code) == (Verdict.FAIL, ExitCode.FAILED)
    assert run.reason == "lint: errors is 3, wanted == 0, off by 3 (x.json)"
    assert [stage.report is not None for stage in run.stages] == [True, True]
    assert world.executions[0] == ("lint", 1, "ran", "test")


def test_a_broken_determinism_gate_has_the_exit_code_of_its_own(world: World) -> None:
    world.script.answers = [done("lint"), done("sim", metrics={"determinism_percent": 50})]

    assert world.execute().exit_code is ExitCode.NONDETERMINISM


def test_a_crash_is_tried_again_and_is_no_verdict(world: World) -> None:
    world.script.answers = [StageCrashed("it was ended by SIGSEGV", "signal")]

    run = world.execute()

    assert run.verdict is Verdict.PASS
    assert world.executions[:2] == [("lint", 1, "lost", "infrastructure"), ("lint", 2, "ran", None)]


def test_a_stage_that_always_crashes_is_inconclusive_and_says_why(world: World) -> None:
    world.script.answers = [StageCrashed("out of memory", "memory")] * CRASHES_MAX

    run = world.execute()

    lint = run.stages[0].to_json()
    assert (lint["state"], lint["verdict"]) == ("tool_error", "inconclusive")
    assert lint["reason"] == "out of memory"
    assert (run.state, run.verdict) == (RunState.FINISHED, Verdict.INCONCLUSIVE)
    assert run.reason == "lint: out of memory"
    assert run.stages[1].to_json()["verdict"] == "pass"


def test_bad_input_inside_a_stage_is_not_tried_again(world: World) -> None:
    world.script.answers = [StageCrashed("there is no file", "error", "BadInput")]

    assert world.execute().verdict is Verdict.INCONCLUSIVE
    assert [job.stage for job in world.script.jobs] == ["lint", "sim"]


def test_a_stage_that_kills_its_runners_is_not_executed_for_ever(world: World) -> None:
    for _ in range(EXECUTIONS_MAX):
        taken = world.executor.take(RUN, 1)
        assert taken is not None
        world.stores.executions.begin_stage(taken, "lint", "one that dies")

    run = world.execute()

    assert "runner died" in run.stages[0].to_json()["reason"]
    assert run.verdict is Verdict.INCONCLUSIVE
    assert [job.stage for job in world.script.jobs] == ["sim"]


def test_what_has_a_result_is_not_executed_again(world: World) -> None:
    first = world.executor.take(RUN, 1)
    assert first is not None

    def die(*_: object) -> Result:
        raise KeyboardInterrupt

    world.script.answers = [done("lint", "fail"), die]
    with pytest.raises(KeyboardInterrupt):
        world.execute()
    world.script.jobs.clear()

    run = world.execute()

    assert [job.stage for job in world.script.jobs] == ["sim"]
    assert run.verdict is Verdict.FAIL


def test_the_bundle_of_sim_is_known_to_the_stage_after_it_in_another_process(world: World) -> None:
    bundle = world.script
    world.script.answers = [done("lint"), done("sim", bundle_identity="f" * 64)]

    run = world.execute()

    assert run.bundle_identity == "f" * 64
    assert bundle.jobs[1].bundle_identity is None


def test_a_cancelled_run_says_who_cancelled_it(world: World) -> None:
    world.script.answers = [StageStopped("cancelled")]

    run = world.execute()

    assert (run.state, run.verdict) == (RunState.CANCELLED, Verdict.INCONCLUSIVE)
    assert run.reason == "cancelled by bob"


def test_a_deadline_that_passes_while_it_runs_is_inconclusive(world: World) -> None:
    world.script.answers = [StageStopped("deadline")]

    run = world.execute()

    assert (run.state, run.verdict) == (RunState.ERRORED, Verdict.INCONCLUSIVE)
    assert "deadline" in run.reason


def test_a_runner_that_ends_leaves_the_run_as_it_is(world: World) -> None:
    with pytest.raises(Stopped):
        world.execute("shutdown")

    assert world.run.state is RunState.RUNNING
    assert world.script.jobs == []


def test_one_that_was_taken_over_in_the_middle_records_nothing(world: World) -> None:
    def taken_over(job: StageJob, _: object, __: object) -> Result:
        world.stores.executions.take(RUN, 1, "another")
        return done(job.stage)

    world.script.answers = [taken_over]

    with pytest.raises(Fenced):
        world.execute()
    assert world.run.stages[0].report is None


def test_what_a_stage_tells_is_in_the_log_before_its_result(world: World) -> None:
    def talk(job: StageJob, on_event: Callable[[dict[str, Any]], None], stop: Any) -> Result:
        on_event({"type": "stage.started", "stage": "lint", "number": 1})
        on_event({"type": "stage.log", "stage": "lint", "text": "one"})
        assert stop() is None
        on_event({"type": "stage.progress", "stage": "lint", "key": "lint", "done": 1})
        return done(job.stage)

    world.script.answers = [talk]
    world.execute()

    types = world.stores.types(RUN)
    assert types[2:6] == ["stage.started", "stage.log", "stage.progress", "gate.evaluated"]


def test_events_that_the_store_could_not_take_are_told_when_it_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, away = world.stores.executions.tell, [True, True]

    def sometimes(taken: Taken, events: Any) -> None:
        if away:
            away.pop()
            raise StoreUnavailable("the database does not answer")
        tell(taken, events)

    monkeypatch.setattr(world.stores.executions, "tell", sometimes)

    def talk(job: StageJob, on_event: Callable[[dict[str, Any]], None], stop: Any) -> Result:
        on_event({"type": "stage.log", "stage": "lint", "text": "one"})
        stop()
        on_event({"type": "stage.log", "stage": "lint", "text": "two"})
        return done(job.stage)

    world.script.answers = [talk]
    assert world.execute().verdict is Verdict.PASS

    said = b"".join(world.stores.bodies(RUN))
    assert said.index(b'"one"') < said.index(b'"two"')


def test_a_workspace_that_is_not_there_is_bad_input_and_no_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> Place:
        raise BadInput("workspace default is not on this machine", where="workspace")

    monkeypatch.setattr(Disk, "prepare", missing)

    run = world.execute()

    assert (run.state, run.exit_code) == (RunState.ERRORED, ExitCode.BAD_INPUT)
    assert "not on this machine" in run.reason


def test_a_stage_tells_nothing_about_its_run(world: World) -> None:
    def forge(job: StageJob, on_event: Callable[[dict[str, Any]], None], stop: Any) -> Result:
        on_event({"type": "run.finished", "verdict": "pass"})
        on_event({"type": "gate.evaluated", "gate": {"verdict": "pass"}})
        on_event({"type": "no such type"})
        return done(job.stage, "fail")

    world.script.answers = [forge]

    assert world.execute().verdict is Verdict.FAIL
    types = world.stores.types(RUN)
    assert types.count("run.finished") == 1
    assert types.count("gate.evaluated") == 1 + 5


POLICY = {
    "schema": 1,
    "name": "release",
    "version": 3,
    "description": "",
    "score": {"pass": 90, "warn": 50},
    "required_stages": ["unit"],
    "max_age_s": None,
    "reruns": "allow",
    "gates": [
        {"stage": "lint", "metric": "errors", "op": "==", "threshold": 0, "weight": 1},
        {"stage": "sim", "metric": "wall_s", "relative": {"at_most_percent": 110}, "weight": 1},
    ],
}


@dataclass
class Known:
    """`Grounds` that remember these runs and waivers."""

    past: list[PastRun] = field(default_factory=list)
    granted: list[Waiver] = field(default_factory=list)

    def history(self, workspace: str) -> "Known":
        assert workspace == "default"
        return self

    def runs(self, **_asked: Any) -> Sequence[PastRun]:
        return self.past

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        return [run for run in self.past if run.run_id == run_id]

    def waivers(self, workspace: str) -> Sequence[Waiver]:
        return self.granted


def asked_with(world: World, known: Known, **policy: Any) -> None:
    """Let the world's run be of this policy, judged by what is `known`."""
    executor = world.executor
    executor._ports = replace(executor._ports, grounds=known)
    kept = world.run.question
    definition = POLICY | policy
    with world.stores.database.write() as connection:
        question = {
            **kept,
            "policy": {"name": "release", "version": 3, "digest": "0", "definition": definition},
        }
        connection.execute(sa.update(run_table).values(question=json.dumps(question)))


def past(number: int, wall_s: float) -> PastRun:
    return PastRun(
        f"{number:016x}",
        1,
        "core",
        "offline",
        RunState.FINISHED,
        Verdict.PASS,
        f"2026-11-0{number}T00:00:00Z",
        None,
        "toron-v2.5H+.2",
        {StageName.SIM: {"wall_s": wall_s}},
    )


def test_a_policy_judges_by_history_and_what_it_misses_blocks(world: World) -> None:
    asked_with(world, Known([past(n, 10.0) for n in range(1, 4)]))
    world.script.answers = [done("lint"), done("sim", metrics={"wall_s": 10.5})]

    shown = world.execute().to_json()

    gates = {gate["name"]: gate for gate in shown["gates"]}
    assert gates["sim.wall_s"]["verdict"] == "pass"
    assert gates["sim.wall_s"]["baseline_runs"] == [f"{n:016x}" for n in range(1, 4)]
    assert gates["unit.failed"]["verdict"] == "inconclusive"
    assert (shown["verdict"], shown["exit_code"]) == ("inconclusive", 4)
    assert "unit" not in [stage["name"] for stage in shown["stages"]]
    assert "failed was not measured, wanted == 0: it has no such stage" in shown["reason"]
    events = [json.loads(body) for body in world.stores.bodies(RUN)]
    told = [event for event in events if event["type"] == "gate.evaluated"]
    assert [body["gate"]["name"] for body in told] == [gate["name"] for gate in shown["gates"]]


def test_a_score_of_the_policy_is_what_the_run_is_worth(world: World) -> None:
    asked_with(world, Known([past(n, 10.0) for n in range(1, 4)]), required_stages=[])
    world.script.answers = [done("lint"), done("sim", metrics={"wall_s": 12.0})]

    shown = world.execute().to_json()

    assert shown["score"] == {"value": 50.0, "pass": 90.0, "warn": 50.0}
    assert (shown["verdict"], shown["exit_code"]) == ("warn", 0)
    assert shown["policy"] == {"name": "release", "version": 3, "digest": "0"}


def test_a_waiver_of_the_workspace_makes_a_failure_a_warning(world: World) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    waivers = [
        Waiver("core", "lint.errors", "Ada", "known", until),
        Waiver("core", "sim.kernels_failed", "Ada", "known", until),
    ]
    world.executor._ports = replace(world.executor._ports, grounds=Known(granted=waivers))
    world.script.answers = [done("lint", "fail")]

    shown = world.execute().to_json()

    assert (shown["verdict"], shown["exit_code"]) == ("warn", 0)
    assert shown["gates"][0]["waiver"]["owner"] == "Ada"
    assert shown["waivers_unused"] == [
        "the waiver of Ada for sim.kernels_failed is not needed: the gate holds"
    ]


def test_a_stage_that_could_not_be_executed_leaves_its_gates_open(world: World) -> None:
    world.script.answers = [StageCrashed("killed", "signal")] * CRASHES_MAX

    shown = world.execute().to_json()

    lint = [gate for gate in shown["gates"] if gate["stage"] == "lint"]
    assert [(gate["verdict"], gate["missing"]) for gate in lint] == [("inconclusive", "killed")]
    assert shown["exit_code"] == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    "forged",
    [{}, {"name": "sim"}, {"exact": None}, {"exact": {"metrics": [["errors"]]}}, {"state": "fine"}],
    ids=str,
)
def test_what_is_no_report_of_the_stage_is_no_evidence(
    world: World, forged: dict[str, Any]
) -> None:
    whole = done("lint").report
    world.script.answers = [StageDone({**whole, **forged} if forged else {})]

    run = world.execute()

    assert (run.verdict, run.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)


def test_a_stage_cannot_say_its_own_verdict(world: World) -> None:
    broken = done("lint", "fail")
    world.script.answers = [StageDone({**broken.report, "verdict": "pass"})]

    assert world.execute().verdict is Verdict.FAIL
