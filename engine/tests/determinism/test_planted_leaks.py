"""Every planted leak is made the same everywhere, refused, or noticed: none diverges in silence.

Each program of ``programs/leaks.py`` is executed under one seed in two processes of as different
origin as one machine allows: hash seed, addresses, heap, pid, moment, environment and working
folder. Silent would be: other values, and the same digest.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.outcome import Outcome
from toron.search.pool import FIXED, Conditions, Request, Worker
from toron.search.verify import Question, verify_many

LEAKS = Path(__file__).parents[1] / "programs" / "leaks.py"
NAMES = re.findall(r"^async def (\w+)\(\):", LEAKS.read_text(), re.MULTILINE)
MACHINE = platform.node()
HASH_SEEDS = (1, 77, 4_000_000_000)

BY_HASH_SEED = {
    "hash_of_a_str",
    "order_by_hash_of_str",
    "order_of_a_counter",
    "order_of_a_pickled_set",
    "order_of_a_set_difference",
    "order_of_bytes_set",
    "order_of_datetime_set",
    "order_of_enum_set",
    "order_of_frozensets",
    "order_of_json_of_a_set",
    "order_of_mixed_set",
    "order_of_path_set",
    "order_of_set_pop",
    "order_of_str_set",
    "order_of_tuple_set",
    "original_arguments_of_the_process",
}
BY_ADDRESS = {
    "address_hashed",
    "address_in_a_log",
    "address_in_a_name",
    "address_in_a_task_name",
    "address_in_a_traceback",
    "address_in_pprint",
    "address_in_repr",
    "address_of_a_function",
    "order_by_id",
    "order_of_a_context",
    "order_of_bare_futures",
    "order_of_bare_objects",
    "order_of_bound_methods",
    "order_of_classes_made_at_run_time",
    "order_of_context_variables",
    "order_of_coroutines",
    "order_of_exceptions",
    "order_of_functions",
    "order_of_generators",
    "order_of_lambdas",
    "order_of_objects_of_such_a_class",
    "finalizers_without_cycles",
    "order_of_partials",
    "order_of_slotted_objects",
}
BY_PROCESS = {
    "chance_by_the_c_base_class",
    "chance_of_c",
    "clock_of_an_email_date",
    "clock_of_c",
    "descriptor_numbers",
    "folder_of_the_process",
    "garbage_statistics",
    "memory_in_use",
    "modules_imported_before",
    "pid_in_a_name",
    "pid_of_multiprocessing",
    "pid_of_the_parent",
    "reference_counts_of_shared_things",
    "thread_numbers_in_a_log",
}
DETECTED = BY_HASH_SEED | BY_ADDRESS | BY_PROCESS
REFUSED = {"child_process"}
MOVES_NOW_AND_THEN = {
    "descriptor_numbers",
    "garbage_statistics",
    "modules_imported_before",
    "order_by_id",
    "order_of_enum_set",
}
"""Few possible values, or a heap that mostly grows one way: two processes may agree by luck."""

HERE_ONLY = "folder_of_the_process"
"""`verify` starts both of its processes in one folder."""


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """Another user's shell in another folder, for a worker that is started inside."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HOME", folder), ("TMPDIR", folder), ("LANG", "C"), ("LC_ALL", "C")):
            patch.setenv(name, str(value))
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.chdir(folder)
        yield


class Pairs:
    """Executes a program twice, in processes of different origin."""

    def __init__(self, folder: Path) -> None:
        self._here = Worker(LEAKS, FIXED)
        self._here.start()
        self._elsewhere = []
        with elsewhere(folder):
            for seed in HASH_SEEDS:
                worker = Worker(LEAKS, Conditions(hash_seed=seed, random_addresses=True))
                worker.start()
                self._elsewhere.append(worker)
        self.executions = 0

    def run(self, name: str, seed: int) -> tuple[Outcome, Outcome]:
        self.executions += 2
        other = self._elsewhere[seed % len(HASH_SEEDS)]
        workers = (self._here, other)
        first, second = (worker.execute(Request(name, seed, 0)).outcome for worker in workers)
        return first, second

    def stop(self) -> None:
        for worker in (self._here, *self._elsewhere):
            worker.stop()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    pairs = Pairs(tmp_path_factory.mktemp("elsewhere"))
    yield pairs
    pairs.stop()


def behaviour_of(outcome: Outcome) -> dict[str, Any]:
    """Everything but the names of files, which are relative to the folder one stands in."""
    whole: dict[str, Any] = {**outcome.to_json(), "token": ""}
    if outcome.failure is not None:
        whole["failure"] = (outcome.failure.kind, outcome.failure.message)
    return whole


def what_became_of(first: Outcome, second: Outcome) -> str:
    """``same``, ``detected``, ``refused``, or ``silent``: other values under one digest."""
    if all(one.failure is not None and one.failure.kind == "escape" for one in (first, second)):
        return "refused"
    if first.trace_digest != second.trace_digest:
        return "detected"
    if behaviour_of(first) != behaviour_of(second):
        return "silent"
    return "same"


def expected_of(name: str) -> set[str]:
    if name in REFUSED:
        return {"refused"}
    if name in MOVES_NOW_AND_THEN:
        return {"detected", "same"}
    return {"detected"} if name in DETECTED else {"same"}


def seeds_for(name: str) -> range:
    """What goes by address may come out alike in one pair of processes, and not in all three."""
    return range(1, 4) if name in BY_ADDRESS else range(1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_leak_is_controlled_refused_or_detected(name: str, pairs: Pairs) -> None:
    became = {what_became_of(*pairs.run(name, seed)) for seed in seeds_for(name)}
    assert became & expected_of(name), became
    assert became <= expected_of(name) | {"same"}, became


def test_the_lists_name_programs_that_exist_and_each_once() -> None:
    listed = [*BY_HASH_SEED, *BY_ADDRESS, *BY_PROCESS, *REFUSED]
    assert set(listed) <= set(NAMES)
    assert max(Counter(listed).values()) == 1
    assert MOVES_NOW_AND_THEN <= DETECTED


def test_verify_names_the_line_of_what_it_detects() -> None:
    steady = sorted(DETECTED - MOVES_NOW_AND_THEN - {HERE_ONLY})
    questions = [Question(toron.KernelRef(LEAKS, name), 1, 0, "varied") for name in steady]
    for one in verify_many(questions, jobs=2):
        name, found = one.reference.name, one.divergence
        if found is None or not found.where:
            # Where things lie may come out alike by luck, and being watched moves them.
            assert name in BY_ADDRESS, f"{name}: {found}"
            continue
        assert re.search(r"leaks\.py:\d+ in \w+", found.where), found
        assert found.first != found.second


@pytest.mark.parametrize(
    "name", ["machine_name", "machine_platform", "machine_uname", "environment_variables"]
)
def test_no_value_tells_the_machine(name: str, pairs: Pairs) -> None:
    text = repr(pairs.run(name, seed=1)[0].outputs["result"])
    told = [MACHINE, platform.release(), platform.version(), os.environ["HOME"] + "'"]
    assert [one for one in told if one and one in text] == []


def test_the_machine_has_four_cores_whatever_it_has(pairs: Pairs) -> None:
    assert pairs.run("machine_size", seed=1)[0].outputs["result"] == [4, 4, 2 * 1024 * 1024]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_executions_diverge_never_in_silence(pairs: Pairs) -> None:
    became: Counter[str] = Counter()
    seeds = range(2, 2 + -(-500 // len(NAMES)))
    for name in NAMES:
        for seed in seeds:
            became[what_became_of(*pairs.run(name, seed))] += 1
    assert pairs.executions >= 1_000
    assert became["silent"] == 0
    print(f"{pairs.executions} executions: {dict(became)}")
