"""Turns Python values into plain JSON, the same bytes for the same value, or refuses.

Outputs of a run are compared across processes, machines and versions, so what has no order of its
own is sorted, and what JSON cannot hold exactly is tagged: ``{"$bytes": hex}``, ``{"$int": str}``
beyond 2**53 - 1 (RFC 8785 stores numbers as doubles), ``{"$float": "nan"}``.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

INT_MAX = 2**53 - 1
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_BRIEF_TEXT = 256
_BRIEF_ITEMS = 64
_BRIEF_INT_MAX = 10**100


def canonical(value: Any, where: str = "value") -> Any:
    """``value`` as plain JSON data.

    Raises TypeError naming ``where`` for what has no stable form (an object with only an address).
    """
    if isinstance(value, enum.Enum):
        return canonical(value.value, where)
    if value is None or isinstance(value, (bool, str)):
        return _text(str.__str__(value), where) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value) if -INT_MAX <= value <= INT_MAX else {"$int": str(int(value))}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": bytes(value).hex()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    return _canonical_container(value, where)


def _text(value: str, where: str) -> str:
    """``value``, if it is text: half of a surrogate pair is none, and no JSON document holds it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TypeError(
            f"{where} is a str with a lone surrogate at {error.start}; record its bytes instead"
        ) from error
    return value


def _canonical_container(value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: canonical(getattr(value, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(value, Mapping):
        return _canonical_mapping(value, where)
    if isinstance(value, AbstractSet):
        return sorted((canonical(item, where) for item in value), key=dumps)
    if isinstance(value, Sequence):
        return [canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__qualname__}, which has no stable form; "
        "record plain values: str, int, float, bool, None, bytes, lists, dicts, sets, dataclasses"
    )


def _canonical_mapping(value: Mapping[Any, Any], where: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        name = _key(key, where)
        if name in plain:
            raise TypeError(f"{where} has two keys that both become {name!r} in JSON")
        plain[name] = canonical(item, f"{where}[{key!r}]")
    return plain


def _key(key: object, where: str) -> str:
    if isinstance(key, enum.Enum):
        return _key(key.value, where)
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, (int, float, bool)) or key is None:
        return json.dumps(key)
    raise TypeError(f"{where} has the key {key!r}; keys are strings or numbers")


def dumps(value: Any) -> str:
    """Canonical ``value`` as JSON text with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def brief(value: object) -> str:
    """A short, address-free text of a value met in passing (a result, an argument).

    Containers of plain values are written out; any other object is only its type's name, because
    its ``repr`` may run the program's code or show where it lies in memory.
    """
    return _brief(value, 3)


def _brief(value: object, depth: int) -> str:
    kind = type(value)
    if isinstance(value, (str, bytes)) and kind in (str, bytes):
        return repr(value) if len(value) <= _BRIEF_TEXT else _fingerprint(value)
    if isinstance(value, int) and kind is int and abs(value) > _BRIEF_INT_MAX:
        return hex(value)  # in decimal, Python refuses beyond 4,300 digits
    if value is None or kind in (bool, int, float):
        return repr(value)
    if depth and isinstance(value, (list, tuple)):
        items = (_brief(v, depth - 1) for v in islice(value, _BRIEF_ITEMS))
        return f"{kind.__name__}({', '.join(items)}{_more(value)})"
    if depth and kind is dict and isinstance(value, dict):
        first = islice(value.items(), _BRIEF_ITEMS)
        pairs = (f"{_brief(k, 0)}: {_brief(v, depth - 1)}" for k, v in first)
        return f"{{{', '.join(pairs)}{_more(value)}}}"
    if isinstance(value, BaseException):
        return f"{kind.__qualname__}({strip_addresses(str(value))})"
    return kind.__qualname__


def _more(value: Sized) -> str:
    more = len(value) - _BRIEF_ITEMS
    return f", and {more} more" if more > 0 else ""


def _fingerprint(value: str | bytes) -> str:
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    digest = hashlib.blake2b(raw, digest_size=12).hexdigest()
    return f"{type(value).__name__}:{len(value)}:{digest}"


def strip_addresses(text: str) -> str:
    """``text`` with memory addresses replaced: they name a place, not a thing."""
    return _ADDRESS.sub("0x…", text)
