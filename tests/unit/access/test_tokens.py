"""A secret is unguessable, kept only as a digest, and compared without telling how far it fits."""

import inspect

import pytest
from tests.support.access import CountedDraw

from testops.access import guard, tokens
from testops.access.tokens import (
    Minted,
    digest_of,
    matches,
    mint_key,
    mint_opaque,
    presented_key,
    presented_opaque,
)


def test_a_key_says_what_it_is_and_which_one_and_has_256_bits() -> None:
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        drawn.append(size)
        return CountedDraw(size)(size)

    minted = mint_key(draw)
    assert drawn == [8, 32]
    assert minted.token.startswith(f"tops_{minted.id}_")
    presented = presented_key(minted.token)
    assert presented is not None
    assert (presented.key_id, presented.digest) == (minted.id, minted.digest)


def test_a_secret_is_not_in_what_is_printed_of_it() -> None:
    minted = mint_opaque(CountedDraw())
    assert minted.token not in repr(minted)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tops_",
        "tops_0123456789abcdef_short",
        "tops_0123456789ABCDEF_" + "a" * 43,
        "tops_0123456789abcdef_" + "a" * 44,
        "tops_0123456789abcdef_" + "ä" * 43,
        "x" * 31,
        "x" * 257,
        "x" * 1_000_000,
        "x" * 31 + "\n",
        "with a space " * 4,
        "ключ" * 10,
    ],
)
def test_what_has_not_the_form_of_a_key_is_none(token: str) -> None:
    assert presented_key(token) is None


def test_an_operator_may_choose_a_long_secret_of_their_own() -> None:
    presented = presented_key("0123456789abcdef" * 4)
    assert presented is not None
    assert presented.digest.startswith(presented.key_id)


def test_an_opaque_secret_is_exactly_43_characters() -> None:
    assert presented_opaque("a" * 43) == digest_of("a" * 43)
    assert presented_opaque("a" * 42) is None
    assert presented_opaque("a" * 42 + "=") is None
    assert presented_opaque("é" * 43) is None


def test_digests_are_compared_in_constant_time() -> None:
    assert matches("abc", "abc")
    assert not matches("abc", "abd")
    assert not matches("", digest_of("x"))
    assert "hmac.compare_digest" in inspect.getsource(matches)
    # Admission uses that comparison and no other one.
    source = inspect.getsource(guard)
    assert "matches(kept, credential.digest)" in source
    assert ".digest ==" not in source
    assert ".digest !=" not in source


def test_a_source_that_gives_less_than_asked_makes_no_secret() -> None:
    with pytest.raises(AssertionError):
        mint_key(lambda size: b"\0" * (size - 1))


def test_two_secrets_differ() -> None:
    draw = CountedDraw()
    many: list[Minted] = [mint_key(draw) for _ in range(50)]
    assert len({one.digest for one in many}) == 50
    assert len({one.id for one in many}) == 50
    assert tokens.SECRET_BYTES == 32
