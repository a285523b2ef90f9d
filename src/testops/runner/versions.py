"""Whether a run that was planned elsewhere, perhaps by another version, may be executed here."""

from collections.abc import Mapping
from typing import Any

from testops.domain.run_view import RunView
from testops.domain.versions import Combination, Matrix, Unqualified
from testops.snapshots.manifest import SCHEMA_VERSION


def refusal_of(run: RunView, matrix: Matrix, running: Combination) -> str:
    """Why this runner does not execute `run`; empty when it may.

    A run is the answer to a question, and its engine is a part of that: another one would answer
    another question under the same id.
    """
    planned = str(run.question.get("engine_version", run.engine_version))
    for named in (planned, run.engine_version):
        if named != running.engine:
            return (
                f"it was planned for engine {named}, and this runner has {running.engine}: "
                "the matrix has no row of both; start it again, it is planned anew"
            )
    try:
        matrix.require(running)
    except Unqualified as error:
        return str(error)
    return ""


def sides_of(comparison: Mapping[str, Any]) -> tuple[tuple[str, int] | None, tuple[str, int]]:
    """Engine and bundle schema of base (None: there is no baseline) and target of a comparison."""
    base = comparison["base"]
    return None if base is None else _side(base), _side(comparison["target"])


def _side(bundle: Mapping[str, Any]) -> tuple[str, int]:
    # What does not say its schema was read as the one that this program writes.
    return str(bundle["engine_version"]), int(bundle.get("schema_version", SCHEMA_VERSION))
