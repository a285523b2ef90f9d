"""The cores and the memory of one runner, lent to the stages that execute on it.

First come, first served among equals, better priorities first, and nobody is overtaken for being
large: while the first in line waits for room, those behind it wait too. Otherwise an exclusive
stage would wait for ever beside a stream of small ones.
"""

import contextlib
import heapq
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage needs while it runs; an exclusive one shares the runner with nobody."""

    cores: int = 1
    memory_mb: int = 0
    exclusive: bool = False


class Budget:
    """So many `cores` and so much memory; a need that is larger than all of it gets all of it."""

    def __init__(self, *, cores: int, memory_mb: int) -> None:
        self._cores, self._memory_mb = cores, memory_mb
        self._free_cores, self._free_memory_mb = cores, memory_mb
        self._changed = threading.Condition()
        self._line: list[tuple[int, int]] = []
        self._tickets = 0

    @contextlib.contextmanager
    def lent(self, need: Need, *, rank: int, stopped: Callable[[], None]) -> Iterator[None]:
        """Hold what `need` says; waits its turn, and `stopped` may end the waiting by raising."""
        cores = self._cores if need.exclusive else min(need.cores, self._cores)
        memory_mb = self._memory_mb if need.exclusive else min(need.memory_mb, self._memory_mb)
        self._wait(cores, memory_mb, rank, stopped)
        try:
            yield
        finally:
            with self._changed:
                self._free_cores += cores
                self._free_memory_mb += memory_mb
                self._changed.notify_all()

    def _wait(self, cores: int, memory_mb: int, rank: int, stopped: Callable[[], None]) -> None:
        with self._changed:
            self._tickets += 1
            mine = (rank, self._tickets)
            heapq.heappush(self._line, mine)
            try:
                while not self._fits(mine, cores, memory_mb):
                    self._changed.wait(_LOOK_S)
                    stopped()
                self._free_cores -= cores
                self._free_memory_mb -= memory_mb
            finally:
                self._line.remove(mine)
                heapq.heapify(self._line)
                self._changed.notify_all()

    def _fits(self, mine: tuple[int, int], cores: int, memory_mb: int) -> bool:
        first = self._line[0] == mine
        return first and cores <= self._free_cores and memory_mb <= self._free_memory_mb
