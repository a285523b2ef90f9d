"""Secrets and how they are recognised. Only their SHA-256 is ever kept.

A slow hash would buy nothing: it makes guessing a password dear, and nobody guesses 256 bits.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

# `draw(n)` is n unpredictable bytes. It is an argument, so that a test can hold it.
Draw = Callable[[int], bytes]

SECRET_BYTES = 32
ID_BYTES = 8
TOKEN_LENGTH_MAX = 256
OWN_TOKEN_LENGTH_MIN = 32
PREFIX = "tops_"

_KEY = re.compile(r"tops_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{43}")
_OWN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new secret: `token` is shown once, `digest` is kept."""

    id: str
    token: str = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class Presented:
    """A key as a caller gave it: which one it claims to be, and the digest that must match."""

    key_id: str
    digest: str


def digest_of(token: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(token.encode()).hexdigest()


def matches(kept: str, presented: str) -> bool:
    """Whether two digests are the same, in a time that does not tell how far they agree."""
    return hmac.compare_digest(kept.encode(), presented.encode())


def mint_id(draw: Draw) -> str:
    """A new public id."""
    return _drawn(draw, ID_BYTES).hex()


def mint_key(draw: Draw) -> Minted:
    """The secret of an API key, which begins with what it is and which one."""
    key_id = mint_id(draw)
    token = f"{PREFIX}{key_id}_{_secret(draw)}"
    return Minted(key_id, token, digest_of(token))


def mint_opaque(draw: Draw) -> Minted:
    """The secret of a session or a login link, which says nothing about what it opens."""
    token = _secret(draw)
    return Minted(mint_id(draw), token, digest_of(token))


def presented_key(token: str) -> Presented | None:
    """The key that `token` claims to be; None when no key of ours looks like that."""
    found = _KEY.fullmatch(token) if len(token) <= TOKEN_LENGTH_MAX else None
    if found is not None:
        return Presented(found[1], digest_of(token))
    return _own_key(token)


def presented_opaque(token: str) -> str | None:
    """The digest of a session's or a link's secret; None when it cannot be one."""
    if len(token) > TOKEN_LENGTH_MAX or _OPAQUE.fullmatch(token) is None:
        return None
    return digest_of(token)


def _own_key(token: str) -> Presented | None:
    """A secret that an operator chose (`TESTOPS_API_KEY`): its id is the head of its digest."""
    if not OWN_TOKEN_LENGTH_MIN <= len(token) <= TOKEN_LENGTH_MAX:
        return None
    if token.startswith(PREFIX) or _OWN.fullmatch(token) is None:
        return None
    digest = digest_of(token)
    return Presented(digest[: 2 * ID_BYTES], digest)


def _secret(draw: Draw) -> str:
    return base64.urlsafe_b64encode(_drawn(draw, SECRET_BYTES)).rstrip(b"=").decode()


def _drawn(draw: Draw, count: int) -> bytes:
    drawn = draw(count)
    assert len(drawn) == count, "a source of secrets gave less than was asked"
    return drawn
