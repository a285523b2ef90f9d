"""The DSSE envelope around a statement: one spelling, one signature, nothing else in the file.

An envelope is written in one way only (RFC 8785 and a final newline), and read only when it is
written in that way. So every byte of the file counts: one that another program spelled anew is
refused, although DSSE would allow it, and whoever changed it says `as it was handed out`.

Nothing inside is looked at before the signature held. What the payload means is `certificate`.
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import rfc8785
from cryptography.exceptions import InvalidSignature

from testops.warroom.certificate_keys import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 32
_SIGNATURE_BYTES = 64

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class Unproven(Exception):
    """Why a certificate is not believed; one line."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, key: SigningKey) -> bytes:
    """The envelope around `payload`, signed by `key`; equal input gives equal bytes."""
    signature = key.sign(pae(PAYLOAD_TYPE, payload))
    return spelled(
        {
            "payload": _b64(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key.public.key_id, "sig": _b64(signature)}],
        }
    )


def spelled(envelope: Mapping[str, Any]) -> bytes:
    """The one way to write an envelope."""
    return rfc8785.dumps(dict(envelope)) + b"\n"


def opened(raw: bytes, keys: Sequence[PublicKey]) -> tuple[bytes, PublicKey]:
    """The payload and the key of `keys` that signed it; `Unproven` says why it is not believed."""
    payload, payload_type, key_id, signature = _parts(raw)
    key = next((one for one in keys if one.key_id == key_id), None)
    if key is None:
        known = ", ".join(one.key_id[:16] for one in keys)
        raise Unproven(f"it names the key {key_id[:16]}, and the key given is {known}")
    try:
        key.verify(signature, pae(payload_type, payload))
    except InvalidSignature:
        raise Unproven(
            "its signature is wrong: it was changed, or not signed by this key"
        ) from None
    if payload_type != PAYLOAD_TYPE:
        raise Unproven(f"it carries {payload_type[:80]!r}, not an in-toto statement")
    return payload, key


def _parts(raw: bytes) -> tuple[bytes, str, str, bytes]:
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise Unproven(f"it has more than {ENVELOPE_BYTES_MAX // 2**20} MiB, as no certificate has")
    envelope = parse(raw, "it")
    if not isinstance(envelope, dict):
        raise Unproven("it is no DSSE envelope, but another JSON value")
    match envelope:
        case {
            "payload": str(payload),
            "payloadType": str(payload_type),
            "signatures": list(signatures),
            **more,
        } if not more:
            key_id, signature = _only(signatures)
        case _:
            raise Unproven("it is no DSSE envelope (payload, payloadType and signatures)")
    if raw != spelled(envelope):
        raise Unproven("it is not spelled as it was handed out (spaces, order or escapes differ)")
    signed = _bytes_of(signature, "its signature")
    if len(signed) != _SIGNATURE_BYTES:
        raise Unproven(f"its signature has {len(signed)} bytes, and Ed25519's have 64")
    return _bytes_of(payload, "its payload"), payload_type, key_id, signed


def _only(signatures: Sequence[Any]) -> tuple[str, str]:
    if len(signatures) != 1:
        raise Unproven(f"it has {len(signatures)} signatures, and a certificate has one")
    match signatures[0]:
        case {"keyid": str(key_id), "sig": str(signature), **more} if not more:
            return key_id, signature
        case _:
            raise Unproven("its signature is not a keyid and a sig")


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes_of(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unproven(f"{what} is not base64") from None
    if _b64(raw) != text:
        # Spare bits at the end that decode to the same bytes.
        raise Unproven(f"{what} is base64 that is not spelled as it was handed out")
    return raw


def parse(raw: bytes, what: str) -> Json:
    """The JSON value of `raw`, which says one thing to every reader; else `Unproven`."""
    try:
        value: Json = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=lambda pairs: _once(pairs, what),
            parse_constant=lambda name: _refuse(f"{what} holds {name}, which JSON does not have"),
            parse_float=lambda digits: _finite(digits, what),
            parse_int=lambda digits: _whole(digits, what),
        )
    except UnicodeDecodeError as error:
        raise Unproven(f"{what} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise Unproven(f"{what} is not JSON ({error.msg}, byte {error.pos})") from None
    except RecursionError:
        raise Unproven(f"{what} is nested deeper than {DEPTH_MAX} levels") from None
    _require_depth(value, what)
    _require_characters(value, what)
    return value


def _once(pairs: Sequence[tuple[str, Any]], what: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise Unproven(f"{what} names {name[:60]!r} twice in one object")
        made[name] = value
    return made


def _refuse(problem: str) -> NoReturn:
    raise Unproven(problem)


def _finite(digits: str, what: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(f"{what} holds a number beyond a double")


def _whole(digits: str, what: str) -> int | float:
    # RFC 8785 spells a double of 1e20 without an exponent; Python's integers would go on for ever.
    return int(digits) if len(digits) <= 16 else _finite(digits, what)


def _require_depth(value: Json, what: str) -> None:
    level: list[Json] = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [item for parent in level for item in _children(parent)]
        if not level:
            return
    raise Unproven(f"{what} is nested deeper than {DEPTH_MAX} levels")


def _children(value: Json) -> Sequence[Json]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return ()


def _require_characters(value: Json, what: str) -> None:
    """Half of a surrogate pair is no character, and cannot be spelled again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unproven(f"{what} holds half a character") from None
