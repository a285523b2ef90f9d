"""A login link opens one session, once; logging out ends it."""

import pytest
from tests.support.access import LOCAL, Access

from testops.access.keys import TooWide
from testops.access.records import Holder
from testops.access.refused import Refused
from testops.access.sessions import clear_cookie, set_cookie
from testops.domain.access import Principal, Role
from testops.domain.errors import BadInput

ME = Holder("me", Role.MAINTAINER, None)


def token_of(path: str) -> str:
    assert path.startswith("/login?token=")
    return path.partition("=")[2]


def test_a_link_opens_a_session_once(access: Access) -> None:
    link = access.sessions.link(ME, by=LOCAL)
    opened = access.sessions.redeem(token_of(link.path), client="192.0.2.7")
    assert opened.record.holder == ME
    with pytest.raises(Refused) as caught:
        access.sessions.redeem(token_of(link.path), client="192.0.2.7")
    assert caught.value.status == 401
    assert access.actions() == ["login-link.create", "session.open"]


def test_a_link_expires(access: Access) -> None:
    link = access.sessions.link(ME, by=LOCAL, lifetime_s=60)
    access.clock.advance(60)
    with pytest.raises(Refused):
        access.sessions.redeem(token_of(link.path), client="")
    assert access.actions() == ["login-link.create"]


@pytest.mark.parametrize("token", ["", "a" * 43, "a" * 10_000_000, "é" * 43, "' or 1=1 --"])
def test_what_is_no_link_opens_nothing(access: Access, token: str) -> None:
    access.sessions.link(ME, by=LOCAL)
    with pytest.raises(Refused, match="login-link"):
        access.sessions.redeem(token, client="")


def test_a_used_and_an_unknown_link_are_told_the_same(access: Access) -> None:
    link = access.sessions.link(ME, by=LOCAL)
    access.sessions.redeem(token_of(link.path), client="")
    told = []
    for token in (token_of(link.path), "a" * 43):
        with pytest.raises(Refused) as caught:
            access.sessions.redeem(token, client="")
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_the_cookie_is_not_the_link_and_each_login_has_its_own(access: Access) -> None:
    tokens = []
    for _ in range(3):
        link = access.sessions.link(ME, by=LOCAL)
        opened = access.sessions.redeem(token_of(link.path), client="")
        tokens += [token_of(link.path), opened.token]
    assert len(set(tokens)) == 6


def test_a_link_is_no_wider_than_who_makes_it(access: Access) -> None:
    operator = Principal("ci", "key", "1" * 16, Role.OPERATOR, frozenset({"shop"}))
    shop = frozenset({"shop"})
    access.sessions.link(Holder("x", Role.VIEWER, shop), by=operator)
    for holder in (
        Holder("x", Role.MAINTAINER, shop),
        Holder("x", Role.SECURITY, shop),
        Holder("x", Role.VIEWER, None),
        Holder("x", Role.VIEWER, frozenset({"bank"})),
    ):
        with pytest.raises(TooWide):
            access.sessions.link(holder, by=operator)


def test_a_session_outlives_neither_its_key_nor_eight_hours(access: Access) -> None:
    short = access.key(lifetime_s=3600).record
    link = access.sessions.link(short.holder, by=short.principal())
    opened = access.sessions.redeem(token_of(link.path), client="")
    assert opened.record.expires_ms == short.expires_ms
    long = access.key(lifetime_s=30 * 24 * 3600).record
    link = access.sessions.link(long.holder, by=long.principal())
    opened = access.sessions.redeem(token_of(link.path), client="")
    assert opened.record.expires_ms == opened.record.created_ms + 8 * 3600 * 1000


@pytest.mark.parametrize("lifetime_s", [0, -1, 24 * 3600 + 1])
def test_a_link_lives_between_a_second_and_a_day(access: Access, lifetime_s: int) -> None:
    with pytest.raises(BadInput):
        access.sessions.link(ME, by=LOCAL, lifetime_s=lifetime_s)


def test_a_key_cannot_log_out(access: Access) -> None:
    with pytest.raises(BadInput, match="revoke"):
        access.sessions.close(access.key().record.principal())


def test_the_cookie_is_for_browsers_requests_alone(access: Access) -> None:
    opened = access.sessions.redeem(token_of(access.sessions.link(ME, by=LOCAL).path), client="")
    plain = f"testops_session={opened.token}; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax"
    assert set_cookie(opened, secure=False) == plain
    assert set_cookie(opened, secure=True) == f"__Host-{plain}; Secure"
    assert "Max-Age=0" in clear_cookie(secure=False)
    assert opened.token not in repr(opened)


def test_a_person_of_the_issuer_gets_a_session_of_that_kind(access: Access) -> None:
    opened = access.sessions.open_oidc(ME, subject="auth|42", client="192.0.2.7")
    assert opened.record.principal().kind == "oidc"
    [row] = access.store.newest(before=None, limit=1)
    assert (row.entry.action, row.entry.detail) == ("session.open", {"subject": "auth|42"})
    assert access.sessions.close(opened.record.principal())
