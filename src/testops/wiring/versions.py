"""The compatibility matrix of this installation, and the versions that are running in it.

The document comes with the wheel; a checkout has it at its root. There is no other place, and no
variable that names one: what is qualified is not a matter of configuration.
"""

import functools
import importlib.metadata
import sys
import typing
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from testops import engine
from testops.domain.errors import BadInput
from testops.domain.suite import Suite
from testops.domain.versions import DOCUMENT, Combination, Matrix, Row, Versions, matrix_of
from testops.runner.versions import sides_of
from testops.snapshots.manifest import SCHEMA_VERSION


@functools.cache
def matrix() -> Matrix:
    """The matrix; `BadInput` when the document is missing or damaged."""
    return matrix_of(_document())


def _document() -> str:
    packaged = files("testops") / DOCUMENT
    if packaged.is_file():
        return packaged.read_text("utf-8")
    # An editable installation: src/testops of a checkout.
    checkout = Path(__file__).resolve().parents[3] / DOCUMENT
    try:
        return checkout.read_text("utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error}), so no version is known to be qualified",
            where=DOCUMENT,
            fix="install ryuzen-testops again",
        ) from error


def running() -> Combination:
    """What works here."""
    own = minor_of(importlib.metadata.version("ryuzen-testops"))
    return Combination(
        testops=own,
        runner=own,
        engine=engine.ENGINE_VERSION,
        bundle_schema=SCHEMA_VERSION,
        suite_schema=_suite_schema(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def _suite_schema() -> int:
    """The newest that is read: the last of the literals in its type."""
    return int(typing.get_args(Suite.model_fields["schema_version"].annotation)[-1])


def in_force() -> Versions:
    """What is qualified, and what runs here."""
    return Versions(matrix(), running())


def minor_of(version: str) -> str:
    """`0.1` of `0.1.7`: patches are interchangeable."""
    return ".".join(version.split(".")[:2])


def require_qualified() -> Row:
    """The row of what is running; `Unqualified` when nobody has qualified it."""
    return matrix().require(running())


def require_comparable(comparison: Mapping[str, Any]) -> None:
    """`Unqualified` unless the bundles of a comparison (its JSON) may be held together."""
    matrix().require_comparable(*sides_of(comparison))
