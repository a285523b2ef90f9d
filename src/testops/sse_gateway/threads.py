"""Makes blocking reads in a few threads of the gateway's own."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_THREADS = 4


class Threads:
    """`OffLoop` by a few threads of its own: a slow log takes none from the rest of the process."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="sse-read")

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Start no more of them; what is being read is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
