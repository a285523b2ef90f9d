"""The typed difference of two JSON values. Knows nothing of kernels, seeds or bundles."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from testops.snapshots.align import align
from testops.snapshots.canonical import Json, form, same
from testops.snapshots.pointers import Place

_EXACT_INTEGER_MAX = 2**53


class ChangeKind(StrEnum):
    """What happened to the value at a place."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    DRIFTED = "drifted"  # a number that became another number
    RETYPED = "retyped"  # another JSON type than before
    MOVED = "moved"  # an item of a list that is the same (or has the same key) elsewhere


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. A place is None on the side that has nothing there.

    `note` says how the nearest list around it was aligned, and which record it is in; `percent` is
    of a number that drifted, None when it drifted from zero. `ulps` counts the doubles from one to
    the other when either is no integer, and `difference` is exact when both are.
    """

    kind: ChangeKind
    old_place: Place | None
    new_place: Place | None
    old: Json
    new: Json
    percent: float | None = None
    note: str = ""
    ulps: int | None = None
    difference: int | None = None


def changes(old: Json, new: Json) -> Iterator[Change]:
    """Every change from `old` to `new`, in the order of the documents; none when equal.

    One at a time: two lists without a common item have as many changes as both have items.
    """
    return _diff(old, new, (), (), "")


def diff(old: Json, new: Json) -> list[Change]:
    """All of `changes` at once."""
    return list(changes(old, new))


def _diff(old: Json, new: Json, at_old: Place, at_new: Place, note: str) -> Iterator[Change]:
    match old, new:
        case dict(), dict():
            yield from _diff_objects(old, new, at_old, at_new, note)
        case list(), list():
            if not same(old, new):
                yield from _diff_lists(old, new, at_old, at_new)
        case _:
            if not same(old, new):
                yield _replaced(old, new, at_old, at_new, note)


def _diff_objects(
    old: dict[str, Json], new: dict[str, Json], at_old: Place, at_new: Place, note: str
) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield Change(ChangeKind.REMOVED, (*at_old, name), None, old[name], None, note=note)
        elif name not in old:
            yield Change(ChangeKind.ADDED, None, (*at_new, name), None, new[name], note=note)
        else:
            yield from _diff(old[name], new[name], (*at_old, name), (*at_new, name), note)


def _diff_lists(
    old: Sequence[Json], new: Sequence[Json], at_old: Place, at_new: Place
) -> Iterator[Change]:
    alignment = align(old, new)

    def note_of(item: Json) -> str:
        if alignment.key is None or not isinstance(item, dict):
            return alignment.how
        return f"{alignment.how}, {alignment.key} {form(item[alignment.key])[:80]}"

    for index in alignment.removed:
        item = old[index]
        yield Change(ChangeKind.REMOVED, (*at_old, index), None, item, None, note=note_of(item))
    old_index_of = dict.fromkeys(alignment.added, -1) | {
        new_index: old_index for old_index, new_index in alignment.pairs
    }
    for new_index, old_index in sorted(old_index_of.items()):
        item = new[new_index]
        place_new = (*at_new, new_index)
        if old_index < 0:
            yield Change(ChangeKind.ADDED, None, place_new, None, item, note=note_of(item))
            continue
        place_old = (*at_old, old_index)
        if (old_index, new_index) in alignment.moved:
            yield Change(
                ChangeKind.MOVED, place_old, place_new, old_index, new_index, note=note_of(item)
            )
        # Most pairs are equal, and what to say of one costs more than to see that.
        if not same(old[old_index], item):
            yield from _diff(old[old_index], item, place_old, place_new, note_of(item))


def _replaced(old: Json, new: Json, at_old: Place, at_new: Place, note: str) -> Change:
    if _is_number(old) and _is_number(new):
        assert isinstance(old, int | float), old
        assert isinstance(new, int | float), new
        return Change(
            ChangeKind.DRIFTED,
            at_old,
            at_new,
            old,
            new,
            percent=_percent(old, new),
            note=note,
            ulps=ulps_between(old, new),
            difference=new - old if isinstance(old, int) and isinstance(new, int) else None,
        )
    kind = ChangeKind.CHANGED if type(old) is type(new) else ChangeKind.RETYPED
    return Change(kind, at_old, at_new, old, new, note=note)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _percent(old: float, new: float) -> float | None:
    if old == 0:
        return None
    try:
        percent = 100.0 * ((new - old) / abs(old))
    except OverflowError:  # integers beyond a double
        return None
    return percent if abs(percent) != float("inf") else None


def ulps_between(old: float, new: float) -> int | None:
    """How many doubles `new` is away from `old`; None for two integers, or one beyond a double.

    Zero and minus zero are one place, and the distance across zero counts both sides.
    """
    if isinstance(old, int) and isinstance(new, int):
        return None
    places = []
    for number in (old, new):
        if isinstance(number, int) and abs(number) > _EXACT_INTEGER_MAX:
            return None  # no double, so no place among them
        places.append(_place_among_doubles(float(number)))
    return abs(places[1] - places[0])


def _place_among_doubles(number: float) -> int:
    # The bits of positive doubles rise with their values; those of negative ones fall.
    bits: int = struct.unpack(">q", struct.pack(">d", number))[0]
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)
