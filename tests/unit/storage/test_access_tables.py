"""Keys, sessions, links and the audit log on both databases."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.access import LOCAL, SIGNING_KEY, Access

from testops.access.audit import Entry, Signer, Verified
from testops.access.ports import Ending
from testops.access.records import Holder
from testops.access.refused import Refused
from testops.access.verify import verify
from testops.domain.access import Principal, Role
from testops.domain.errors import InternalError, StoreUnavailable
from testops.storage.access import AccessTables
from testops.storage.access_tables import audit, audit_head, login_link
from testops.storage.database import open_database

ENTRY = Entry("2026-01-02T03:04:05.000Z", "key", "1", "ci", "act", detail={"n": 1, "ok": True})


@pytest.fixture
def access(empty_database_url: str) -> Iterator[Access]:
    database = open_database(empty_database_url)
    yield Access(database)
    database.close()


def checked(access: Access) -> Verified:
    return verify(access.store, Signer(SIGNING_KEY))


def tamper(access: Access, statement: sa.Executable) -> None:
    with access.database.write() as connection:
        connection.execute(statement)


def test_what_is_appended_is_read_back_and_holds(access: Access) -> None:
    rows = [access.store.append(ENTRY) for _ in range(5)]
    assert list(access.store.page(after=0, limit=10)[0]) == rows
    assert list(access.store.page(after=3, limit=1)[0]) == [rows[3]]
    assert list(access.store.newest(before=None, limit=2)) == [rows[4], rows[3]]
    assert list(access.store.newest(before=3, limit=9)) == [rows[1], rows[0]]
    assert checked(access).holds


def test_a_row_is_gone_when_its_transaction_is(access: Access) -> None:
    access.store.append(ENTRY)

    def fail_after_appending() -> None:
        with access.database.write() as connection:
            access.store.append(ENTRY, connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_appending()
    assert access.store.append(ENTRY).seq == 2
    assert checked(access).count == 2


def test_concurrent_writers_share_no_place_and_fork_no_chain(access: Access) -> None:
    barrier = threading.Barrier(8)

    def write(_: int) -> list[int]:
        barrier.wait()
        return [access.store.append(ENTRY).seq for _ in range(12)]

    with ThreadPoolExecutor(8) as pool:
        places = [place for places in pool.map(write, range(8)) for place in places]
    assert sorted(places) == list(range(1, 97))
    found = checked(access)
    assert (found.holds, found.count) == (True, 96)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (sa.update(audit).where(audit.c.seq == 3).values(actor_name="x"), "row 3 was changed"),
        (sa.update(audit).where(audit.c.seq == 3).values(at="2027"), "row 3 was changed"),
        (sa.update(audit).where(audit.c.seq == 3).values(detail='{"n":2}'), "row 3 was changed"),
        (sa.update(audit).where(audit.c.seq == 3).values(detail="{"), "row 3 was changed"),
        (sa.update(audit).where(audit.c.seq == 3).values(hash="0" * 64), "row 3 was changed"),
        (sa.delete(audit).where(audit.c.seq == 3), "row 3 is missing"),
        (sa.delete(audit).where(audit.c.seq == 1), "row 1 is missing"),
        (sa.delete(audit).where(audit.c.seq > 4), "row 5 is missing at the end"),
        (sa.delete(audit), "rows 1 to 5 are missing at the end"),
        (sa.update(audit_head).values(seq=4), "row 5 is added behind the head"),
        (sa.update(audit_head).values(signature="0" * 64), "the signature of the head is wrong"),
        (sa.update(audit_head).values(signature=""), "the head is not signed"),
        (sa.delete(audit_head), "rows 1 to 5 are added behind the head"),
    ],
)
def test_every_kind_of_tampering_is_found(
    access: Access, statement: sa.Executable, finding: str
) -> None:
    for _ in range(5):
        access.store.append(ENTRY)
    tamper(access, statement)
    found = checked(access)
    assert not found.holds
    assert any(finding in one for one in found.findings), found.findings


def test_a_planted_row_is_found(access: Access) -> None:
    for _ in range(5):
        access.store.append(ENTRY)
    with access.database.write() as connection:
        last = connection.execute(sa.select(audit).where(audit.c.seq == 5)).mappings().one()
        planted = {**last, "seq": 6, "previous": last["hash"], "hash": "1" * 64}
        connection.execute(sa.insert(audit).values(planted))
    assert any("behind the head" in one for one in checked(access).findings)


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ({"signature": ""}, "the head was not signed"),
        ({"signature": "0" * 64}, "the signature of the head was wrong"),
        ({"signer": "another"}, "the head was signed with another key"),
    ],
)
def test_the_next_row_does_not_sign_what_a_forger_left(
    access: Access, forged: dict[str, str], why: str
) -> None:
    for _ in range(5):
        access.store.append(ENTRY)
    third = access.store.page(after=2, limit=1)[0][0]
    tamper(access, sa.delete(audit).where(audit.c.seq > 3))
    tamper(access, sa.update(audit_head).values(seq=3, hash=third.hash, **forged))
    assert access.store.append(ENTRY).seq == 5
    assert access.store.append(ENTRY).seq == 6
    found = checked(access)
    assert [one.partition(" (")[0] for one in found.findings] == [
        f"rows may be missing before row 4: {why}"
    ]
    noted = {found.head.seq: found.head.hash}
    assert verify(access.store, Signer(SIGNING_KEY), expected=noted).holds


def test_nothing_is_appended_to_a_log_that_lost_its_head(access: Access) -> None:
    access.store.append(ENTRY)
    tamper(access, sa.delete(audit_head))
    with pytest.raises(InternalError, match="audit verify"):
        access.store.append(ENTRY)


def test_a_key_comes_back_as_it_was_kept(access: Access) -> None:
    made = access.key(workspaces=frozenset({"shop", "bank"}), lifetime_s=60)
    assert access.store.key(made.record.key_id) == made.record
    assert access.store.key("0" * 16) is None
    assert access.store.all_keys() == [made.record]
    assert access.actions() == ["key.create"]


def test_the_same_id_is_not_added_twice_and_leaves_no_row(access: Access) -> None:
    record = access.key().record
    assert not access.store.add_key(replace(record, digest="other"), ENTRY)
    assert access.store.all_keys() == [record]
    assert access.actions() == ["key.create"]


def test_a_change_that_does_nothing_leaves_no_row(access: Access) -> None:
    ending = Ending(1, "x")
    assert not access.store.revoke_key("0" * 16, ending, ENTRY)
    assert not access.store.restore_key("0" * 16, ENTRY)
    assert not access.store.close_session("0" * 16, ending, ENTRY)
    assert access.actions() == []


def test_a_key_is_rotated_once_however_many_ask(access: Access) -> None:
    old = access.key().record
    barrier = threading.Barrier(6)

    def rotate(number: int) -> bool:
        barrier.wait()
        new = replace(old, key_id=f"{number:016d}", created_ms=old.created_ms + 1)
        return access.store.replace_key(
            old.key_id, old_until_ms=old.created_ms + 9, by=new, entry=ENTRY
        )

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(rotate, range(6))) == 1
    assert len(access.store.all_keys()) == 2


def test_a_link_opens_one_session_however_many_use_it_at_once(access: Access) -> None:
    link = access.sessions.link(Holder("me", Role.VIEWER, None), by=LOCAL)
    token = link.path.partition("=")[2]
    barrier = threading.Barrier(6)

    def redeem(_: int) -> bool:
        barrier.wait()
        try:
            access.sessions.redeem(token, client="192.0.2.7")
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(redeem, range(6))) == 1
    assert access.actions().count("session.open") == 1


def test_use_is_noted_at_most_as_often_as_asked(access: Access) -> None:
    key_id = access.key().record.key_id
    access.store.touch_key(key_id, at_ms=1000, unless_since_ms=0)
    access.store.touch_key(key_id, at_ms=1500, unless_since_ms=900)
    found = access.store.key(key_id)
    assert found is not None
    assert found.last_used_ms == 1000


def test_revoking_a_key_ends_its_links_and_sessions(access: Access) -> None:
    key = access.key()
    by = key.record.principal()
    holder = key.record.holder
    first = access.sessions.link(holder, by=by)
    opened = access.sessions.redeem(first.path.partition("=")[2], client="")
    second = access.sessions.link(holder, by=by)
    access.keys.revoke(key.record.key_id, by=LOCAL)
    found = access.store.session(opened.record.digest)
    assert found is not None
    assert found.ended(opened.record.created_ms) == "expired"
    with pytest.raises(Refused):
        access.sessions.redeem(second.path.partition("=")[2], client="")
    # A link that was made while the key was being revoked opens nothing either.
    late = access.sessions.link(holder, by=by)
    with pytest.raises(Refused):
        access.sessions.redeem(late.path.partition("=")[2], client="")


def test_what_ended_long_ago_is_forgotten_and_its_audit_rows_stay(access: Access) -> None:
    link = access.sessions.link(Holder("me", Role.VIEWER, None), by=LOCAL)
    access.sessions.redeem(link.path.partition("=")[2], client="")
    rows = len(access.actions())
    assert access.sessions.forget_ended() == 0
    access.clock.advance(3 * 24 * 3600)
    assert access.sessions.forget_ended() == 2
    assert len(access.actions()) == rows
    with access.database.read() as connection:
        assert connection.execute(sa.select(login_link)).all() == []
    assert checked(access).holds


def test_only_digests_are_in_the_database(access: Access) -> None:
    key = access.key()
    link = access.sessions.link(Holder("me", Role.VIEWER, None), by=LOCAL)
    opened = access.sessions.redeem(link.path.partition("=")[2], client="")
    secrets = [key.token, key.token.rpartition("_")[2], link.path.partition("=")[2], opened.token]
    with access.database.read() as connection:
        tables = sa.inspect(connection).get_table_names()
        content = "\n".join(
            repr(row)
            for name in tables
            for row in connection.execute(sa.text(f'select * from "{name}"'))
        )
    assert key.record.digest in content
    assert [secret for secret in secrets if secret in content] == []


def test_a_database_that_is_away_is_said_so() -> None:
    store = AccessTables(open_database("postgresql://nobody:x@127.0.0.1:9/none"), Signer(None))
    with pytest.raises(StoreUnavailable):
        store.key("0" * 16)


def test_a_scope_is_kept_as_a_scope(access: Access) -> None:
    none = access.key(workspaces=None).record
    assert access.store.key(none.key_id) == none
    by = Principal("x", "key", "1", Role.SECURITY, frozenset({"a"}))
    assert access.keys.listed(by=by) == []
