"""Not a byte of a certificate can be changed, and nothing but a certificate passes for one."""

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from testops.warroom.certificate import (
    PREDICATE_TYPE,
    Facts,
    certify,
    read_certificate,
)
from testops.warroom.certificate_envelope import (
    ENVELOPE_BYTES_MAX,
    PAYLOAD_TYPE,
    Unproven,
    opened,
    pae,
    seal,
    spelled,
)
from testops.warroom.certificate_keys import (
    NoKey,
    draw_private_pem,
    public_key,
    signing_key,
)

RUN = "0123456789abcdef"
# Of this test alone: nothing was ever signed with it.
PEM = b"""\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGbET5p/KTxaso3h8uKcCN4PNcqjUvfYdUwdBQto3R4y
-----END PRIVATE KEY-----
"""
KEY = signing_key(PEM)
OTHER = signing_key(draw_private_pem())


def predicate(**changes: Any) -> dict[str, Any]:
    return {
        "run": {"id": RUN, "attempt": 1, "suite": "core", "profile": "offline"},
        "verdict": "pass",
        "exitCode": 0,
        "reason": "",
        "stages": [],
        "gates": [],
        "waivers": [],
        "policy": None,
        "score": None,
        "seeds": {"sim": "18446744073709551615", "chaos": 7},
        "build": {"commit": "c" * 40, "dirty": None},
        "versions": {"testops": "0.1.0", "engine": "toron-v2.5H+.2"},
        "reproduce": "testops run core",
        "startedAt": None,
        "finishedAt": None,
        **changes,
    }


FACTS = Facts(RUN, predicate(), "1" * 64, "2" * 64, "3" * 64, "4" * 64)
RAW = certify(FACTS, KEY)


def statement(**changes: Any) -> bytes:
    body = json.loads(base64.b64decode(json.loads(RAW)["payload"]))
    return rfc8785.dumps(body | changes)


def refused(raw: bytes, match: str) -> None:
    with pytest.raises(Unproven, match=match):
        read_certificate(raw, [KEY.public])


def test_a_certificate_says_what_was_certified() -> None:
    found = read_certificate(RAW, [KEY.public])

    assert (found.run_id, found.attempt, found.verdict, found.exit_code) == (RUN, 1, "pass", 0)
    assert found.bundle_identity == "3" * 64
    assert found.bundle_sha256 == "4" * 64
    assert found.subjects["results"] == "1" * 64
    assert found.subjects["policy"] == "2" * 64
    assert found.predicate == FACTS.predicate
    assert found.key_id == KEY.public.key_id


def test_the_same_facts_are_the_same_bytes() -> None:
    assert certify(FACTS, signing_key(PEM)) == RAW


def flips(every: int) -> Iterator[bytes]:
    for place in range(0, len(RAW), every):
        for bit in range(8):
            changed = bytearray(RAW)
            changed[place] ^= 1 << bit
            yield bytes(changed)


def refuse_each(changed: Iterator[bytes]) -> int:
    count = 0
    for raw in changed:
        with pytest.raises(Unproven):
            read_certificate(raw, [KEY.public])
        count += 1
    return count


def test_every_flipped_bit_is_found_in_a_sample() -> None:
    # A prime, so that every column of base64 has its turn.
    assert refuse_each(flips(every=7)) == 8 * len(range(0, len(RAW), 7))


@pytest.mark.long
def test_every_flipped_bit_of_every_byte_is_found() -> None:
    assert refuse_each(flips(every=1)) == 8 * len(RAW)


def test_every_byte_replaced_removed_or_put_in_is_found_in_a_sample() -> None:
    draws = random.Random(7)

    def changed() -> Iterator[bytes]:
        for _ in range(2000):
            place = draws.randrange(len(RAW))
            yield RAW[:place] + RAW[place + 1 :]
            yield RAW[:place] + bytes([draws.randrange(256)]) + RAW[place:]
            yield RAW[: draws.randrange(len(RAW))]
            yield RAW + bytes([draws.randrange(256)])

    assert refuse_each(changed()) == 8000


def test_the_flips_of_the_payload_alone_are_found_by_the_signature() -> None:
    """The guard is the signature and not the spelling: each is spelled right, only changed."""
    envelope = json.loads(RAW)
    payload = base64.b64decode(envelope["payload"])
    for place in range(0, len(payload), 5):
        changed = bytearray(payload)
        changed[place] ^= 1
        body = {**envelope, "payload": base64.b64encode(bytes(changed)).decode()}
        refused(spelled(body), "signature is wrong")


def test_another_key_did_not_sign_it() -> None:
    with pytest.raises(Unproven, match=f"names the key {KEY.public.key_id[:16]}"):
        read_certificate(RAW, [OTHER.public])
    # Nor when the envelope claims that it did: the id is not signed, and not believed.
    claimed = json.loads(RAW)
    claimed["signatures"][0]["keyid"] = OTHER.public.key_id
    with pytest.raises(Unproven, match="signature is wrong"):
        read_certificate(spelled(claimed), [OTHER.public])


def test_only_one_signature_is_one() -> None:
    envelope = json.loads(RAW)
    [only] = envelope["signatures"]
    refused(spelled({**envelope, "signatures": []}), "has 0 signatures")
    refused(spelled({**envelope, "signatures": [only, only]}), "has 2 signatures")


def test_a_key_named_twice_is_refused_whichever_is_meant() -> None:
    for name in ("payload", "payloadType", "signatures"):
        refused(RAW.replace(b"{", b'{"%s":"",' % name.encode(), 1), "twice")
    signed_twice = seal(b'{"_type":"a","_type":"b"}', KEY)
    refused(signed_twice, "its statement names '_type' twice")


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"null", "no DSSE envelope"),
        (b"[" * 100_000, "nested deeper"),
        (b"[" * 40 + b"]" * 40, "nested deeper"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":1e999}', "beyond a double"),
        (b'{"a":' + b"9" * 5000 + b"}", "beyond a double"),
        (b'"\\ud800"', "half a character"),
        (RAW + b" ", "not spelled"),
        (RAW + RAW, "not JSON"),
        (RAW[:-1], "not spelled"),
        (RAW.replace(b'","', b'", "'), "not spelled"),
        (json.dumps(json.loads(RAW), indent=2).encode(), "not spelled"),
        (b" " * (ENVELOPE_BYTES_MAX + 1), "more than 4 MiB"),
    ],
)
def test_what_is_not_spelled_as_a_certificate_is_none(raw: bytes, match: str) -> None:
    refused(raw, match)


def test_base64_has_one_spelling() -> None:
    envelope = json.loads(RAW)
    signature = envelope["signatures"][0]["sig"]
    assert signature.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    # The spare bits before the padding: decodes to the very same signature.
    sibling = signature[:-3] + alphabet[alphabet.index(signature[-3]) ^ 1] + "=="
    assert base64.b64decode(sibling) == base64.b64decode(signature)
    for spelling in (sibling, signature.rstrip("="), f"{signature[:10]}\n{signature[10:]}"):
        changed = json.loads(RAW)
        changed["signatures"][0]["sig"] = spelling
        refused(spelled(changed), "base64")
    changed = json.loads(RAW)
    url_safe = base64.urlsafe_b64encode(b"\xff\xfe" * 32).decode()
    changed["signatures"][0]["sig"] = url_safe
    refused(spelled(changed), "not base64")


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (b"not json", "statement is not JSON"),
        (b"[]", "no in-toto statement"),
        (statement(_type="https://in-toto.io/Statement/v0.1"), "another kind"),
        (statement(predicateType="https://slsa.dev/provenance/v1"), "no gate certificate"),
        (statement(predicateType=f"{PREDICATE_TYPE}.1"), "no gate certificate"),
        (statement(more=1), "no in-toto statement"),
        (statement(predicate={}), "predicate has or lacks"),
        (statement(predicate=predicate(verdict="excellent")), "no verdict"),
        (statement(predicate=predicate(exitCode=99)), "no verdict"),
        (statement(predicate=predicate(exitCode=True)), "how it went"),
        (statement(predicate=predicate(build=7)), "'build' in its predicate"),
        (statement(predicate=predicate(gates=[7])), "'gates' in its predicate"),
        (statement(predicate=predicate(reproduce=None)), "'reproduce' in its predicate"),
        (statement(predicate=predicate(run={"id": RUN})), "how it went"),
        (statement(predicate=predicate(surprise=1)), "surprise"),
        (statement(subject=[]), "results and policy"),
        (statement(subject=[{"name": "x", "digest": {"sha256": "no"}}]), "subjects"),
        (
            statement(
                subject=[
                    {"name": name, "digest": {"sha256": "1" * 64}}
                    for name in ("results", "policy", "bundle")
                ]
            ),
            "half of a bundle",
        ),
    ],
)
def test_a_signature_alone_makes_no_certificate(payload: bytes, match: str) -> None:
    refused(seal(payload, KEY), match)


def test_another_payload_type_is_named() -> None:
    payload = b"hello"
    signature = KEY.sign(pae("text/plain", payload))
    raw = spelled(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "text/plain",
            "signatures": [
                {"keyid": KEY.public.key_id, "sig": base64.b64encode(signature).decode()}
            ],
        }
    )
    refused(raw, "carries 'text/plain'")


def test_a_signature_for_one_type_is_none_for_another() -> None:
    """What PAE is for: the type is signed with the payload."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    changed = json.loads(RAW) | {"payloadType": "text/plain"}
    refused(spelled(changed), "signature is wrong")


def test_another_implementation_verifies_ours() -> None:
    theirs = SSlibKey.from_crypto(
        load_pem_public_key(KEY.public.pem.encode()),
        keyid=KEY.public.key_id,
    )
    envelope = Envelope.from_dict(json.loads(RAW))

    assert envelope.payload_type == PAYLOAD_TYPE
    assert set(envelope.verify([theirs], 1)) == {KEY.public.key_id}


def test_we_verify_what_another_implementation_signed() -> None:
    private = load_pem_private_key(PEM, password=None)
    theirs = SSlibKey.from_crypto(
        private.public_key(),
        keyid=KEY.public.key_id,
    )
    envelope = Envelope(statement(), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private, theirs))

    # Ed25519 has one signature for one message, so even the bytes are ours.
    assert spelled(envelope.to_dict()) == RAW
    assert read_certificate(spelled(envelope.to_dict()), [KEY.public]).run_id == RUN


@given(st.binary(max_size=200))
def test_what_is_sealed_is_what_is_opened(payload: bytes) -> None:
    assert opened(seal(payload, KEY), [OTHER.public, KEY.public]) == (payload, KEY.public)


def test_a_certificate_that_nobody_could_read_is_not_made() -> None:
    with pytest.raises(Unproven, match="more than a certificate can hold"):
        certify(Facts(RUN, predicate(reason="x" * 2**22), "1" * 64, "2" * 64, None, None), KEY)


def test_keys_are_told_apart_by_what_openssl_hashes() -> None:
    assert KEY.public.key_id == ("e5710c0b8bad52a6f206b2dfc005b06f62c0a44a026a5e0211015c9c04cfa52d")
    assert public_key(KEY.public.pem.encode()) == KEY.public


@pytest.mark.parametrize(
    ("pem", "match"),
    [
        (b"", "not a public key"),
        (PEM, "is a private key"),
        (KEY.public.pem.encode()[:40], "not a public key"),
    ],
)
def test_what_is_no_public_key_is_named(pem: bytes, match: str) -> None:
    with pytest.raises(NoKey, match=match):
        public_key(pem)


def test_a_key_of_another_kind_neither_signs_nor_verifies() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key = generate_private_key(SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(NoKey, match="another kind"):
        signing_key(private)
    with pytest.raises(NoKey, match="passphrase"):
        signing_key(locked)
    with pytest.raises(NoKey, match="another kind"):
        public_key(public)
