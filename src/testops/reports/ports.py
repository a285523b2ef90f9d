"""What reports are made of: plain values, so that this box sees none of its siblings."""

from collections.abc import Mapping
from typing import Any, Protocol


class ComparisonLike(Protocol):
    """A comparison that can say itself in JSON."""

    def to_json(self) -> Mapping[str, Any]: ...


class ExecutionLike(Protocol):
    """One execution and whether a second process repeated it, as `testops.engine` yields it."""

    @property
    def kernel(self) -> str: ...
    @property
    def sim_seed(self) -> int: ...
    @property
    def chaos_seed(self) -> int: ...
    @property
    def identical(self) -> bool: ...
    @property
    def first_divergence(self) -> Mapping[str, Any] | None: ...
