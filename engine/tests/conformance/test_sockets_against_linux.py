"""What Linux decides about sockets is decided alike: real loopback and Toron, same results."""

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

NETWORK = Path(__file__).parents[1] / "programs" / "network.py"
NAMES = re.findall(r"^async def (\w+)\(\):", NETWORK.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def stock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("network", NETWORK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_the_result_that_a_real_loopback_gives(
    name: str, stock: ModuleType, execute_program: Callable[..., Execution]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        expected: Any = canonical(asyncio.run(getattr(stock, name)()))
        gc.collect()  # what a program left unclosed is told here, and not in the next test
    for seed in range(3):
        outcome = execute_program("network", name, seed).outcome
        assert outcome.verdict == "pass", outcome.failure
        assert outcome.outputs["result"] == expected, f"seed {seed}"
