"""Certificates and keys as an enemy would send them; what is signed is signed with the real key."""

import base64
import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import rfc8785
from tests.fuzz.bundles import mutated

from testops.warroom.certificate import Facts, certify
from testops.warroom.certificate_envelope import seal, spelled
from testops.warroom.certificate_keys import signing_key

Draw = random.Random
RUN = "0123456789abcdef"
# Of this folder alone: nothing was ever signed with it.
PEM = b"""\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGbET5p/KTxaso3h8uKcCN4PNcqjUvfYdUwdBQto3R4y
-----END PRIVATE KEY-----
"""
KEY = signing_key(PEM)
PREDICATE: dict[str, Any] = {
    "run": {"id": RUN, "attempt": 1, "suite": "core", "profile": "offline"},
    "verdict": "pass",
    "exitCode": 0,
    "reason": "",
    "stages": [{"name": "sim", "state": "ran", "verdict": "pass"}],
    "gates": [{"stage": "sim", "metric": "x", "verdict": "fail", "reason": "x is 1 (>= 2)"}],
    "waivers": [{"gate": "sim.x", "owner": "ada", "reason": "known", "expires": "2026-12-01"}],
    "policy": None,
    "score": None,
    "seeds": {"sim": "18446744073709551615", "chaos": 7},
    "build": {"commit": "c" * 40, "dirty": None},
    "versions": {"testops": "0.1.0", "engine": "toron-v2.5H+.2"},
    "reproduce": "testops run core",
    "startedAt": None,
    "finishedAt": "2026-11-25T18:00:09+00:00",
}
GENUINE = certify(Facts(RUN, PREDICATE, "1" * 64, "2" * 64, "3" * 64, "4" * 64), KEY)
_PAYLOAD = base64.b64decode(json.loads(GENUINE)["payload"])
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1e300, 1e20, 2**53 - 1, "", "x" * 3000, "\x1b[2J\r\n", "\u202e", [], {},
    [[[[]]]], {"a": {"b": {}}}, [1], ["x"], {"sha256": "1" * 64}, "warn", "inconclusive", 70, 99,
)  # fmt: skip


def certificate_input(draw: Draw) -> tuple[bytes, bool]:
    """One input for the reader, and whether our key signed just this (else it must be refused)."""
    return draw.choice(_KINDS)(draw)


def key_input(draw: Draw) -> bytes:
    """One input for the reader of public keys."""
    return mutated(draw.choice((KEY.public.pem.encode(), PEM, _certificate_like())), draw)


def _certificate_like() -> bytes:
    return KEY.public.pem.replace("PUBLIC KEY", "CERTIFICATE").encode()


def _raw(draw: Draw) -> tuple[bytes, bool]:
    return draw.randbytes(draw.choice((0, 1, 50, 3000))), False


def _bent(draw: Draw) -> tuple[bytes, bool]:
    raw = mutated(GENUINE, draw)
    return raw, raw == GENUINE


def _bent_payload(draw: Draw) -> tuple[bytes, bool]:
    """Spelled right, with the signature of something else."""
    payload = mutated(_PAYLOAD, draw)
    body = json.loads(GENUINE) | {"payload": base64.b64encode(payload).decode()}
    return spelled(body), payload == _PAYLOAD


def _bent_envelope(draw: Draw) -> tuple[bytes, bool]:
    body = json.loads(GENUINE)
    bend(body, draw)
    text = json.dumps(body, indent=draw.choice((None, 2)), ensure_ascii=draw.random() < 0.5)
    raw = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.5:
        try:
            raw = spelled(body)
        except (ValueError, TypeError, rfc8785.CanonicalizationError):
            return raw, False
    return raw, raw == GENUINE


def _signed_garbage(draw: Draw) -> tuple[bytes, bool]:
    return seal(mutated(_PAYLOAD, draw), KEY), True


def _signed_statement(draw: Draw) -> tuple[bytes, bool]:
    body = json.loads(_PAYLOAD)
    for _ in range(draw.randint(1, 3)):
        bend(body, draw)
    return seal(json.dumps(body).encode(), KEY), True


def bend(value: Any, draw: Draw) -> None:
    """Change something somewhere in a JSON value."""
    for _ in range(20):
        if isinstance(value, dict) and value:
            name = draw.choice(sorted(value, key=str))
            if draw.random() < 0.5 and isinstance(value[name], dict | list) and value[name]:
                value = value[name]
                continue
            match draw.randrange(4):
                case 0:
                    del value[name]
                case 1:
                    value["surprise"] = copy.deepcopy(draw.choice(_VALUES))
                case _:
                    value[name] = copy.deepcopy(draw.choice(_VALUES))
            return
        if isinstance(value, list) and value:
            if draw.random() < 0.7 and isinstance(value[0], dict | list):
                value = draw.choice(value)
                continue
            value.append(copy.deepcopy(draw.choice((*_VALUES, *value))))
            return
        return


_KINDS: Sequence[Callable[[Draw], tuple[bytes, bool]]] = (
    _raw,
    _bent,
    _bent,
    _bent_payload,
    _bent_envelope,
    _bent_envelope,
    _signed_garbage,
    _signed_statement,
    _signed_statement,
)
