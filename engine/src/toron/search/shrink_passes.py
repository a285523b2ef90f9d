"""Makes a tape smaller, pass by pass; knows tapes, and nothing of how they are executed.

A pass is a generator: it yields a candidate and is told the tape that the run of it met, when the
failure was still there, or None; it returns the smallest tape it has come to. Rules for whoever
writes the next one (Hypothesis' shrinker has taught us all of them):

- Progress is deterministic: a pass depends on its tape and on the answers, and on nothing else. So
  candidates can be executed ahead of their turn, on the assumption that those before them are
  refused, and the result is the same on one process and on eight.
- No fixed point inside a pass: the driver repeats the passes until none makes progress.
- Every accepted candidate is smaller in the order of `size_of` (shortlex: first fewer deviations,
  then smaller values, then earlier ones), so that shrinking ends.
- What is cheap and takes much away comes first: the budget may end at any time.

A run meets what is on the tape of it, and what it does not meet falls off the tape for nothing:
deviations after the failure, or of tasks that are not there any more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from toron.core.tape import SEEDED, Deviation, sort_of

Tape = tuple[Deviation, ...]
Pass = Generator[Tape, "Tape | None", Tape]

_SPARSE = (32, 16, 8, 4, 2)
_SAMPLES = 5
_SAMPLED_FROM = 12
"""Shorter tapes are not sampled: one deviation after the other is as fast."""
_ANEW_TRIES, _ANEW_UP_TO = 24, 3
ANEW_FROM = 7
"""Shorter tapes are what people can read."""
_PAIRS_UP_TO = 9
_GAPS = (2, 3, 4)
"""Of so many draws an element of a list is made: that there is one, and what it is."""
_EARLIER_TRIED = 3
_NUMBERS = re.compile(r"\d+")


def size_of(tape: Tape) -> tuple[int, int, int, Tape]:
    """What is smaller: fewer deviations, then lower values, then earlier steps."""
    numbers = sum(int(n) for key, _ in tape for n in _NUMBERS.findall(key)[-2:])
    return len(tape), sum(value for _, value in tape), numbers, tape


def label_of(key: str) -> str:
    """What kind of choice a key stands for."""
    return key.partition(" ")[0]


def _family_of(key: str) -> str:
    """Schedule, network, disk, faults, data: the first word of the label."""
    return label_of(key).partition(".")[0]


def _maker_of(key: str) -> str:
    """The coroutine function behind a key, or the whole label when there is none."""
    label, _, entity = key.partition(" ")
    return f"{label} {entity.partition('#')[0]}" if "#" in entity else label


def _task_of(key: str) -> str:
    """The task behind a key, without the step."""
    return key.rpartition("/")[0] or key


def nothing(tape: Tape) -> Pass:
    """The harmless run: many failures need no deviation at all."""
    if tape:
        found = yield ()
        if found is not None:
            return found
    return tape


def only_one_kind(tape: Tape) -> Pass:
    """Keep the deviations of one family, or of one label."""
    for of in (_family_of, label_of):
        kinds = _by_size(tape, of)
        if len(kinds) > 1:
            for kind in kinds:
                found = yield tuple(one for one in tape if of(one[0]) == kind)
                if found is not None:
                    tape = found
                    break
    return tape


def drop_kinds(tape: Tape) -> Pass:
    """Drop all deviations of a family, of a label, of a coroutine function, of a task."""
    for of in (_family_of, label_of, _maker_of, _task_of):
        kinds = _by_size(tape, of)
        if len(kinds) in (1, len(tape)):
            continue
        for kind in kinds:
            kept = tuple(one for one in tape if of(one[0]) != kind)
            if kept and len(kept) < len(tape):
                found = yield kept
                tape = tape if found is None else found
    return tape


def _by_size(tape: Tape, of: Callable[[str], str]) -> list[str]:
    counts: dict[str, int] = {}
    for key, _ in tape:
        counts[of(key)] = counts.get(of(key), 0) + 1
    return sorted(counts, key=lambda kind: (-counts[kind], kind))


def by_seed(tape: Tape) -> Pass:
    """Leave all numbers of one sort to the seed again: one deviation for all of its packets."""
    for sort in _by_size(tape, _sort_of):
        many = [key for key, _ in tape if _sort_of(key) == sort]
        if sort and len(many) > 1:
            kept = tuple(one for one in tape if _sort_of(one[0]) != sort)
            found = yield ((f"{SEEDED}{sort}", 1), *kept)
            tape = tape if found is None else found
    return tape


def _sort_of(key: str) -> str:
    """What kind of number; empty for what is no number of the world's."""
    label = label_of(key)
    return sort_of(label) if label.startswith(("net.", "disk.", "chaos.disk")) else ""


def sample(tape: Tape) -> Pass:
    """Keep a few at random, the fewest first.

    Taking one deviation away moves all that comes after it, so where a failure is frequent it
    seldom survives that, and yet many sparse runs have it.
    """
    chance = random.Random(0)  # noqa: S311  (drawn alike each time)
    rate = 0
    while rate < len(_SPARSE) and len(tape) >= _SAMPLED_FROM:
        for _ in range(_SAMPLES):
            kept = tuple(one for one in tape if not chance.randrange(_SPARSE[rate]))
            if kept and len(kept) < len(tape):
                found = yield kept
                if found is not None:
                    tape, rate = found, -1
                    break
        rate += 1
    return tape


def anew(offers: Sequence[Deviation]) -> Callable[[Tape], Pass]:
    """Look near the harmless run for one that fails with a few deviations, of the same makers.

    ``offers`` is where the harmless run could deviate. In a run of many small delays each one moves
    all others, so that nothing can be deleted alone; and yet one or two, elsewhere, may be enough.
    """

    def walk(tape: Tape) -> Pass:
        makers = {_maker_of(key) for key, _ in tape}
        likely = sorted({offer for offer in offers if _maker_of(offer[0]) in makers})
        chance = random.Random(0)  # noqa: S311  (drawn alike each time)
        for count in range(1, _ANEW_UP_TO + 1):
            if count > len(likely) or count >= len(tape):
                return tape
            for _ in range(_ANEW_TRIES):
                found = yield tuple(dict(chance.sample(likely, count)).items())
                if found is not None:
                    return found
        return tape

    return walk


def delete_runs(tape: Tape) -> Pass:
    """Delete from the last to the first, as many at once as go (the answer is guessed to double).

    From the back, because a run is the same up to the first deviation that is gone.
    """
    done: set[str] = set()
    step = 1
    while left := [key for key, _ in tape if key not in done]:
        found = yield _without(tape, set(left[-step:]))
        if found is not None:
            tape, step = found, step * 2
        elif step > 1:
            step //= 2
        else:
            done.add(left[-1])
    return tape


def _without(tape: Tape, gone: Iterable[str]) -> Tape:
    return tuple(one for one in tape if one[0] not in gone)


def flatten(tape: Tape) -> Pass:
    """Bring all values of one label to the least at once."""
    for label in _by_size(tape, label_of):
        keys = [key for key, value in tape if value > 1 and label_of(key) == label]
        if len(keys) > 1:
            found = yield _with(tape, dict.fromkeys(keys, 1))
            tape = tape if found is None else found
    return tape


def lower_values(tape: Tape) -> Pass:
    """Bring each value to the least with which the run still fails.

    Of times and shares only round numbers are tried: 1, 2, 5, 10, 20 and so on.
    """
    for key in [key for key, value in reversed(tape) if value > 1]:
        value = dict(tape).get(key, 1)
        lower = range(1, value) if _is_exact(key) else _round_below(value)
        low, high = 0, len(lower)
        at = 0  # the least is tried first: it is the most frequent answer
        while low < high:
            found = yield _with(tape, {key: lower[at]})
            if found is None:
                low = at + 1
            else:
                tape, high = found, at
            at = (low + high) // 2
    return tape


def _is_exact(key: str) -> bool:
    return _family_of(key) in ("data", "schedule", "cancel")


def _round_below(value: int) -> list[int]:
    """Numbers with one digit that is not 0, from 1 up."""
    return [n for n in (d * 10**e for e in range(20) for d in (1, 2, 5)) if n < value]


def _with(tape: Tape, values: dict[str, int]) -> Tape:
    return tuple((key, values.get(key, value)) for key, value in tape if values.get(key, 1) > 0)


def lower_pairs(tape: Tape) -> Pass:
    """Lower two values together, or let one take what the other had, and drop that one."""
    if not 2 <= len(tape) <= _PAIRS_UP_TO:
        return tape
    keys = [key for key, _ in tape]
    for at, first in enumerate(keys):
        for second in keys[at + 1 :]:
            if _family_of(first) == _family_of(second):
                tape = yield from _lower_pair(tape, first, second)
    return tape


def _lower_pair(tape: Tape, first: str, second: str) -> Pass:
    values = dict(tape)
    if first not in values or second not in values:
        return tape
    both = values[first] + values[second]
    for values_now in ({first: 0, second: both}, {first: both, second: 0}):
        found = yield _with(tape, values_now)
        if found is not None:
            return found
    least = min(values[first], values[second]) - 1
    low, high = 0, least + 1
    while high - low > 1:
        by = least if low == 0 and high == least + 1 else (low + high) // 2
        found = yield _with(tape, {first: values[first] - by, second: values[second] - by})
        if found is None:
            high = by
        else:
            tape, low = found, by
    return tape


def close_gaps(tape: Tape) -> Pass:
    """Take draws of data out of their sequence, so that all later ones move up."""
    for key in [key for key, _ in reversed(tape) if _family_of(key) == "data"]:
        label, first = label_of(key), _number_of(key)
        for count in _GAPS:
            if key in dict(tape):
                found = yield tuple(_moved_up(tape, label, first, count))
                if found is not None:
                    tape = found
                    break
    return tape


def _moved_up(tape: Tape, label: str, first: int, count: int) -> Iterator[Deviation]:
    for key, value in tape:
        if label_of(key) != label or _number_of(key) < first:
            yield key, value
        elif _number_of(key) >= first + count:
            yield f"{label} {_number_of(key) - count}", value


def _number_of(key: str) -> int:
    """The position of a draw in its sequence."""
    return int(key.rpartition(" ")[2])


def earlier(tape: Tape) -> Pass:
    """Let a deviation befall an earlier step, an earlier task, an earlier packet."""
    for key in [key for key, _ in tape]:
        for changed in _earlier_keys(key):
            names = [name for name, _ in tape]
            if key in names and changed not in names:
                moved = ((changed if name == key else name, value) for name, value in tape)
                found = yield tuple(moved)
                if found is not None:
                    tape = found
                    break
    return tape


def _earlier_keys(key: str) -> list[str]:
    """The same choice with a lower last number: the first, half, and one less."""
    numbers = list(_NUMBERS.finditer(key))
    if not numbers or not key.endswith(numbers[-1].group()):
        return []
    last = numbers[-1]
    value = int(last.group())
    lower = sorted({1, 2, value // 2, value - 1} - {0, value})
    return [f"{key[: last.start()]}{n}" for n in lower if n < value][:_EARLIER_TRIED]


FIRST = (nothing, by_seed, only_one_kind, drop_kinds, sample)
DELETING = (drop_kinds, sample, delete_runs)
"""Repeated until they delete nothing more, and only then"""
LOWERING = (flatten, lower_values, lower_pairs, close_gaps, earlier)
"""values are lowered, because a value costs more runs than a deviation."""
