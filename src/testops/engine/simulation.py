"""Executes kernels under seeds, each execution verified in a second process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from testops.domain.errors import BadInput, InternalError
from testops.telemetry.clock import Clock
from toron import ENGINE_VERSION
from toron.errors import BadKernel, ToronError
from toron.search.explore import kernels_of
from toron.search.references import KernelRef
from toron.search.verify import Question, Verified, verify_many

__all__ = ["ENGINE_VERSION", "Execution", "KernelSpec", "kernels_in", "simulate"]


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """One kernel of a suite.

    ``verify`` says under which conditions its executions must be identical: ``varied`` hash seeds
    and addresses, or ``fixed`` ones for programs whose libraries order by hash.
    """

    name: str
    path: Path
    function: str
    verify: Literal["varied", "fixed"] = "fixed"


@dataclass(frozen=True, slots=True)
class Execution:
    """One verified execution: the JSON of `toron.Outcome`; of a failure also its ``trace``.

    ``identical`` is false when a second process behaved otherwise. An execution that was cut short
    has nothing to compare; its verdict is inconclusive.
    """

    kernel: str
    sim_seed: int
    chaos_seed: int
    outcome: Mapping[str, Any]
    identical: bool
    first_divergence: Mapping[str, Any] | None
    wall_s: float


_IMPORT_FIX = (
    "make the file importable; code of the project itself is found once it is installed "
    "(`pip install -e .`), or with PYTHONPATH=. before the command"
)


def kernels_in(path: Path) -> list[str]:
    """The names of the kernels in a file; BadInput when it is missing or does not import."""
    if not path.is_file():
        raise BadInput(f"{path}: no such kernel file", where=str(path), fix="name a Python file")
    try:
        return list(kernels_of(path))
    except BadKernel as error:
        raise BadInput(str(error), where=str(path), fix=_IMPORT_FIX) from error


def simulate(
    kernels: Sequence[KernelSpec],
    *,
    sim_seeds: Sequence[int],
    chaos_seed: int,
    jobs: int,
    clock: Clock,
    wall_limit_s: float = 60.0,
) -> Iterator[Execution]:
    """Execute every kernel under every seed, in two processes each; kernels in their order.

    Results come in the order of the work, each as soon as all before it are there.
    """
    specs = {(spec.path.resolve(), spec.function): spec for spec in kernels}
    questions = [
        Question(
            KernelRef(spec.path.resolve(), spec.function),
            seed,
            chaos_seed,
            spec.verify,
            trace_failures=True,
        )
        for spec in kernels
        for seed in sim_seeds
    ]
    begin = clock.elapsed_s()
    try:
        for verified in verify_many(questions, jobs=jobs, wall_limit_s=wall_limit_s):
            reference = verified.reference
            now = clock.elapsed_s()
            yield _execution(specs[reference.path, reference.name], verified, now - begin)
            begin = now
    except BadKernel as error:
        raise BadInput(str(error), where="kernels", fix="correct the kernel") from error
    except ToronError as error:
        raise InternalError(str(error)) from error


def _execution(spec: KernelSpec, verified: Verified, wall_s: float) -> Execution:
    outcome = verified.execution.outcome
    divergence = verified.divergence
    document = outcome.to_json()
    if verified.execution.events:
        document["trace"] = [
            {"text": event.text, "where": event.where} for event in verified.execution.events
        ]
    return Execution(
        kernel=spec.name,
        sim_seed=outcome.sim_seed,
        chaos_seed=outcome.chaos_seed,
        outcome=document,
        identical=divergence is None,
        first_divergence=divergence.to_json() if divergence is not None else None,
        wall_s=wall_s,
    )
