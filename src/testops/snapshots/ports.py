"""What this box asks of its callers."""

from collections.abc import Mapping
from typing import Any, Protocol


class ExecutionLike(Protocol):
    """One simulated execution, as `testops.engine` yields it."""

    @property
    def kernel(self) -> str: ...
    @property
    def sim_seed(self) -> int: ...
    @property
    def chaos_seed(self) -> int: ...
    @property
    def outcome(self) -> Mapping[str, Any]: ...
