"""Which item of one list became which item of another.

Records are matched by a key when one can be inferred: a field that every record has, whose values
are scalar, and unique on either side. Otherwise equal items are matched in sequence, from anchors
that occur once on both sides (patience diff), so that a list that only shifted costs one removal or
addition. The cost is bounded: a stretch without anchors that is too large for an exact alignment is
compared by position, and the alignment says which way it took.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import cast

from testops.snapshots.canonical import Json, form

# Exact alignment is quadratic, and worse for repetitive lists.
_EXACT_CELLS_MAX = 40_000
# What people call a key, in the order in which they would take it.
_SAMPLE_MAX = 64
_KEY_NAMES = ("id", "key", "name", "uuid", "uid", "path")


@dataclass(frozen=True, slots=True)
class Alignment:
    """Indices: `pairs` (old, new) in order of new; `moved` are those that changed their order."""

    how: str
    key: str | None
    pairs: Sequence[tuple[int, int]]
    moved: frozenset[tuple[int, int]]
    removed: Sequence[int]
    added: Sequence[int]


def align(old: Sequence[Json], new: Sequence[Json]) -> Alignment:
    """How to read `new` as a change of `old`; every index of both is in exactly one place."""
    key, why = find_key(old, new)
    if key is not None:
        return _align_by_key(key, old, new)
    old_forms, new_forms = [form(item) for item in old], [form(item) for item in new]
    matches, is_exact = _match_in_sequence(old_forms, new_forms)
    return _completed(old_forms, new_forms, matches, is_exact=is_exact, why=why)


def find_key(old: Sequence[Json], new: Sequence[Json]) -> tuple[str | None, str]:
    """The field that identifies records in both lists; or None, and why no field does.

    Of several the one that explains most: that finds most records again, and finds them alike. A
    running number finds every record of a list that shifted, and none of them alike.
    """
    old_records, new_records = _records(old), _records(new)
    if not old_records or not new_records:
        return None, ""
    names = sorted({*old_records[0]} & {*new_records[0]}, key=_preference)
    best, best_score, why = None, 0.0, "its records share no field"
    for number, name in enumerate(names):
        columns = [_column(records, name) for records in (old_records, new_records)]
        problem = next((column for column in columns if isinstance(column, str)), "")
        score = 0.0
        if not problem:
            score = _explained(name, old_records, new_records, columns)
            problem = "" if score else f"no {name!r} is on both sides"
        if number == 0:
            why = problem  # of what people would take first
        if score > best_score:
            best, best_score = name, score
    return best, "" if best is not None else why


Record = dict[str, Json]
# A key's values: of two JSON types that are never equal to each other.
Column = Sequence[str | int]


def _records(items: Sequence[Json]) -> list[Record]:
    """The items when all are records; else none."""
    if not all(type(item) is dict for item in items):
        return []
    return cast("list[Record]", items)


def _column(records: Sequence[Record], name: str) -> Column | str:
    """What the records have under `name`, or why that identifies nothing."""
    try:
        column = [record[name] for record in records]
    except KeyError:
        return f"not every record has {name!r}"
    # bool is an int, and True is 1: only the types themselves will do.
    if not set(map(type, column)) <= {str, int}:
        return f"{name!r} is not always a text or an integer"
    values = cast("list[str | int]", column)
    return values if len(set(values)) == len(values) else f"{name!r} repeats"


def _explained(
    name: str, old: Sequence[Record], new: Sequence[Record], columns: Sequence[Column]
) -> float:
    """How many records the key finds again; up to twice as much where they are found unchanged."""
    place = {value: index for index, value in enumerate(columns[0])}
    found = [(place[value], index) for index, value in enumerate(columns[1]) if value in place]
    if not found:
        return 0.0
    step = -(-len(found) // _SAMPLE_MAX)
    sample = found[::step]
    alike = sum(_likeness(old[index], new[other], name) for index, other in sample)
    return len(found) * (1 + alike / len(sample))


def _likeness(old: Record, new: Record, key: str) -> float:
    names = {*old, *new} - {key}
    if not names:
        return 1.0
    return sum(name in old and name in new and old[name] == new[name] for name in names) / len(
        names
    )


def _preference(name: str) -> tuple[int, str]:
    if name in _KEY_NAMES:
        return _KEY_NAMES.index(name), name
    return (len(_KEY_NAMES) if name.endswith("_id") else len(_KEY_NAMES) + 1), name


def _align_by_key(key: str, old: Sequence[Json], new: Sequence[Json]) -> Alignment:
    place = {record[key]: index for index, record in enumerate(_records(old))}
    pairs = [
        (place[record[key]], index)
        for index, record in enumerate(_records(new))
        if record[key] in place
    ]
    return _alignment(f"records matched by {key!r}", key, pairs, len(old), len(new))


def _alignment(
    how: str, key: str | None, pairs: list[tuple[int, int]], old_count: int, new_count: int
) -> Alignment:
    kept = set(_longest_rise([index for index, _ in pairs]))
    used_old, used_new = {index for index, _ in pairs}, {index for _, index in pairs}
    return Alignment(
        how=how,
        key=key,
        pairs=pairs,
        moved=frozenset(pair for pair in pairs if pair[0] not in kept),
        removed=[index for index in range(old_count) if index not in used_old],
        added=[index for index in range(new_count) if index not in used_new],
    )


def _longest_rise(numbers: Sequence[int]) -> list[int]:
    """A longest increasing subsequence of distinct numbers (patience sorting)."""
    tails: list[int] = []
    tail_places: list[int] = []
    before: list[int] = []
    for place, number in enumerate(numbers):
        pile = bisect_left(tails, number)
        tails[pile : pile + 1] = [number]
        tail_places[pile : pile + 1] = [place]
        before.append(tail_places[pile - 1] if pile else -1)
    rise: list[int] = []
    place = tail_places[-1] if tail_places else -1
    while place >= 0:
        rise.append(numbers[place])
        place = before[place]
    return rise[::-1]


def _match_in_sequence(
    old: Sequence[str], new: Sequence[str]
) -> tuple[list[tuple[int, int]], bool]:
    """Equal items in rising order, and whether every stretch was aligned exactly."""
    matches: list[tuple[int, int]] = []
    is_exact = True
    # A stack of stretches: recursion would be as deep as the list is unlucky.
    stretches = [(0, len(old), 0, len(new))]
    while stretches:
        old_start, old_stop, new_start, new_stop = stretches.pop()
        while old_start < old_stop and new_start < new_stop and old[old_start] == new[new_start]:
            matches.append((old_start, new_start))
            old_start, new_start = old_start + 1, new_start + 1
        while (
            old_start < old_stop and new_start < new_stop and old[old_stop - 1] == new[new_stop - 1]
        ):
            old_stop, new_stop = old_stop - 1, new_stop - 1
            matches.append((old_stop, new_stop))
        stretch = (old_start, old_stop, new_start, new_stop)
        if old_start == old_stop or new_start == new_stop:
            continue
        if (old_stop - old_start) * (new_stop - new_start) <= _EXACT_CELLS_MAX:
            matches += _match_exactly(old, new, stretch)
        elif parts := _split_at_anchors(old, new, stretch):
            stretches += parts
        else:
            is_exact = False
            matches += _match_by_position(old, new, stretch)
    return sorted(matches), is_exact


_Stretch = tuple[int, int, int, int]


def _match_exactly(
    old: Sequence[str], new: Sequence[str], stretch: _Stretch
) -> Iterator[tuple[int, int]]:
    old_start, old_stop, new_start, new_stop = stretch
    matcher = SequenceMatcher(
        None, old[old_start:old_stop], new[new_start:new_stop], autojunk=False
    )
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            yield old_start + block.a + offset, new_start + block.b + offset


def _match_by_position(
    old: Sequence[str], new: Sequence[str], stretch: _Stretch
) -> Iterator[tuple[int, int]]:
    old_start, old_stop, new_start, new_stop = stretch
    for place in zip(range(old_start, old_stop), range(new_start, new_stop), strict=False):
        if old[place[0]] == new[place[1]]:
            yield place


def _split_at_anchors(old: Sequence[str], new: Sequence[str], stretch: _Stretch) -> list[_Stretch]:
    """The stretches that begin at each anchor, which the next step then matches; none: empty."""
    old_start, old_stop, new_start, new_stop = stretch
    old_count = Counter(old[old_start:old_stop])
    new_count = Counter(new[new_start:new_stop])
    place = {
        old[index]: index
        for index in range(old_start, old_stop)
        if old_count[old[index]] == 1 and new_count[old[index]] == 1
    }
    common = [
        (place[new[index]], index) for index in range(new_start, new_stop) if new[index] in place
    ]
    kept = set(_longest_rise([index for index, _ in common]))
    anchors = [pair for pair in common if pair[0] in kept]
    starts = [(old_start, new_start), *anchors]
    stops = [*anchors, (old_stop, new_stop)]
    if not anchors:
        return []
    return [
        (start[0], stop[0], start[1], stop[1]) for start, stop in zip(starts, stops, strict=True)
    ]


def _completed(
    old: Sequence[str],
    new: Sequence[str],
    matches: list[tuple[int, int]],
    *,
    is_exact: bool,
    why: str,
) -> Alignment:
    """Add to the equal items in order: equal items elsewhere (moved), then neighbours (changed)."""
    moved = _moves(old, new, matches)
    taken_old = {index for index, _ in moved}
    taken_new = {index for _, index in moved}
    pairs = list(matches)
    # The old end is one past the last, as is the new: the stretch after the last match counts too.
    at_old = at_new = 0
    for match_old, match_new in [*matches, (len(old), len(new))]:
        free_old = [index for index in range(at_old, match_old) if index not in taken_old]
        free_new = [index for index in range(at_new, match_new) if index not in taken_new]
        pairs += zip(free_old, free_new, strict=False)
        at_old, at_new = match_old + 1, match_new + 1
    reason = f" ({why})" if why else ""
    used_old = {index for index, _ in pairs} | taken_old
    used_new = {index for _, index in pairs} | taken_new
    return Alignment(
        how=f"no key field{reason}: items matched in sequence"
        if is_exact
        else f"no key field{reason}, and too long to align: items matched by position",
        key=None,
        pairs=sorted([*pairs, *moved], key=lambda pair: pair[1]),
        moved=frozenset(moved),
        removed=[index for index in range(len(old)) if index not in used_old],
        added=[index for index in range(len(new)) if index not in used_new],
    )


def _moves(
    old: Sequence[str], new: Sequence[str], matches: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    matched_old, matched_new = {index for index, _ in matches}, {index for _, index in matches}
    left: dict[str, list[int]] = defaultdict(list)
    for index in reversed(range(len(old))):
        if index not in matched_old:
            left[old[index]].append(index)
    return [
        (left[new[index]].pop(), index)
        for index in range(len(new))
        if index not in matched_new and left.get(new[index])
    ]
