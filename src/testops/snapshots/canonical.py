r"""JSON as a bundle holds it: one spelling a value (RFC 8785), and a reader that trusts none.

RFC 8785 numbers are IEEE doubles. What a double cannot hold is stored as text, always by the same
rule, so that both sides of a comparison spell it alike:

* an integer beyond ±(2^53-1), such as a seed: its decimal digits, `"18446744073709551615"`
* `nan`, `inf`, `-inf`: the strings `"NaN"`, `"Infinity"`, `"-Infinity"`
* an unpaired surrogate in a string: its escape as text, `"\\ud800"`
"""

import json
import marshal
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import rfc8785

from testops.snapshots.refusal import Refusal

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

SAFE_INTEGER_MAX = 2**53 - 1
# Far below Python's recursion limit, so that no walker over a value that was let in can hit it.
DEPTH_MAX = 100


# One for all: to make an encoder costs as much as to spell a small record.
_SPELLER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
# Later versions refer to objects that they have seen, which says more than a value.
_MARSHAL_WITHOUT_REFERENCES = 2


def canonical(value: Json) -> bytes:
    """The one spelling of `value`; what a double cannot hold must have gone through `storable`."""
    return rfc8785.dumps(value)


def form(value: Json) -> str:
    """A text that is equal exactly when two values are; `True` is not 1, and no key comes first.

    For values that were read: unlike `canonical`, it takes every number that JSON can spell.
    """
    return _SPELLER.encode(value)


def same(one: Json, other: Json) -> bool:
    """Whether two values have one `form`, found without spelling most of them.

    Unequal values are never the same; equal ones may be of two types (`True` and 1, 1 and 1.0, 0.0
    and -0.0), which marshal keeps apart. It also keeps apart what only has another order of keys,
    so what it calls different is spelled after all.
    """
    if one != other:
        return False
    return marshal.dumps(one, _MARSHAL_WITHOUT_REFERENCES) == marshal.dumps(
        other, _MARSHAL_WITHOUT_REFERENCES
    ) or form(one) == form(other)


def integer_json(number: int) -> int | str:
    """`number` as a bundle stores it: digits in a string when a double cannot hold it."""
    return number if abs(number) <= SAFE_INTEGER_MAX else str(number)


def storable(value: object, *, depth: int = 0) -> Json:
    """A copy of `value` that RFC 8785 can spell. TypeError names what is not JSON at all."""
    if depth > DEPTH_MAX:
        raise TypeError(f"it is nested deeper than {DEPTH_MAX} levels")
    match value:
        case None | bool():
            return value
        case str():
            return _storable_text(value)
        case int():
            return integer_json(value)
        case float():
            return _storable_float(value)
        case Mapping():
            return {
                _storable_key(key): storable(item, depth=depth + 1) for key, item in value.items()
            }
        case list() | tuple():
            return [storable(item, depth=depth + 1) for item in value]
        case _:
            raise TypeError(f"a {type(value).__name__} is not a JSON value")


def _storable_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not a string")
    return _storable_text(key)


def _storable_text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _storable_float(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def parse(raw: bytes) -> Json:
    """The value that `raw` spells, canonical or not; never one that two readers read apart."""
    try:
        value: Json = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise Refusal(f"it is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise Refusal(
            f"it is not JSON ({error.msg}, line {error.lineno} column {error.colno})"
        ) from error
    except RecursionError as error:
        raise Refusal(f"its JSON is nested deeper than {DEPTH_MAX} levels") from error
    except ValueError as error:  # an integer of thousands of digits
        raise Refusal(f"it holds a number that cannot be read ({error})") from error
    _require_depth(value)
    return value


def _object_without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise Refusal(f"its JSON names {repeated[:80]!r} twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Refusal(f"its JSON holds {name}, which JSON does not have")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise Refusal(f"its JSON holds {digits[:40]}, which is beyond a double")
    return number


def _require_depth(value: Json) -> None:
    level: list[dict[str, Json] | list[Json]] = (
        [value] if type(value) is dict or type(value) is list else []
    )
    for _ in range(DEPTH_MAX):
        if not level:
            return
        # Scalars are most of a document, and end here.
        level = [
            item
            for parent in level
            for item in (parent.values() if type(parent) is dict else parent)
            if type(item) is dict or type(item) is list
        ]
    if any(level):  # empty ones hold nothing deeper
        raise Refusal(f"its JSON is nested deeper than {DEPTH_MAX} levels")
