"""Roles are a table: each test reads a line of it aloud."""

from datetime import UTC, datetime

import pytest

from testops.domain.access import GRANTS, Permission, Principal, Role, reaches


def test_each_role_of_the_ladder_may_more_than_the_one_below() -> None:
    assert GRANTS[Role.VIEWER] < GRANTS[Role.OPERATOR] < GRANTS[Role.MAINTAINER]
    assert Role.MAINTAINER.covers(Role.VIEWER)
    assert not Role.VIEWER.covers(Role.OPERATOR)


def test_security_stands_beside_the_ladder() -> None:
    assert not Role.SECURITY.covers(Role.OPERATOR)
    assert not Role.MAINTAINER.covers(Role.SECURITY)
    assert Permission.RUNS_CREATE not in GRANTS[Role.SECURITY]
    assert Permission.SNAPSHOTS_APPROVE not in GRANTS[Role.SECURITY]


@pytest.mark.parametrize("permission", [Permission.KEYS_MANAGE, Permission.AUDIT_READ])
def test_only_security_hands_out_keys_and_reads_the_log(permission: Permission) -> None:
    assert [role for role in Role if permission in GRANTS[role]] == [Role.SECURITY]


def test_every_permission_is_granted_to_somebody() -> None:
    assert {one for granted in GRANTS.values() for one in granted} == set(Permission)


def test_a_principal_may_only_in_its_workspaces() -> None:
    principal = Principal("ci", "key", "1", Role.OPERATOR, frozenset({"shop"}))
    assert principal.may(Permission.RUNS_CREATE, "shop")
    assert not principal.may(Permission.RUNS_CREATE, "bank")
    assert not principal.may(Permission.KEYS_MANAGE, "shop")
    assert Principal("ci", "key", "1", Role.OPERATOR).may(Permission.RUNS_CREATE, "bank")


def test_a_scope_reaches_no_further_than_itself() -> None:
    shop, both = frozenset({"shop"}), frozenset({"shop", "bank"})
    assert reaches(None, None)
    assert reaches(None, shop)
    assert reaches(both, shop)
    assert not reaches(shop, both)
    assert not reaches(shop, None)


def test_a_principal_tells_what_it_may_and_no_secret() -> None:
    ends = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    told = Principal("ci", "key", "1", Role.VIEWER, frozenset({"b", "a"}), ends).to_json()
    assert told["workspaces"] == ["a", "b"]
    assert told["expires_at"] == "2026-01-02T03:04:05.678Z"
    assert "runs.read" in told["permissions"]
