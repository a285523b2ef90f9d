"""Real libraries run unmodified, and alike in two processes at the fixed hash seed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import toron

PROGRAM = Path(__file__).parents[1] / "programs" / "third_party.py"

CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "aiohttp_server_and_client": (
        ["aiohttp"],
        {"answers": [[200, {"hello": "ann"}], [200, {"hello": "bob"}]]},
    ),
    "fastapi_uvicorn_httpx_keep_alive": (
        ["fastapi", "uvicorn", "httpx"],
        {"answers": [{"item": 0}, {"item": 1}, {"item": 2}, 422], "connections": 1},
    ),
    "websockets_echo": (["websockets"], {"heard": ["cba", "gfed"]}),
    "anyio_groups_and_scopes": (["anyio"], {"timed out": True, "count": 6}),
}


@pytest.mark.parametrize("kernel", CASES)
def test_a_real_library_runs_and_is_identical_at_the_fixed_hash_seed(kernel: str) -> None:
    needed, outputs = CASES[kernel]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not run: {', '.join(missing)} is not installed")
    reference = toron.KernelRef(PROGRAM, kernel)
    outcome = toron.run(reference, seed=1)
    assert outcome.verdict == "pass", outcome.failure
    assert outcome.outputs == outputs
    verification = toron.verify(reference, seeds=[1, 2], hash_seeds="fixed")
    assert verification.first_divergence is None
    assert (verification.executions, verification.identical) == (2, 2)
