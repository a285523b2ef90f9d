"""Lets Hypothesis' strategies draw from the choices of a run, so that one tape holds data too.

Hypothesis has a seam for this: a `PrimitiveProvider` answers for its five primitives (booleans,
integers, floats, strings, bytes), and every strategy is made of them. Ours makes each from numbers
below a bound, asked for under one label, in which 0 everywhere is the simplest value that the
strategy has: the harmless run draws the simplest data, and whatever lowers numbers on a tape
shrinks the value. Nothing else of Hypothesis takes part: no database, no health checks, no
deadline, no generator of its own.

Imported when it is first used, because Hypothesis is no dependency. Names of its `internal`
packages are used here and nowhere else.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.control import BuildContext
from hypothesis.errors import StopTest, UnsatisfiedAssumption
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.internal.conjecture.floats import lex_to_float
from hypothesis.internal.conjecture.providers import PrimitiveProvider
from hypothesis.internal.floats import make_float_clamper
from hypothesis.internal.intervalsets import IntervalSet

from toron.errors import RunRejected

OLDEST = (6, 140)
"""The first release that `draw_from` was tried with; 6.131 has other constructors."""
if hypothesis.__version_info__ < OLDEST:
    raise ImportError(f"Hypothesis {hypothesis.__version__} is older than 6.140")

Pick = Callable[[int], int]
"""A whole number below a bound, 0 for the simplest."""

_MILLI = 1024
_LIMB_BITS = 32
_BITS = (4, 8, 16, 32, 64, 128)
"""How many bits the distance of an integer from its simplest value has: each as likely."""
_NEAR = 1 << 10
"""So many values or fewer are one choice."""
_SIZE_USUAL = 16
_SIZE_LARGE = 256
_ALPHABET_USUAL = 128
_SPECIAL = (0.0, 0.5, 1.1, 1.5, 0.1, 1e-5, 1e5, 2.0**53, 1e300, 5e-324, math.inf, math.nan)
_FRACTION = 1 << 53
_WIDE = 1e6


class Primitives(PrimitiveProvider):
    """The five primitives of Hypothesis, made of numbers below a bound."""

    def __init__(self, pick: Pick) -> None:
        super().__init__(None)
        self._pick = pick
        self.drawn = hashlib.blake2b(digest_size=6)
        """Of all primitives that were drawn: values that have no stable text are told apart."""

    def _note(self, value: Any) -> Any:
        self.drawn.update(f"{value!r};".encode("utf-8", "surrogatepass"))
        return value

    def draw_boolean(self, p: float = 0.5, **_: Any) -> bool:
        """True with a probability of about ``p``; False is simplest, and 1 is the first True."""
        if p <= 0 or p >= 1:
            return p >= 1
        if p == 0.5:
            return bool(self._note(self._pick(2)))
        yes = min(max(round(p * _MILLI), 1), _MILLI - 1)
        return bool(self._note(0 < self._pick(_MILLI) <= yes))

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: dict[int, float] | None = None,
        shrink_towards: int = 0,
        **_: Any,
    ) -> int:
        """Near ``shrink_towards``, far from it, or at a bound."""
        if weights:
            chosen = self._weighted(weights)
            if chosen is not None:
                return int(self._note(chosen))
        center = shrink_towards
        center = center if min_value is None else max(center, min_value)
        center = center if max_value is None else min(center, max_value)
        below = None if min_value is None else center - min_value
        above = None if max_value is None else max_value - center
        return int(self._note(center + self._distance(below, above)))

    def _weighted(self, weights: dict[int, float]) -> int | None:
        """One of the weighted integers, or None for any."""
        drawn = (self._pick(_MILLI) - 1) / _MILLI
        for value, weight in weights.items():
            if 0 <= drawn < weight:
                return value
            drawn -= weight
        return None

    def _distance(self, below: int | None, above: int | None) -> int:
        """From -``below`` to ``above``, 0 first; None is without bound."""
        if below is not None and above is not None and below + above < _NEAR:
            return _nearest(self._pick(below + above + 1), below, above)
        limits = [limit for limit in (above, below) if limit is not None]
        far = max(limits).bit_length() if len(limits) == 2 else _BITS[-1]
        sizes = [*(bits for bits in _BITS if bits < far), far]
        kind = self._pick(len(sizes) + bool(limits))
        down = below != 0 and (above == 0 or self._pick(2) == 1)
        limit = below if down else above
        if kind == len(sizes):
            distance = limit if limit is not None else max(limits)
        else:
            distance = self._wide(sizes[kind])
            distance = distance if limit is None else distance % (limit + 1)
        return -distance if down else distance

    def _wide(self, bits: int) -> int:
        """A number of so many bits, in limbs: a choice has at most 2**53 values."""
        value = 0
        for high in range(bits, 0, -_LIMB_BITS):
            limb = min(high, _LIMB_BITS)
            value = (value << limb) | self._pick(1 << limb)
        return value

    def draw_float(
        self,
        *,
        min_value: float = -math.inf,
        max_value: float = math.inf,
        allow_nan: bool = True,
        smallest_nonzero_magnitude: float,
        **_: Any,
    ) -> float:
        """A small whole number, a special one, one between the bounds, or any 64 bits."""
        kind = self._pick(5)
        negative = min_value < 0 and self._pick(2) == 1
        if kind == 0:
            value = float(self._pick(_SIZE_USUAL + 1))
        elif kind == 1:
            value = _SPECIAL[self._pick(len(_SPECIAL))]
        elif kind == 2:
            low, high = max(min_value, -_WIDE), min(max_value, _WIDE)
            value = low + (high - low) * (self._pick(_FRACTION) / _FRACTION)
        elif kind == 3:
            value = (min_value, max_value)[self._pick(2)]
        else:
            value = lex_to_float(self._wide(64))
        clamp = make_float_clamper(
            min_value,
            max_value,
            smallest_nonzero_magnitude=smallest_nonzero_magnitude,
            allow_nan=allow_nan,
        )
        return float(self._note(clamp(-value if negative else value)))

    def _size(self, min_size: int, max_size: int) -> int:
        usual = min(max_size - min_size, _SIZE_USUAL)
        size = min_size + self._pick(usual + 1)
        if size == min_size + _SIZE_USUAL and size < max_size:
            size += self._pick(min(max_size - size, _SIZE_LARGE) + 1)
        return size

    def draw_string(
        self, intervals: IntervalSet, *, min_size: int = 0, max_size: int = _SIZE_LARGE, **_: Any
    ) -> str:
        """Text of the first characters of the alphabet, which are ASCII, or of any."""
        if not len(intervals):
            return ""
        size, usual = self._size(min_size, max_size), min(len(intervals), _ALPHABET_USUAL)
        anything = size > 0 and usual < len(intervals) and self._pick(4) == 3
        bound = len(intervals) if anything else usual
        text = (intervals.char_in_shrink_order(self._pick(bound)) for _ in range(size))
        return str(self._note("".join(text)))

    def draw_bytes(self, min_size: int = 0, max_size: int = _SIZE_LARGE, **_: Any) -> bytes:
        """Any bytes."""
        size = self._size(min_size, max_size)
        return bytes(self._note(bytes(self._pick(256) for _ in range(size))))


def _nearest(index: int, below: int, above: int) -> int:
    """The ``index``-th of the whole numbers from -``below`` to ``above``, by distance from 0."""
    both = min(below, above)
    if index > 2 * both:
        rest = index - both
        return rest if above > below else -rest
    return (index + 1) // 2 if index % 2 else -(index // 2)


def _no_test() -> None:
    """What Hypothesis is told that it runs."""


def draw_from(strategy: Any, pick: Pick) -> tuple[Any, str]:
    """A value of ``strategy`` and the digest of what it is made of.

    RunRejected when the strategy has none to give: a filter that rejects all, `assume`, too much.
    """
    if not isinstance(strategy, st.SearchStrategy):
        raise TypeError(
            f"draw() takes a strategy of Hypothesis, not a {type(strategy).__name__}; for one of "
            "several values there is world.choose(name, options)"
        )
    primitives = Primitives(pick)
    data = ConjectureData(random=None, provider=primitives)
    try:
        with BuildContext(data, is_final=False, wrapped_test=_no_test):
            value = data.draw(strategy)
    except UnsatisfiedAssumption as error:
        raise RunRejected(str(error) or "an assumption was not satisfied") from error
    except StopTest as stop:
        why = getattr(data, "events", {}).get("invalid because")
        raise RunRejected(str(why or f"{strategy!r} gave no value")) from stop
    return value, primitives.drawn.hexdigest()


def warm() -> None:
    """Let Hypothesis load what it loads when it is first used, before the world is simulated."""
    every = st.tuples(
        st.text(max_size=1), st.characters(categories=["Lu"]), st.integers(), st.floats(), st.none()
    )
    draw_from(st.lists(every | st.binary() | st.sampled_from([0, 1]), max_size=2), lambda _: 0)
