"""A key is made, rotated, revoked and installed, and the log says each."""

import pytest
from tests.support.access import LOCAL, Access

from testops.access.keys import KeyEnded, TooWide, UnknownKey, WantedKey
from testops.access.tokens import presented_key
from testops.domain.access import Principal, Role
from testops.domain.errors import BadInput

SHOP = Principal("shop security", "key", "5", Role.SECURITY, frozenset({"shop"}))
OWN = "an-operator-chose-this-long-secret"


def test_a_key_that_was_made_is_told_without_its_secret(access: Access) -> None:
    made = access.key(Role.VIEWER, lifetime_s=60)
    assert made.token not in repr(made)
    [told] = [record.to_json(0) for record in access.keys.listed(by=LOCAL)]
    assert made.record.digest not in str(told)
    assert told["state"] == "usable"
    assert told["expires_at"] == "2026-01-02T03:05:05.000Z"
    [row] = access.store.newest(before=None, limit=1)
    assert row.entry.detail == {
        "name": "a viewer", "role": "viewer", "workspaces": "*", "expires": True,
    }  # fmt: skip


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.MAINTAINER])
def test_only_security_makes_revokes_and_rotates_keys(access: Access, role: Role) -> None:
    by = Principal("x", "key", "9" * 16, role)
    made = access.key()
    with pytest.raises(TooWide):
        access.keys.create(WantedKey("x", Role.VIEWER), by=by)
    with pytest.raises(TooWide):
        access.keys.revoke(made.record.key_id, by=by)
    with pytest.raises(TooWide):
        access.keys.rotate(made.record.key_id, by=by)
    assert access.actions() == ["key.create"]


def test_a_key_may_rotate_itself(access: Access) -> None:
    made = access.key(Role.VIEWER)
    new = access.keys.rotate(made.record.key_id, by=made.record.principal())
    assert new.record.holder == made.record.holder


def test_nobody_hands_out_what_they_do_not_reach(access: Access) -> None:
    with pytest.raises(TooWide):
        access.keys.create(WantedKey("x", Role.VIEWER), by=SHOP)
    with pytest.raises(TooWide):
        access.keys.create(WantedKey("x", Role.VIEWER, frozenset({"shop", "bank"})), by=SHOP)
    own = access.keys.create(WantedKey("x", Role.VIEWER, frozenset({"shop"})), by=SHOP)
    foreign = access.key(workspaces=frozenset({"bank"}))
    assert access.keys.listed(by=SHOP) == [own.record]
    # A foreign key is as unknown as one that never was.
    for key_id in (foreign.record.key_id, "0" * 16):
        with pytest.raises(UnknownKey):
            access.keys.revoke(key_id, by=SHOP)
        with pytest.raises(UnknownKey):
            access.keys.rotate(key_id, by=SHOP)


@pytest.mark.parametrize(
    "wanted",
    [
        WantedKey("", Role.VIEWER),
        WantedKey("  ", Role.VIEWER),
        WantedKey("x" * 101, Role.VIEWER),
        WantedKey("two\nlines", Role.VIEWER),
        WantedKey("x", Role.VIEWER, frozenset()),
        WantedKey("x", Role.VIEWER, None, 0),
        WantedKey("x", Role.VIEWER, None, 10**10),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(access: Access, wanted: WantedKey) -> None:
    with pytest.raises(BadInput):
        access.keys.create(wanted, by=LOCAL)
    assert access.store.all_keys() == []


def test_a_rotated_key_keeps_its_rights_and_its_length_of_life(access: Access) -> None:
    old = access.key(workspaces=frozenset({"shop"}), lifetime_s=1000)
    access.clock.advance(500)
    new = access.keys.rotate(old.record.key_id, by=LOCAL, overlap_s=60)
    assert new.token != old.token
    assert new.record.holder == old.record.holder
    assert new.record.expires_ms == new.record.created_ms + 1_000_000
    kept = access.store.key(old.record.key_id)
    assert kept is not None
    assert kept.replaced_by == new.record.key_id
    assert kept.expires_ms == new.record.created_ms + 60_000


def test_an_overlap_makes_no_key_live_longer(access: Access) -> None:
    old = access.key(lifetime_s=100)
    access.keys.rotate(old.record.key_id, by=LOCAL, overlap_s=1000)
    kept = access.store.key(old.record.key_id)
    assert kept is not None
    assert kept.expires_ms == old.record.expires_ms


def test_what_has_ended_is_not_rotated(access: Access) -> None:
    rotated, revoked, expired = access.key(), access.key(), access.key(lifetime_s=1)
    access.keys.rotate(rotated.record.key_id, by=LOCAL)
    access.keys.revoke(revoked.record.key_id, by=LOCAL)
    access.clock.advance(1)
    for one in (rotated, revoked, expired):
        with pytest.raises(KeyEnded):
            access.keys.rotate(one.record.key_id, by=LOCAL)
    with pytest.raises(KeyEnded):
        access.keys.revoke(revoked.record.key_id, by=LOCAL)


def test_the_key_of_the_environment_is_a_maintainer_once(access: Access) -> None:
    installed = access.keys.install(OWN, by=LOCAL)
    assert installed is not None
    assert installed.holder.role is Role.MAINTAINER
    assert access.keys.install(OWN, by=LOCAL) == installed
    presented = presented_key(OWN)
    assert presented is not None
    assert (presented.key_id, presented.digest) == (installed.key_id, installed.digest)
    assert access.actions() == ["key.install"]


def test_a_key_that_left_the_environment_opens_nothing_until_it_comes_back(
    access: Access,
) -> None:
    first = access.keys.install(OWN, by=LOCAL)
    assert first is not None
    access.keys.install(OWN + "-another", by=LOCAL)
    gone = access.store.key(first.key_id)
    assert gone is not None
    assert gone.ended(0) == "revoked"
    access.keys.install(OWN, by=LOCAL)
    assert [key.ended(0) for key in access.store.all_keys()].count(None) == 1
    access.keys.install(None, by=LOCAL)
    assert [key.ended(0) for key in access.store.all_keys()] == ["revoked", "revoked"]


def test_a_revoked_key_does_not_come_back_by_the_environment(access: Access) -> None:
    installed = access.keys.install(OWN, by=LOCAL)
    assert installed is not None
    access.keys.revoke(installed.key_id, by=LOCAL)
    with pytest.raises(BadInput, match="revoked"):
        access.keys.install(OWN, by=LOCAL)
    created = access.key(Role.VIEWER)
    access.keys.revoke(created.record.key_id, by=LOCAL)
    with pytest.raises(BadInput, match="revoked"):
        access.keys.install(created.token, by=LOCAL)


def test_an_installed_key_that_was_made_here_keeps_its_own_role(access: Access) -> None:
    made = access.key(Role.VIEWER)
    installed = access.keys.install(made.token, by=LOCAL)
    assert installed is not None
    assert installed.holder.role is Role.VIEWER


@pytest.mark.parametrize("token", ["", "short", "x" * 300, "tops_0_1" + "x" * 40, "ä" * 40])
def test_a_weak_key_is_not_installed(access: Access, token: str) -> None:
    with pytest.raises(BadInput, match="TESTOPS_API_KEY"):
        access.keys.install(token, by=LOCAL)
    assert access.store.all_keys() == []
