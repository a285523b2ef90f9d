"""TLS is asyncio's own, and two processes put the same bytes on the wire."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toron
from toron.search.outcome import Execution
from toron.search.verify import Question, verify_many

PROGRAM = Path(__file__).parents[1] / "programs" / "tls_programs.py"
NAMES = re.findall(r"^async def (\w+)\(\):", PROGRAM.read_text(), re.MULTILINE)

RESULTS: dict[str, Any] = {
    "over_rsa": ["SECRET\n", "TLSv1.3", "db", [None]],
    "over_ecdsa": ["SECRET\n", "TLSv1.3", "db", [None]],
    "over_ed25519": ["SECRET\n", "TLSv1.3", "db", [None]],
    "over_tls_1_2": ["SECRET\n", "TLSv1.2", "db", [None]],
    "with_a_client_certificate": ["SECRET\n", "TLSv1.3", "db", ["ann"]],
    "without_the_client_certificate_that_is_asked_for": True,
    "for_another_host": ("Hostname mismatch, certificate is not valid for 'elsewhere'."),
    "with_a_certificate_of_2030": "certificate is not yet valid",
    "upgraded_on_both_sides": ["go ahead\n", "SECRET\n"],
}


@pytest.mark.parametrize("name", RESULTS)
def test_tls_does_what_it_does_on_real_sockets(
    name: str, execute_program: Callable[..., Execution]
) -> None:
    outcome = execute_program("tls_programs", name).outcome
    assert outcome.verdict == "pass", outcome.failure
    assert outcome.outputs["result"] == RESULTS[name]


def test_the_bytes_of_tls_are_the_same_in_two_processes() -> None:
    questions = [
        Question(toron.KernelRef(PROGRAM, name), seed, 0, "varied")
        for name in NAMES
        for seed in (1, 2)
    ]
    moved = {
        one.reference.name: str(one.divergence)
        for one in verify_many(questions)
        if one.divergence is not None
    }
    assert moved == {}


def test_another_seed_is_another_handshake(execute_program: Callable[..., Execution]) -> None:
    drawn = [
        execute_program("tls_programs", "random_bytes_of_openssl", seed).outcome.outputs["result"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
