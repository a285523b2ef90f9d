"""Branches: a fork goes on as the run would, by chance of its own, and replays from its token."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from toron.core.clock import SECOND_NS
from toron.errors import BadKernel
from toron.search.branch import branch, reseeded
from toron.search.inevitable import inevitable
from toron.search.pool import Request, Worker
from toron.testing import replay

PROGRAMS = Path(__file__).parents[1] / "programs"
SALTS = range(3)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(PROGRAMS / "branching.py", wall_limit_s=30) as started:
        yield started


def request(kernel: str, seed: int = 1) -> Request:
    return Request(kernel, seed, 3)


@pytest.mark.parametrize(
    ("kernel", "at_s"),
    [
        ("over_the_network", 2),
        ("with_faults", 5),
        pytest.param("every_kind_of_chance", 1, marks=pytest.mark.long),
        pytest.param("on_disk", 4, marks=pytest.mark.long),
        pytest.param("that_looks_for_forks", 1, marks=pytest.mark.long),
    ],
)
def test_a_branch_replays_from_its_token_to_the_same_digest(
    worker: Worker, kernel: str, at_s: float
) -> None:
    branching = branch(worker, request(kernel), int(at_s * SECOND_NS), SALTS, jobs=2)
    assert branching.forked
    assert branching.inconclusive == []
    for outcome in branching.branches:
        again = replay(outcome.token)  # raises when the digest is another
        assert not again.differs_from(outcome)


def test_tls_goes_on_in_a_branch_and_replays(programs: Path) -> None:
    with Worker(programs / "tls_programs.py") as worker:
        plain = worker.execute(request("over_ecdsa")).outcome
        branching = branch(worker, request("over_ecdsa"), plain.virtual_ns // 2, SALTS)
        assert branching.branches[0].trace_digest == plain.trace_digest
        assert branching.distinct_digests == len(SALTS)
        for outcome in branching.branches:
            assert replay(outcome.token).trace_digest == outcome.trace_digest


def test_branch_0_is_the_run_itself_and_the_others_are_not(worker: Worker) -> None:
    plain = worker.execute(request("over_the_network")).outcome
    branching = branch(worker, request("over_the_network"), 2 * SECOND_NS, SALTS)
    assert not branching.branches[0].differs_from(plain)
    assert branching.branches[0].token == plain.token
    assert branching.distinct_digests == len(SALTS)


def test_a_branch_has_the_same_past_and_another_future(worker: Worker) -> None:
    base = replace(request("over_the_network"), level="events")
    plain, other = (worker.execute(reseeded(base, 2 * SECOND_NS, salt)).events for salt in (0, 1))
    first = next(i for i, (a, b) in enumerate(zip(plain, other, strict=False)) if a != b)
    assert int(plain[first].text.split()[0]) > 2 * SECOND_NS
    assert int(plain[first].text.split()[0]) < 2.2 * SECOND_NS


def test_all_kinds_of_chance_are_new_after_the_fork_and_none_before(worker: Worker) -> None:
    branching = branch(worker, request("every_kind_of_chance"), SECOND_NS, SALTS)
    assert len({str(one.outputs["before"]) for one in branching.branches}) == 1
    for drawn in zip(*(one.outputs["after"] for one in branching.branches), strict=True):
        assert len(set(drawn)) == len(SALTS)


def test_branches_of_a_world_without_chance_behave_alike(worker: Worker) -> None:
    branching = branch(worker, request("by_no_chance"), SECOND_NS // 2, SALTS)
    assert branching.distinct_digests == 1


def test_a_program_does_not_notice_that_it_was_forked(worker: Worker) -> None:
    branching = branch(worker, request("that_looks_for_forks"), SECOND_NS, SALTS)
    seen = [one.outputs for one in branching.branches]
    assert seen[0]["same process"]
    assert seen[0]["own loop"]
    assert all(outputs == seen[0] for outputs in seen)


def test_faults_that_have_not_begun_are_drawn_again_and_the_others_stay(worker: Worker) -> None:
    at_s = 6.0
    branching = branch(worker, request("with_faults", seed=2), int(at_s * SECOND_NS), range(6))
    plans = [
        {line for line in outcome.faults if float(line.partition("-")[0]) + 0.1 < at_s}
        for outcome in branching.branches
    ]
    rest = {tuple(outcome.faults) for outcome in branching.branches}
    assert plans[0]
    assert all(plan == plans[0] for plan in plans)
    assert len(rest) == 6
    assert len({len(outcome.faults) for outcome in branching.branches}) == 1


def test_a_branch_does_not_depend_on_how_many_run_at_a_time(worker: Worker) -> None:
    one, two = (
        branch(worker, request("over_the_network"), 2 * SECOND_NS, salts, jobs=jobs)
        for salts, jobs in (([3, 1], 1), ([1, 2, 3], 2))
    )
    assert one.branches[0].trace_digest == two.branches[2].trace_digest
    assert one.branches[1].trace_digest == two.branches[0].trace_digest


def test_a_branch_can_be_branched_again(worker: Worker) -> None:
    base = reseeded(request("over_the_network"), SECOND_NS, 5)
    branching = branch(worker, base, 2 * SECOND_NS, [0, 5, 6])
    assert branching.distinct_digests == 3
    assert branching.branches[0].trace_digest == worker.execute(base).outcome.trace_digest
    for outcome in branching.branches:
        assert replay(outcome.token).trace_digest == outcome.trace_digest


@pytest.mark.parametrize("kernel", ["with_faults", pytest.param("on_disk", marks=pytest.mark.long)])
def test_the_tape_of_a_branch_replays_it_as_well(worker: Worker, kernel: str) -> None:
    branched = reseeded(request(kernel, seed=2), 4 * SECOND_NS, 1)
    recorded = worker.execute(replace(branched, records_tape=True))
    again = worker.execute(replace(branched, tape=tuple(recorded.tape)))
    assert recorded.tape
    assert again.outcome.trace_digest == recorded.outcome.trace_digest


def test_a_world_with_threads_is_branched_from_the_start_and_says_so(worker: Worker) -> None:
    plain = worker.execute(request("in_threads")).outcome
    branching = branch(worker, request("in_threads"), int(0.6 * SECOND_NS), range(3))
    assert not branching.forked
    assert "threads" in branching.note
    assert branching.branches[0].trace_digest == plain.trace_digest
    assert branching.distinct_digests == 3
    before = branch(worker, request("in_threads"), int(0.2 * SECOND_NS), range(3))
    assert before.forked
    assert replay(before.branches[2].token).trace_digest == before.branches[2].trace_digest


@pytest.mark.parametrize(
    ("kernel", "at_s", "ended"),
    [("by_no_chance", 7, "passed at 1.0000"), ("that_waits_for_ever", 3, "failed at 1.0000")],
)
def test_a_moment_behind_the_end_is_refused_with_the_end(
    worker: Worker, kernel: str, at_s: int, ended: str
) -> None:
    with pytest.raises(BadKernel, match=f"never gets beyond --at {at_s}.* {ended}"):
        branch(worker, request(kernel), at_s * SECOND_NS, SALTS)


def test_a_branch_that_dies_is_a_crash_and_the_others_go_on(worker: Worker) -> None:
    branching = branch(worker, request("that_dies_in_one_branch"), SECOND_NS, range(1, 8), jobs=2)
    dead = [one for one in branching.branches if one.verdict == "inconclusive"]
    assert 0 < len(dead) < 7
    for outcome in dead:
        assert outcome.failure is not None
        assert outcome.failure.kind == "crash"
        assert "SIGSEGV" in outcome.failure.message


def test_a_branch_that_hangs_is_cut_short_with_its_place() -> None:
    with Worker(PROGRAMS / "branching.py", wall_limit_s=1) as worker:
        branching = branch(
            worker, request("that_hangs_in_one_branch"), SECOND_NS, [1, 2, 3], jobs=2
        )
    verdicts = [one.verdict for one in branching.branches]
    assert sorted(set(verdicts)) == ["inconclusive", "pass"]
    stuck = branching.branches[verdicts.index("inconclusive")].failure
    assert stuck is not None
    assert stuck.kind == "limit"
    assert "branching.py" in stuck.message


def test_it_is_found_when_a_failure_became_inevitable(worker: Worker) -> None:
    seed = next(
        seed
        for seed in range(20)
        if worker.execute(request("decided_by_a_draw", seed)).outcome.verdict == "fail"
    )
    found = inevitable(worker, request("decided_by_a_draw", seed), points=6, branches=10)
    assert found.moment is not None
    assert found.before is not None
    assert 4.2 <= found.moment.now_ns / SECOND_NS < 4.3
    assert found.before.now_ns / SECOND_NS < 4.2
    assert found.moment.branches >= 100
    assert any("branching.py" in event.where for event in found.events)
    assert [point.is_lost for point in found.curve] == [False, False, False, True, True, True]


def test_a_run_that_passes_has_nothing_inevitable(worker: Worker) -> None:
    with pytest.raises(BadKernel, match="passes with seed 1"):
        inevitable(worker, request("by_no_chance"))


def test_a_fork_that_the_system_refuses_is_an_error_and_no_failure_of_the_program() -> None:
    with Worker(PROGRAMS / "branching.py", wall_limit_s=30) as worker:
        assert worker.pid is not None
        _, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        # A slot that cannot be written: the branch cannot answer, and the others neither.
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, hard))
        branching = branch(worker, request("by_no_chance"), SECOND_NS // 2, [1, 2])
    assert {one.verdict for one in branching.branches} == {"inconclusive"}


# Whatever is killed in the middle


def children_of(pid: int) -> list[int]:
    try:
        listed = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except FileNotFoundError:
        return []
    return [int(child) for text in listed for child in text.split()]


def until(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


class Command:
    """A `toron branch` whose branches do not end soon, with the processes below it."""

    def __init__(self, *arguments: str) -> None:
        program = f"{PROGRAMS / 'branching.py'}::that_is_slow"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "toron", "branch", program, "--at", "1", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(self._has_branches)
        self.worker = children_of(self.process.pid)[0]
        self.run = children_of(self.worker)[0]
        self.branches = children_of(self.run)

    def _has_branches(self) -> bool:
        level = [self.process.pid]
        for _ in range(3):
            level = [child for pid in level for child in children_of(pid)]
        return len(level) > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def all_gone(self) -> bool:
        return not any(_lives(pid) for pid in (self.worker, self.run, *self.branches))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_killed_command_leaves_no_process() -> None:
    with Command("--branches", "3", "--jobs", "2") as command:
        assert len(command.branches) >= 1
        command.process.kill()
        until(command.all_gone)


@pytest.mark.parametrize("victim", ["worker", "run"])
def test_a_killed_run_is_tried_again_and_then_given_up(victim: str) -> None:
    with Command("--seeds", "1:3") as command:
        os.kill(getattr(command, victim), signal.SIGKILL)
        until(command.all_gone)
        until(command._has_branches)
        again = children_of(command.process.pid)[0]
        os.kill(again if victim == "worker" else children_of(again)[0], signal.SIGKILL)
        out, _ = command.process.communicate(timeout=20)
    assert command.process.returncode == 4
    assert out.startswith("INCONCLUSIVE")
    assert "the run that was branched died" in out


def test_a_killed_branch_is_tried_again() -> None:
    with Command("--seeds", "1:2") as command:
        os.kill(command.branches[0], signal.SIGKILL)
        until(lambda: [pid for pid in children_of(command.run) if pid not in command.branches])
        os.kill(children_of(command.run)[0], signal.SIGKILL)
        out, _ = command.process.communicate(timeout=20)
    assert command.process.returncode == 4
    assert "killed by SIGKILL" in out


def test_ctrl_c_prints_what_was_learned(tmp_path: Path) -> None:
    program = f"{PROGRAMS / 'branching.py'}::that_hangs_in_one_branch"
    asked = ["branch", program, "--at", "1", "--seeds", "1:9", "--jobs", "2", "--json"]
    with (
        (tmp_path / "out").open("w") as out,
        subprocess.Popen([sys.executable, "-m", "toron", *asked], stdout=out) as process,
    ):
        until(lambda: _stuck_branches(process.pid) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    told = json.loads((tmp_path / "out").read_text())
    assert told["interrupted"]
    assert all(one["verdict"] == "pass" for one in told["branches"])


def _stuck_branches(command: int) -> int:
    """How many of the branches have used more CPU time than any that does not hang."""
    level = [command]
    for _ in range(3):
        level = [child for pid in level for child in children_of(pid)]
    used = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in level]
    return sum(int(fields[11]) > 30 for fields in used)
