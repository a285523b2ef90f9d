"""Keys that sign certificates and keys that verify them: Ed25519, told apart by their SPKI.

A key id is the SHA-256 of the public key's SubjectPublicKeyInfo (DER), in hex: what `openssl pkey
-pubin -outform DER | sha256sum` prints. Where a private key is kept belongs to `wiring`.
"""

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES_MAX = 16 * 1024


class NoKey(Exception):
    """Why these bytes are no key of the wanted kind; one line."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies."""

    key_id: str
    pem: str
    _key: Ed25519PublicKey = field(repr=False, compare=False)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `cryptography.exceptions.InvalidSignature` unless this key signed `message`."""
        self._key.verify(signature, message)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs."""

    public: PublicKey
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def draw_private_pem() -> bytes:
    """A new private key, in PKCS 8."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signing_key(pem: bytes) -> SigningKey:
    """The private key in `pem`; `NoKey` says what it is instead."""
    try:
        key = serialization.load_pem_private_key(pem[:KEY_BYTES_MAX], password=None)
    except TypeError:
        raise NoKey("is encrypted with a passphrase, and nobody could type it here") from None
    except (ValueError, UnsupportedAlgorithm):
        raise NoKey("is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise NoKey("is a private key of another kind than Ed25519")
    return SigningKey(_public(key.public_key()), key)


def public_key(pem: bytes) -> PublicKey:
    """The public key in `pem`; `NoKey` says what it is instead."""
    if b"PRIVATE KEY" in pem:
        raise NoKey("is a private key, which only whoever signs should have")
    try:
        key = serialization.load_pem_public_key(pem[:KEY_BYTES_MAX])
    except (ValueError, UnsupportedAlgorithm):
        raise NoKey("is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise NoKey("is a public key of another kind than Ed25519")
    return _public(key)


def _public(key: Ed25519PublicKey) -> PublicKey:
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(hashlib.sha256(spki).hexdigest(), pem.decode(), key)
