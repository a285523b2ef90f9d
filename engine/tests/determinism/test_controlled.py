"""What Toron claims to control is the same under other hash seeds and other addresses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import toron
from toron.search.verify import Question, Verified, verify_many

CONTROLLED = Path(__file__).parents[1] / "programs" / "controlled.py"
HAZARDS = re.findall(r"^async def (\w+)\(\):", CONTROLLED.read_text(), re.MULTILINE)
CLOCKS_AND_CHANCE = [
    name
    for name in HAZARDS
    if name.startswith(("time_", "datetime_", "random_", "uuid", "secrets"))
    and "passes" not in name
]


@pytest.fixture(scope="module")
def verified() -> dict[str, Verified]:
    """Every hazard executed in two processes; one pair of processes for all of them."""
    questions = [Question(toron.KernelRef(CONTROLLED, name), 1, 0, "varied") for name in HAZARDS]
    return {one.reference.name: one for one in verify_many(questions)}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_controlled_hazard_is_identical_in_two_processes(
    hazard: str, verified: dict[str, Verified]
) -> None:
    outcome = verified[hazard].execution.outcome
    assert outcome.verdict == "pass", outcome.failure
    assert outcome.outputs["result"] not in (None, [])
    assert verified[hazard].divergence is None


@pytest.mark.parametrize(
    "hazard", ["random_by_alias", "set_of_plain_objects", "uuids", "done_set_of_wait"]
)
def test_verify_reports_full_determinism_over_several_seeds(hazard: str) -> None:
    verification = toron.verify(
        toron.KernelRef(CONTROLLED, hazard), seeds=range(4), hash_seeds="varied"
    )
    assert (verification.executions, verification.identical) == (4, 4)
    assert verification.determinism_percent == 100.0
    assert verification.first_divergence is None


DRAWN = [name for name in HAZARDS if name.startswith(("random_", "secrets")) or name == "uuids"]


@pytest.mark.parametrize("hazard", DRAWN)
def test_another_seed_draws_other_values(hazard: str) -> None:
    reference = toron.KernelRef(CONTROLLED, hazard)
    first, second = (toron.run(reference, seed=seed).outputs for seed in (1, 2))
    assert first != second


@pytest.mark.parametrize("hazard", ["uuid_made_at_import", "time_read_at_import"])
def test_what_was_drawn_at_import_belongs_to_no_seed(hazard: str) -> None:
    reference = toron.KernelRef(CONTROLLED, hazard)
    first, second = (toron.run(reference, seed=seed).outputs for seed in (1, 2))
    assert first == second


def test_the_hazards_of_time_and_chance_are_real_under_stock_asyncio() -> None:
    program = (
        "import asyncio, json, sys; sys.path.insert(0, sys.argv[1]); import controlled as c\n"
        "print(json.dumps({n: asyncio.run(getattr(c, n)()) for n in sys.argv[2:]}, default=str))"
    )
    command = [sys.executable, "-c", program, str(CONTROLLED.parent), *CLOCKS_AND_CHANCE]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(2)]
    first, second = (json.loads(run.stdout) for run in runs)
    unmoved = [name for name in CLOCKS_AND_CHANCE if first[name] == second[name]]
    assert unmoved in ([], ["time_as_text"])  # two runs within one second write the same text


def test_all_clocks_agree_on_one_moment(verified: dict[str, Verified]) -> None:
    read = verified["time_by_attribute"].execution.outcome.outputs["result"]
    wall, wall_ns, mono, mono_ns, perf, perf_ns, process, process_ns, _, _, loop = read
    assert int(wall_ns["$int"]) - mono_ns == 1_767_225_600 * 10**9 - 1_000 * 10**9
    assert mono == perf == loop == mono_ns / 10**9
    assert (perf_ns, process_ns) == (mono_ns, mono_ns - 1_000 * 10**9)
    assert (wall, process) == (int(wall_ns["$int"]) / 10**9, process_ns / 10**9)
    assert 0.25 <= process < 0.2501


def test_a_run_begins_with_the_year_2026_in_utc(verified: dict[str, Verified]) -> None:
    text, ctime, asctime, local, gm, *_ = verified["time_as_text"].execution.outcome.outputs[
        "result"
    ]
    assert text == "2026-01-01 00:00:00"
    assert ctime == asctime == "Thu Jan  1 00:00:00 2026"
    assert local[:6] == gm[:6] == [2026, 1, 1, 0, 0, 0]


def test_now_in_a_zone_is_the_same_moment(verified: dict[str, Verified]) -> None:
    naive, utc, zoned, aware, today, *dates = verified["datetime_now"].execution.outcome.outputs[
        "result"
    ]
    assert naive == utc == today == "2026-01-01T00:00:00.000001"
    assert zoned == "2026-01-01T02:00:00.000001+02:00"
    assert aware == "2026-01-01T00:00:00.000001+00:00"
    assert dates == ["2026-01-01", "2026-01-01"]


def test_sleeping_costs_exactly_the_virtual_time_asked_for(verified: dict[str, Verified]) -> None:
    slept, _ = verified["time_passes_while_sleeping"].execution.outcome.outputs["result"]
    assert slept == 2_000_000_000


def test_as_completed_starts_and_hands_out_every_coroutine(verified: dict[str, Verified]) -> None:
    outputs = verified["as_completed_of_coroutines"].execution.outcome.outputs
    started, finished = outputs["result"]
    assert sorted(started) == sorted(finished) == list(range(300))


def test_cyclic_garbage_is_collected_at_chosen_steps_only(verified: dict[str, Verified]) -> None:
    seen, at_last = verified["finalizer_by_cycle_collection"].execution.outcome.outputs["result"]
    assert at_last == 200  # the collection that the program asked for
    assert seen == [0] * 200  # and none at a moment that only the interpreter knows
