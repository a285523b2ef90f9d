"""What asyncio decides is decided alike: the same programs, stock and simulated, same results."""

import asyncio
import gc
import importlib.util
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toron.core.values import canonical
from toron.search.outcome import Execution

FIDELITY = Path(__file__).parents[1] / "programs" / "fidelity.py"
NAMES = re.findall(r"^async def (\w+)\(\):", FIDELITY.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def stock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fidelity", FIDELITY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_the_result_that_stock_asyncio_gives(
    name: str, stock: ModuleType, execute_program: Callable[..., Execution]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        expected: Any = canonical(asyncio.run(getattr(stock, name)()))
        gc.collect()  # what asyncio left unclosed is told here, and not in the next test
    for seed in range(4):
        outcome = execute_program("fidelity", name, seed).outcome
        assert outcome.verdict == "pass", outcome.failure
        assert outcome.outputs["result"] == expected, f"seed {seed}"


PROMISED = [
    "call_soon_is_first_in_first_out",
    "locks_are_first_come_first_served",
    "done_callbacks_run_in_the_order_they_were_added",
    "timers_by_time",
]


@pytest.mark.parametrize("name", PROMISED)
def test_an_order_that_asyncio_promises_is_never_permuted(
    name: str, execute_program: Callable[..., Execution]
) -> None:
    results = {
        str(execute_program("fidelity", name, seed).outcome.outputs["result"]) for seed in range(50)
    }
    assert len(results) == 1
