"""How often somebody may ask: sliding windows by `limits`, counted by our clock in bounded memory.

The counters are of this process. Behind several API processes a limit is that many times as wide.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from limits.strategies import SlidingWindowCounterRateLimiter

from testops.domain.errors import BadInput
from testops.telemetry.clock import Clock

COUNTERS_MAX = 20_000


class ClockedCounters(Storage, SlidingWindowCounterSupport):
    """`limits`' memory, but on a `Clock`, without a timer thread, and of bounded size.

    The library's own keeps every address it ever saw until a thread comes by. Here the counter
    that was least recently touched goes first: an attacker with twenty thousand addresses is
    counted less, and costs nobody memory. Called from one event loop, so without locks.
    """

    STORAGE_SCHEME = None  # built here, never looked up by an address

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def __len__(self) -> int:
        return len(self._counts)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        previous, previous_left, current, _ = self.get_sliding_window(key, expiry)
        if math.floor(previous * previous_left / expiry + current) + amount > limit:
            return False
        self._set(key, self._window(expiry), current + amount)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window = self._window(expiry)
        left = (window + 1) * expiry - self._clock.elapsed_s()
        previous = self._counts.get((key, window - 1), 0)
        return previous, left if previous else 0.0, self._counts.get((key, window), 0), left

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        window = self._window(expiry)
        self._counts.pop((key, window), None)
        self._counts.pop((key, window - 1), None)

    def _window(self, expiry: int) -> int:
        return math.floor(self._clock.elapsed_s() / expiry)

    def _set(self, key: str, window: int, count: int) -> None:
        self._counts[key, window] = count
        self._counts.move_to_end((key, window))
        while len(self._counts) > COUNTERS_MAX:
            self._counts.popitem(last=False)

    # What other strategies would use; there is one here.
    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        window = self._window(math.ceil(expiry))
        count = self._counts.get((key, window), 0) + amount
        self._set(key, window, count)
        return count

    def get(self, key: str) -> int:
        return sum(count for (name, _), count in self._counts.items() if name == key)

    def get_expiry(self, key: str) -> float:
        return self._clock.elapsed_s()

    def check(self) -> bool:
        return True

    def clear(self, key: str) -> None:
        for found in [one for one in self._counts if one[0] == key]:
            del self._counts[found]

    def reset(self) -> int:
        count = len(self._counts)
        self._counts.clear()
        return count


@dataclass(frozen=True, slots=True)
class Left:
    """What remains of a limit."""

    policy: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers writes it."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={self.window_s}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_s}',
        }


class Limit:
    """One limit, for as many callers as there are."""

    def __init__(self, policy: str, item: RateLimitItem, counters: ClockedCounters) -> None:
        self._policy = policy
        self._item = item
        self._counters = counters
        self._limiter = SlidingWindowCounterRateLimiter(counters)

    def take(self, who: str) -> bool:
        """Count one request of `who`; False when it is one too many, and not counted."""
        return self._limiter.hit(self._item, self._policy, who)

    def spent(self, who: str) -> bool:
        """Whether nothing remains, without counting."""
        return not self._limiter.test(self._item, self._policy, who)

    def left(self, who: str) -> Left:
        window_s = self._item.get_expiry()
        key = self._item.key_for(self._policy, who)
        previous, previous_left, current, left = self._counters.get_sliding_window(key, window_s)
        used = math.floor(previous * previous_left / window_s + current)
        quota = self._item.amount
        return Left(self._policy, quota, window_s, max(0, quota - used), math.ceil(left))


def limit_called(text: str, *, where: str) -> RateLimitItem:
    """The limit that `text` writes, as `600/minute`."""
    try:
        item = parse(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise BadInput(f"{text!r} is no rate", where=where, fix="write it as `600/minute`")
    return item
