"""Seeds what the `cryptography` library draws from the OpenSSL inside its wheel.

That copy of OpenSSL cannot be reached from outside, but nearly all of its chance has a twin that
takes the chance as an argument: keys are derived from seeded bytes, ECDSA signs by RFC 6979, and
the paddings of RSA are computed here and put through the bare RSA operation. ML-KEM, whose
encapsulation has no such twin, is reported as not supported, as by an older OpenSSL. What stays
out of reach: DSA, and `rust_openssl` called past the public modules. Nothing here is imported by
Toron; each part waits until the program imports its module.
"""

from __future__ import annotations

import hashlib
import os
from types import ModuleType
from typing import Any

from toron.world.boundary.on_import import when_imported

_ASYMMETRIC = "cryptography.hazmat.primitives.asymmetric"
_ORDERS = {
    "secp192r1": 0xFFFFFFFFFFFFFFFFFFFFFFFF99DEF836146BC9B1B4D22831,
    "secp224r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFF16A2E0B8F03E13DD29455C5C2A3D,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    "secp384r1": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffff"
        "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    ),
    "secp521r1": int(
        "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
        "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
        16,
    ),
}
"""How many private keys a curve has."""
_RAW_KEYS = (
    ("x25519", "X25519PrivateKey", 32),
    ("x448", "X448PrivateKey", 56),
    ("ed25519", "Ed25519PrivateKey", 32),
    ("ed448", "Ed448PrivateKey", 57),
)
_SMALL_PRIMES = [n for n in range(3, 2_000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]
_MILLER_RABIN_ROUNDS = 8


def install() -> None:
    """Watch for the modules of `cryptography`."""
    for module, name, size in _RAW_KEYS:
        when_imported(f"{_ASYMMETRIC}.{module}", _raw_key(name, size))
    when_imported(f"{_ASYMMETRIC}.ec", _elliptic_curves)
    when_imported(f"{_ASYMMETRIC}.rsa", _rsa)
    when_imported(f"{_ASYMMETRIC}.dh", _diffie_hellman)
    when_imported("cryptography.x509.base", _certificates)
    when_imported("cryptography.hazmat.backends.openssl.backend", _backend)


def _below(bound: int) -> int:
    """A seeded number from 0 to ``bound`` - 1; the 8 bytes too many make the bias vanish."""
    return int.from_bytes(os.urandom(bound.bit_length() // 8 + 8), "big") % bound


def _raw_key(name: str, size: int) -> Any:
    def hook(module: ModuleType) -> None:
        def generate(cls: Any) -> Any:
            return cls.from_private_bytes(os.urandom(size))

        getattr(module, name).generate = classmethod(generate)

    return hook


def _backend(module: ModuleType) -> None:
    backend = vars(module)["Backend"]
    if hasattr(backend, "mlkem_supported"):
        backend.mlkem_supported = lambda _self: False


# Elliptic curves and certificates


def _elliptic_curves(module: Any) -> None:
    original = module.generate_private_key

    def generate_private_key(curve: Any, backend: Any = None) -> Any:
        order = _ORDERS.get(getattr(curve, "name", ""))
        if order is None:
            return original(curve, backend)
        return module.derive_private_key(1 + _below(order - 1), curve)

    module.generate_private_key = generate_private_key
    make = module.ECDSA.__init__
    if "deterministic_signing" not in make.__code__.co_varnames:
        return

    def init(self: Any, algorithm: Any, deterministic_signing: bool = True) -> None:
        make(self, algorithm, deterministic_signing)

    module.ECDSA.__init__ = init


def _certificates(module: ModuleType) -> None:
    for name in (
        "CertificateBuilder",
        "CertificateSigningRequestBuilder",
        "CertificateRevocationListBuilder",
    ):
        builder = getattr(module, name, None)
        if builder is not None and "ecdsa_deterministic" in builder.sign.__code__.co_varnames:
            _sign_deterministically(builder)


def _sign_deterministically(builder: Any) -> None:
    original = builder.sign

    def sign(self: Any, private_key: Any, *arguments: Any, **options: Any) -> Any:
        if hasattr(private_key, "curve"):
            options["ecdsa_deterministic"] = True
        return original(self, private_key, *arguments, **options)

    builder.sign = sign


# RSA


def _rsa(module: Any) -> None:
    def generate_private_key(public_exponent: int, key_size: int, backend: Any = None) -> Any:
        # What is not allowed is refused by the library's own rules and words.
        module._verify_rsa_parameters(public_exponent, key_size)
        return _rsa_key(module, public_exponent, key_size)

    if hasattr(module, "_verify_rsa_parameters"):
        module.generate_private_key = generate_private_key
    native = getattr(module, "rust_openssl", None)
    if native is not None:
        _pad(native.rsa.RSAPrivateKey, native.rsa.RSAPublicKey)


def _rsa_key(module: Any, e: int, size: int) -> Any:
    while True:
        p, q = _prime((size + 1) // 2, e), _prime(size // 2, e)
        if p != q and (p * q).bit_length() == size:
            break
    p, q = max(p, q), min(p, q)
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = module.RSAPrivateNumbers(
        p,
        q,
        d,
        module.rsa_crt_dmp1(d, p),
        module.rsa_crt_dmq1(d, q),
        module.rsa_crt_iqmp(p, q),
        module.RSAPublicNumbers(e, p * q),
    )
    return numbers.private_key()


def _prime(bits: int, e: int) -> int:
    """A seeded prime with both of its highest bits set, such that ``e`` has an inverse."""
    while True:
        start = _below(1 << bits) | (0b11 << (bits - 2)) | 1
        for candidate in range(start, min(start + 4 * bits, 1 << bits), 2):
            if candidate % e != 1 and _is_prime(candidate):
                return candidate


def _is_prime(n: int) -> bool:
    if any(n % prime == 0 for prime in _SMALL_PRIMES):
        return False
    twos = (n - 1 & 1 - n).bit_length() - 1
    odd = n - 1 >> twos
    return all(
        _passes(n, odd, twos, 2 if first else 2 + _below(n - 3))
        for first in (number == 0 for number in range(_MILLER_RABIN_ROUNDS))
    )


def _passes(n: int, odd: int, twos: int, base: int) -> bool:
    x = pow(base, odd, n)
    if x in (1, n - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def _pad(private: Any, public: Any) -> None:
    """Compute the paddings that draw, and leave the others to the library."""
    sign, encrypt = private.sign, public.encrypt

    def sim_sign(self: Any, data: Any, padding: Any, algorithm: Any) -> bytes:
        if padding.name != "EMSA-PSS" or type(padding._salt_length).__name__ == "_Auto":
            return bytes(sign(self, data, padding, algorithm))
        numbers = self.private_numbers()
        n = numbers.public_numbers.n
        encoded = _pss(bytes(data), padding, algorithm, n.bit_length() - 1)
        return _raw(encoded, numbers.d, n)

    def sim_encrypt(self: Any, plaintext: Any, padding: Any) -> bytes:
        numbers = self.public_numbers()
        size = _octets(numbers.n)
        if padding.name == "EME-OAEP":
            encoded = _oaep(bytes(plaintext), padding, size)
        else:
            encoded = _pkcs1(bytes(plaintext), size)
        if encoded is None:
            return bytes(encrypt(self, plaintext, padding))  # too long: refused in its own words
        return _raw(encoded, numbers.e, numbers.n)

    private.sign, public.encrypt = sim_sign, sim_encrypt


def _raw(encoded: bytes, exponent: int, n: int) -> bytes:
    """The bare RSA operation."""
    return pow(int.from_bytes(encoded, "big"), exponent, n).to_bytes(_octets(n), "big")


def _octets(n: int) -> int:
    return (n.bit_length() + 7) // 8


def _hash(algorithm: Any, payload: bytes) -> bytes:
    name = algorithm.name.replace("sha512-", "sha512_").replace("sha3-", "sha3_")
    return hashlib.new(name, payload).digest()


def _mask(algorithm: Any, seed: bytes, size: int) -> bytes:
    """MGF1 of RFC 8017, B.2.1."""
    rounds = range(-(-size // algorithm.digest_size))
    return b"".join(_hash(algorithm, seed + i.to_bytes(4, "big")) for i in rounds)[:size]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _pss(message: bytes, padding: Any, algorithm: Any, bits: int) -> bytes:
    """EMSA-PSS of RFC 8017, 9.1.1, with a seeded salt."""
    prehashed = getattr(algorithm, "_algorithm", None)
    algorithm, digest = (
        (prehashed, message) if prehashed else (algorithm, _hash(algorithm, message))
    )
    size, length = (bits + 7) // 8, algorithm.digest_size
    room = size - length - 2
    wanted = padding._salt_length
    name = type(wanted).__name__
    salt_size = wanted if isinstance(wanted, int) else length if name == "_DigestLength" else room
    if not 0 <= salt_size <= room:
        raise ValueError(
            "Digest or salt length too long for key size. Use a larger key or shorter "
            "salt length if you are specifying a PSS salt"
        )
    salt = os.urandom(salt_size)
    seed = _hash(algorithm, bytes(8) + digest + salt)
    block = bytes(room - salt_size) + b"\x01" + salt
    masked = bytearray(_xor(block, _mask(padding._mgf._algorithm, seed, len(block))))
    masked[0] &= 0xFF >> (8 * size - bits)
    return bytes(masked) + seed + b"\xbc"


def _oaep(message: bytes, padding: Any, size: int) -> bytes | None:
    """EME-OAEP of RFC 8017, 7.1.1, with a seeded seed; None when the message is too long."""
    algorithm, mgf = padding._algorithm, padding._mgf._algorithm
    length = algorithm.digest_size
    room = size - 2 * length - 2 - len(message)
    if room < 0:
        return None
    block = _hash(algorithm, padding._label or b"") + bytes(room) + b"\x01" + message
    seed = os.urandom(length)
    masked = _xor(block, _mask(mgf, seed, len(block)))
    return b"\x00" + _xor(seed, _mask(mgf, masked, length)) + masked


def _pkcs1(message: bytes, size: int) -> bytes | None:
    """EME-PKCS1-v1_5 of RFC 8017, 7.2.1; None when the message is too long."""
    room = size - len(message) - 3
    if room < 8:
        return None
    filler = b""
    while len(filler) < room:
        filler += os.urandom(room).replace(b"\0", b"")
    return b"\0\2" + filler[:room] + b"\0" + message


# Diffie-Hellman


def _diffie_hellman(module: Any) -> None:
    native = getattr(module, "rust_openssl", None)
    if native is None:
        return

    def generate_private_key(self: Any) -> Any:
        numbers = self.parameter_numbers()
        x = 2 + _below((numbers.q or numbers.p) - 3)
        public = module.DHPublicNumbers(pow(numbers.g, x, numbers.p), numbers)
        return module.DHPrivateNumbers(x, public).private_key()

    native.dh.DHParameters.generate_private_key = generate_private_key
