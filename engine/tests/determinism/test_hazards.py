"""The hazards met in practice, one test a row, on every supported Python of this machine.

The rows are those of the compatibility study's table of nondeterminism. Each names programs of
``programs/``, executed in two processes with other hash seeds, addresses and heaps. An interpreter
that is absent is skipped, and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from engine.tests.determinism.test_other_interpreters import SOURCE, SUPPORTED, interpreter

PROGRAMS = Path(__file__).parents[1] / "programs"

ASK = """
import json, sys
from pathlib import Path
from toron.search.explore import kernels_of
from toron.search.references import KernelRef
from toron.search.verify import Question, verify_many

found = {}
for file, mode in (("controlled", "varied"), ("leaks", "varied"), ("leaks", "fixed")):
    path = Path(sys.argv[1]) / f"{file}.py"
    known = kernels_of(path)
    names = [name for name in json.loads(sys.argv[2]) if name in known]
    for one in verify_many([Question(KernelRef(path, name), 1, 0, mode) for name in names]):
        outcome = one.execution.outcome
        found[f"{file}.{mode}.{one.reference.name}"] = {
            "identical": one.identical,
            "failure": outcome.failure and outcome.failure.kind,
            "result": outcome.outputs.get("result"),
            "where": one.divergence and one.divergence.where,
        }
print(json.dumps(found))
"""

ROWS = {
    "sets of tasks and futures": [
        "done_set_of_wait",
        "all_tasks",
        "set_of_futures",
        "order_of_tasks",
        "order_of_all_tasks",
        "order_of_done_tasks",
        "order_of_futures",
    ],
    "the start order of as_completed": ["as_completed_of_coroutines"],
    "sets of plain objects": [
        "set_of_plain_objects",
        "weak_set_of_plain_objects",
        "order_of_plain_objects",
        "order_of_a_weak_set",
    ],
    "sets of str": ["order_of_str_set", "order_of_bytes_set"],
    "clocks by attribute": ["time_by_attribute"],
    "clocks by alias": [
        "time_by_alias",
        "time_of_clock_gettime",
        "datetime_now",
        "time_as_text",
        "clock_by_name",
        "clock_in_a_class",
        "clock_in_a_partial",
        "clock_of_gettime",
        "clock_as_text",
        "clock_of_datetime",
    ],
    "random by attribute and alias": ["random_by_attribute", "random_by_alias", "chance_by_name"],
    "generators": [
        "random_of_a_new_generator",
        "random_of_a_generator_made_at_import",
        "chance_of_generators",
    ],
    "uuid4, secrets and urandom": ["secrets_and_urandom", "uuids", "chance_of_the_system"],
    "uuid1": ["uuids", "chance_of_uuids"],
    "OpenSSL": ["chance_of_openssl"],
    "finalizers of cyclic garbage": ["finalizer_by_cycle_collection", "finalizers_of_cycles"],
    "the order of threads": ["threads_racing", "threads_of_an_executor"],
    "pids": ["pid_in_a_name"],
}
NAMES = sorted({name for names in ROWS.values() for name in names})


@cache
def found_on(version: str) -> dict[str, Any]:
    python = interpreter(version)
    if python is None:
        return {}
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(
        [python, "-c", ASK, str(PROGRAMS), json.dumps(NAMES)],
        env={**kept, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(params=SUPPORTED)
def version(request: pytest.FixtureRequest) -> str:
    wanted = str(request.param)
    if not found_on(wanted):
        pytest.skip(f"not run: no Python {wanted}")
    return wanted


def row(version: str, title: str, mode: str = "varied") -> dict[str, Any]:
    """What was found of each program of a row, under other hash seeds or under the fixed one."""
    found = {}
    for name in ROWS[title]:
        for key in (f"controlled.{mode}.{name}", f"leaks.{mode}.{name}"):
            if key in found_on(version):
                found[key] = found_on(version)[key]
    assert found
    return found


def assert_the_same(found: dict[str, Any]) -> None:
    for name, one in found.items():
        assert one["failure"] is None, (name, one)
        assert one["identical"], (name, one)
        assert one["result"] not in (None, [], {}), (name, one)


def test_sets_of_tasks_and_futures_iterate_alike(version: str) -> None:
    assert_the_same(row(version, "sets of tasks and futures"))


def test_as_completed_starts_its_coroutines_alike(version: str) -> None:
    assert_the_same(row(version, "the start order of as_completed"))


def test_sets_and_weak_sets_of_plain_objects_iterate_alike(version: str) -> None:
    assert_the_same(row(version, "sets of plain objects"))


def test_sets_of_str_iterate_alike_at_the_fixed_hash_seed_and_are_noticed_at_others(
    version: str,
) -> None:
    assert_the_same(row(version, "sets of str", mode="fixed"))
    for name, one in row(version, "sets of str").items():
        assert not one["identical"], name
        assert "leaks.py:" in one["where"]


def test_clocks_by_attribute_are_virtual(version: str) -> None:
    assert_the_same(row(version, "clocks by attribute"))


def test_clocks_by_every_alias_are_virtual(version: str) -> None:
    assert_the_same(row(version, "clocks by alias"))


def test_random_by_attribute_and_alias_is_seeded(version: str) -> None:
    assert_the_same(row(version, "random by attribute and alias"))


def test_generators_made_at_import_and_later_are_seeded(version: str) -> None:
    assert_the_same(row(version, "generators"))


def test_uuid4_secrets_and_urandom_are_seeded(version: str) -> None:
    assert_the_same(row(version, "uuid4, secrets and urandom"))


def test_uuid1_has_a_clock_and_a_node_of_the_run(version: str) -> None:
    assert_the_same(row(version, "uuid1"))


def test_openssl_draws_from_the_seed(version: str) -> None:
    assert_the_same(row(version, "OpenSSL"))


def test_cyclic_garbage_is_finalized_alike(version: str) -> None:
    assert_the_same(row(version, "finalizers of cyclic garbage"))


def test_threads_take_turns_alike(version: str) -> None:
    assert_the_same(row(version, "the order of threads"))


def test_a_pid_that_reaches_a_value_is_noticed(version: str) -> None:
    for mode in ("varied", "fixed"):
        for name, one in row(version, "pids", mode).items():
            assert not one["identical"], name
            assert "leaks.py:" in one["where"]
