"""The `cryptography` library and what stands on it: the same bytes in two processes."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import toron

PROGRAM = Path(__file__).parents[1] / "programs" / "pyca_programs.py"
CASES: dict[str, list[str]] = {
    "keys_and_signatures": ["cryptography"],
    "paddings_of_rsa": ["cryptography"],
    "certificates": ["cryptography"],
    "quic_echo": ["cryptography", "aioquic"],
}


@pytest.mark.parametrize("name", CASES)
def test_what_it_draws_belongs_to_the_seed(name: str) -> None:
    missing = [module for module in CASES[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not run: {', '.join(missing)} is not installed")
    reference = toron.KernelRef(PROGRAM, name)
    found: list[Any] = [toron.run(reference, seed=seed) for seed in (1, 2)]
    assert [outcome.verdict for outcome in found] == ["pass", "pass"], found
    if name == "quic_echo":
        assert found[0].outputs["result"] == "HELLO QUIC"
    else:
        assert found[0].outputs != found[1].outputs
    verification = toron.verify(reference, seeds=[1, 2], hash_seeds="fixed")
    assert verification.first_divergence is None
