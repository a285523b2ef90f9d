"""Who is admitted, who is not, and what is left in the audit log about it."""

import asyncio
import gc
import threading
import tracemalloc
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.access import LOCAL, Access, CountedDraw, asking

from testops.access.asked import HEADER_LENGTH_MAX, Asked, asked
from testops.access.audit import Entry, Row
from testops.access.guard import FRESH_S, STALE_S, Guard
from testops.access.records import Holder, KeyRecord
from testops.access.refused import Refused
from testops.access.settings import AccessSettings
from testops.access.tokens import mint_key
from testops.domain.access import Permission, Principal, Role
from testops.domain.errors import StoreUnavailable
from testops.storage.access import AccessTables


def admit(guard: Guard, request: Asked) -> Principal:
    return asyncio.run(guard.admit(request))


def refused(guard: Guard, request: Asked) -> Refused:
    with pytest.raises(Refused) as caught:
        admit(guard, request)
    return caught.value


def cookie_of(access: Access, role: Role = Role.OPERATOR) -> str:
    link = access.sessions.link(Holder("me", role, None), by=LOCAL)
    return access.sessions.redeem(link.path.partition("=")[2], client="").token


def changed(token: str) -> str:
    """The same key with another secret."""
    return token[:-1] + ("A" if token[-1] != "A" else "B")


def test_a_key_admits_as_whom_it_was_made_for(access: Access) -> None:
    made = access.key(Role.OPERATOR, workspaces=frozenset({"shop"}))
    principal = admit(access.guard, asking(key=made.token))
    assert principal == made.record.principal()
    assert principal.kind == "key"


def test_a_session_admits_and_so_does_bearer_in_any_case(access: Access) -> None:
    assert admit(access.guard, asking(cookie=cookie_of(access))).kind == "session"
    token = access.key().token
    request = asking(headers={"authorization": f"bEaReR  {token}"})
    assert admit(access.guard, request).kind == "key"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer tops_0123456789abcdef_" + "a" * 43},
        {"authorization": "Bearer tops_0123456789abcdef_" + "ÿ" * 43},
        {"authorization": "Bearer " + "x" * 1_000_000},
        {"authorization": "Bearer " + "鍵" * 40},
        {"cookie": "testops_session="},
        {"cookie": "testops_session=" + "a" * 43},
        {"cookie": "testops_session=" + "a" * 1_000_000},
        {"cookie": "other=" + "a" * 43},
        {"cookie": ";;;=;testops_session"},
    ],
)
def test_nobody_is_admitted_without_a_right_secret(access: Access, headers: dict[str, str]) -> None:
    found = refused(access.guard, asking(headers=headers))
    assert found.status == 401
    assert found.headers["WWW-Authenticate"].startswith("Bearer")
    assert access.actions() == ["refused.401"]


def test_a_wrong_secret_of_a_right_key_is_refused(access: Access) -> None:
    made = access.key()
    assert refused(access.guard, asking(key=changed(made.token))).status == 401
    other = mint_key(CountedDraw(99))
    mixed = f"tops_{made.record.key_id}_{other.token.split('_', 2)[2]}"
    assert refused(access.guard, asking(key=mixed)).status == 401


def test_unknown_and_wrong_are_told_the_same(access: Access) -> None:
    made = access.key()
    wrong = refused(access.guard, asking(key=changed(made.token)))
    unknown = refused(access.guard, asking(key=mint_key(CountedDraw(99)).token))
    assert (wrong.title, wrong.detail) == (unknown.title, unknown.detail)


def test_a_wrong_key_is_not_made_good_by_a_cookie(access: Access) -> None:
    request = asking(key=mint_key(CountedDraw(99)).token, cookie=cookie_of(access))
    assert refused(access.guard, request).status == 401


def test_a_cookie_that_stands_there_twice_is_refused(access: Access) -> None:
    good = cookie_of(access)
    twice = {"cookie": f"testops_session={good}; testops_session={good}"}
    assert refused(access.guard, asking(headers=twice)).status == 401


@pytest.mark.parametrize(
    "query",
    ["token=x", "api_key=x", "ACCESS_TOKEN=x", "suite=a&x=tops_0123456789abcdef_", "a=1&" * 200],
)
def test_a_secret_in_a_url_is_refused_even_when_it_is_right(access: Access, query: str) -> None:
    made = access.key()
    assert refused(access.guard, asking(key=made.token, query=query)).status in {401, 403}
    # What the log keeps of it is not the query.
    row = access.store.newest(before=None, limit=1)[0]
    assert "tops_" not in str(row.to_json())
    assert admit(access.guard, asking(key=made.token, query="suite=full&limit=2")).id


def test_an_expired_key_opens_nothing_from_its_last_moment_on(access: Access) -> None:
    made = access.key(lifetime_s=60)
    access.clock.advance(59.9)
    assert admit(access.guard, asking(key=made.token)).id
    access.clock.advance(0.1)
    # It is in the cache of a moment ago, and still expired.
    assert "expired" in refused(access.guard, asking(key=made.token)).detail
    access.clock.advance(100)
    assert "expired" in refused(access.guard, asking(key=made.token)).detail


def test_a_key_revoked_here_opens_nothing_at_once(access: Access) -> None:
    made = access.key()
    admit(access.guard, asking(key=made.token))
    access.keys.revoke(made.record.key_id, by=LOCAL)
    access.guard.forget(made.record.key_id)
    assert "revoked" in refused(access.guard, asking(key=made.token)).detail


def test_a_key_revoked_elsewhere_opens_nothing_after_five_seconds(access: Access) -> None:
    made = access.key()
    principal = admit(access.guard, asking(key=made.token))
    access.keys.revoke(made.record.key_id, by=LOCAL)
    access.clock.advance(FRESH_S)
    assert FRESH_S < STALE_S < 15
    assert refused(access.guard, asking(key=made.token)).status == 401
    assert not access.guard.still_valid(principal)


def test_a_stream_goes_on_until_its_principal_ends(access: Access) -> None:
    made = access.key(lifetime_s=3600)
    principal = admit(access.guard, asking(key=made.token))
    for _ in range(4):
        access.clock.advance(15)
        assert access.guard.still_valid(principal)
    access.clock.advance(3600)
    assert not access.guard.still_valid(principal)


def test_a_session_that_logged_out_ends_its_streams_and_requests(access: Access) -> None:
    cookie = cookie_of(access)
    principal = admit(access.guard, asking(cookie=cookie))
    assert access.sessions.close(principal)
    access.guard.forget(principal.id)
    assert not access.guard.still_valid(principal)
    assert refused(access.guard, asking(cookie=cookie)).status == 401
    assert not access.sessions.close(principal)


def test_a_session_ends_with_the_key_that_made_its_link(access: Access) -> None:
    made = access.key()
    link = access.sessions.link(made.record.holder, by=made.record.principal())
    cookie = access.sessions.redeem(link.path.partition("=")[2], client="").token
    admit(access.guard, asking(cookie=cookie))
    access.keys.revoke(made.record.key_id, by=LOCAL)
    access.guard.forget(made.record.key_id)
    assert refused(access.guard, asking(cookie=cookie)).status == 401


def test_a_session_lasts_eight_hours(access: Access) -> None:
    cookie = cookie_of(access)
    access.clock.advance(8 * 3600 - 1)
    assert admit(access.guard, asking(cookie=cookie)).id
    access.clock.advance(1)
    assert refused(access.guard, asking(cookie=cookie)).status == 401


def test_a_revocation_during_the_lookup_is_not_forgotten(access: Access) -> None:
    made = access.key()
    read, go_on = threading.Event(), threading.Event()

    class Slow(AccessTables):
        def key(self, key_id: str) -> KeyRecord | None:
            found = super().key(key_id)
            read.set()
            go_on.wait(10)
            return found

    guard = Guard(Slow(access.database, access.store._signer), access.clock, access.settings)

    async def race() -> None:
        first = asyncio.create_task(guard.admit(asking(key=made.token)))
        await asyncio.to_thread(read.wait, 10)
        access.keys.revoke(made.record.key_id, by=LOCAL)
        guard.forget(made.record.key_id)
        go_on.set()
        # It was admitted as of before; whoever comes next is not.
        await first
        with pytest.raises(Refused):
            await guard.admit(asking(key=made.token))

    asyncio.run(race())


def test_a_known_key_is_asked_about_once_in_five_seconds(access: Access) -> None:
    made = access.key()
    asked_for: list[str] = []

    class Counted(AccessTables):
        def key(self, key_id: str) -> KeyRecord | None:
            asked_for.append(key_id)
            return super().key(key_id)

    guard = Guard(Counted(access.database, access.store._signer), access.clock, access.settings)

    async def many() -> None:
        await asyncio.gather(*(guard.admit(asking(key=made.token)) for _ in range(50)))

    admit(guard, asking(key=made.token))
    asyncio.run(many())
    assert len(asked_for) == 1
    access.clock.advance(FRESH_S)
    asyncio.run(many())
    assert len(asked_for) == 2


def test_last_used_is_written_once_a_minute(access: Access) -> None:
    made = access.key()
    uses: list[int | None] = []
    for _ in range(20):
        admit(access.guard, asking(key=made.token))
        record = access.store.key(made.record.key_id)
        assert record is not None
        uses.append(record.last_used_ms)
        access.clock.advance(6)
    assert None not in uses
    assert len(set(uses)) == 2


def test_a_store_that_is_away_admits_nobody_new_and_ends_no_stream_at_once(
    access: Access,
) -> None:
    made = access.key()

    class Flaky(AccessTables):
        away = False

        def key(self, key_id: str) -> KeyRecord | None:
            if self.away:
                raise StoreUnavailable("away")
            return super().key(key_id)

    store = Flaky(access.database, access.store._signer)
    guard = Guard(store, access.clock, access.settings)
    principal = admit(guard, asking(key=made.token))
    store.away = True
    access.clock.advance(FRESH_S + 1)
    assert guard.still_valid(principal)
    down = refused(guard, asking(key=made.token))
    assert (down.status, down.headers["Retry-After"]) == (503, "3")
    access.clock.advance(STALE_S)
    assert not guard.still_valid(principal)


def test_a_refusal_that_cannot_be_noted_is_still_a_refusal(
    access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(AccessTables):
        def append(self, entry: Entry, connection: sa.Connection | None = None) -> Row:
            raise StoreUnavailable("away")

    guard = Guard(Deaf(access.database, access.store._signer), access.clock, access.settings)
    assert refused(guard, asking()).status == 401
    assert "not in the audit log" in caplog.text


# --- roles and workspaces -----------------------------------------------------------------------


def test_a_wrong_role_is_refused_and_noted(access: Access) -> None:
    made = access.key(Role.VIEWER)
    principal = made.record.principal()

    async def authorize() -> None:
        await access.guard.authorize(principal, Permission.RUNS_CREATE, request=asking())

    with pytest.raises(Refused) as caught:
        asyncio.run(authorize())
    assert caught.value.status == 403
    row = access.store.newest(before=None, limit=1)[0].entry
    assert (row.action, row.outcome, row.actor_id) == ("refused.403", "refused", principal.id)
    assert row.detail["permission"] == "runs.create"


def test_a_foreign_workspace_is_refused_and_noted(access: Access) -> None:
    principal = access.key(Role.OPERATOR, workspaces=frozenset({"shop"})).record.principal()

    async def authorize(workspace: str) -> None:
        await access.guard.authorize(
            principal, Permission.RUNS_CREATE, request=asking(), workspace=workspace
        )

    asyncio.run(authorize("shop"))
    with pytest.raises(Refused) as caught:
        asyncio.run(authorize("bank"))
    assert caught.value.status == 403
    row = access.store.newest(before=None, limit=1)[0].entry
    assert (row.workspace, row.detail["permission"]) == ("bank", "runs.create")


def test_a_run_of_a_foreign_workspace_is_not_there(access: Access) -> None:
    principal = access.key(Role.VIEWER, workspaces=frozenset({"shop"})).record.principal()

    async def permit(workspace: str) -> None:
        await access.guard.permit(principal, asking(), run_id="ab", workspace=workspace)

    asyncio.run(permit("shop"))
    with pytest.raises(Refused) as caught:
        asyncio.run(permit("bank"))
    assert (caught.value.status, caught.value.detail) == (404, "there is no run ab")
    assert access.store.newest(before=None, limit=1)[0].entry.workspace == "bank"


# --- where from and how often -------------------------------------------------------------------


def test_a_cookie_does_not_serve_another_site_but_a_key_does(access: Access) -> None:
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    request = asking(method="POST", cookie=cookie_of(access), headers=foreign)
    assert refused(access.guard, request).status == 403
    by_key = asking(method="POST", key=access.key().token, headers=foreign)
    assert admit(access.guard, by_key).id


def test_a_foreign_host_is_refused_whatever_key_comes_with_it(access: Access) -> None:
    request = asking(key=access.key().token, headers={"host": "rebound.evil.example"})
    assert refused(access.guard, request).status == 403


def test_only_health_and_the_login_are_open(access: Access) -> None:
    opened = [
        path
        for path in ("/healthz", "/readyz", "/login", "/metrics", "/", "/docs", "/openapi.json",
                     "/v1/test-runs", "/v1/keys", "/healthz/", "/login/x", "/healthz/../v1/keys")
        if access.guard.is_open(path)
    ]  # fmt: skip
    assert opened == ["/healthz", "/readyz", "/login"]


def test_an_operator_may_open_the_metrics(access: Access) -> None:
    guard = Guard(access.store, access.clock, AccessSettings(open_metrics=True))
    assert guard.is_open("/metrics")
    asyncio.run(guard.let_pass(asking("/metrics")))


def test_health_answers_under_any_name_and_the_login_does_not(access: Access) -> None:
    foreign = {"host": "10.1.2.3.nip.io"}
    asyncio.run(access.guard.let_pass(asking("/healthz", headers=foreign)))
    with pytest.raises(Refused):
        asyncio.run(access.guard.let_pass(asking("/login", headers=foreign)))


def test_who_asks_too_often_is_told_when_to_come_back(access: Access) -> None:
    settings = AccessSettings(principal_rate="3/minute")
    guard = Guard(access.store, access.clock, settings)
    made, other = access.key(), access.key()
    principal = admit(guard, asking(key=made.token))
    for _ in range(2):
        assert admit(guard, asking(key=made.token)) == principal
    assert guard.rate_headers(principal)["RateLimit-Policy"] == '"principal";q=3;w=60'
    found = refused(guard, asking(key=made.token))
    assert found.status == 429
    assert 1 <= int(found.headers["Retry-After"]) <= 60
    assert found.headers["RateLimit"].startswith('"principal";r=0;t=')
    assert admit(guard, asking(key=other.token)).id


def test_an_address_has_a_limit_of_its_own(access: Access) -> None:
    guard = Guard(access.store, access.clock, AccessSettings(address_rate="2/minute"))
    made = access.key()
    for _ in range(2):
        admit(guard, asking(key=made.token))
    assert refused(guard, asking(key=made.token)).status == 429
    assert admit(guard, asking(key=made.token, client="192.0.2.8")).id


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "", True),
    ],
)
def test_one_subscriber_is_one_address(access: Access, first: str, second: str, same: bool) -> None:
    guard = Guard(access.store, access.clock, AccessSettings(address_rate="1/minute"))
    made = access.key()
    admit(guard, asking(key=made.token, client=first))
    if same:
        assert refused(guard, asking(key=made.token, client=second)).status == 429
    else:
        assert admit(guard, asking(key=made.token, client=second)).id


def test_ten_thousand_wrong_keys_are_throttled_and_leave_memory_and_log_flat(
    access: Access,
) -> None:
    good = access.key()
    lookups = 0

    class Counted(AccessTables):
        def key(self, key_id: str) -> KeyRecord | None:
            nonlocal lookups
            lookups += 1
            return super().key(key_id)

    store = Counted(access.database, access.store._signer)
    guard = Guard(store, access.clock, AccessSettings(address_rate="1000000/minute"))
    draw = CountedDraw()
    wrong = [mint_key(draw).token for _ in range(10_000)]

    async def attack(count: int) -> set[int]:
        statuses = set()
        for token in wrong[:count]:
            try:
                await guard.admit(asking(key=token))
            except Refused as found:
                statuses.add(found.status)
        return statuses

    asyncio.run(guard.admit(asking(key=good.token)))
    asyncio.run(attack(500))
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    statuses = asyncio.run(attack(10_000))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert statuses == {429}
    assert after - before < 20_000
    assert lookups <= 21
    # Who was admitted before is still served behind that address.
    access.clock.advance(FRESH_S)
    assert asyncio.run(guard.admit(asking(key=good.token))).id
    assert access.actions() == ["key.create", "refused.401", "refused.429"]


def test_failed_logins_from_everywhere_are_a_bounded_number_of_rows(access: Access) -> None:
    draw = CountedDraw()

    async def attack() -> None:
        for number in range(300):
            client = f"198.51.{number // 200}.{number % 200}"
            with pytest.raises(Refused):
                await access.guard.admit(asking(key=mint_key(draw).token, client=client))

    asyncio.run(attack())
    assert len(access.actions()) <= 21
    access.guard.close()
    assert access.store.newest(before=None, limit=1)[0].entry.detail["more"] == 279


# --- raw headers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"host", b"Authorization", b"ORIGIN", b"sec-fetch-site"])
def test_a_header_that_decides_stands_there_once(name: bytes) -> None:
    with pytest.raises(Refused, match="twice"):
        asked("GET", "/", [(name, b"a"), (name.lower(), b"b")], "192.0.2.7")


def test_a_header_of_a_megabyte_is_refused_before_it_is_read() -> None:
    with pytest.raises(Refused, match="too long"):
        asked("GET", "/", [(b"authorization", b"x" * 1_000_000)], "192.0.2.7")
    long = b"x" * (HEADER_LENGTH_MAX + 1)
    # One that nobody reads is nobody's business here.
    assert asked("GET", "/", [(b"x-other", long)], "192.0.2.7").headers == {}


def test_a_cookie_header_in_parts_is_one(access: Access) -> None:
    cookie = cookie_of(access)
    raw = [
        (b"host", b"localhost"),
        (b"cookie", b"theme=dark"),
        (b"cookie", f"testops_session={cookie}".encode()),
    ]
    assert admit(access.guard, asked("get", "/v1/session", raw, "192.0.2.7")).id


def test_bytes_that_are_no_text_match_nothing(access: Access) -> None:
    raw = [(b"host", b"localhost"), (b"authorization", b"Bearer \xff\xfe" + b"\x80" * 60)]
    assert refused(access.guard, asked("GET", "/v1/x", raw, "192.0.2.7")).status == 401
    raw = [(b"host", b"local\xffhost")]
    assert refused(access.guard, asked("GET", "/v1/x", raw, "192.0.2.7")).status == 403


def test_a_rotated_key_serves_for_its_overlap_and_its_successor_at_once(access: Access) -> None:
    old = access.key(lifetime_s=30 * 24 * 3600)
    new = access.keys.rotate(old.record.key_id, by=LOCAL, overlap_s=600)
    assert admit(access.guard, asking(key=new.token)).role is old.record.holder.role
    access.clock.advance(599)
    assert admit(access.guard, asking(key=old.token)).id
    access.clock.advance(1)
    assert refused(access.guard, asking(key=old.token)).status == 401
    assert admit(access.guard, asking(key=new.token)).id


def test_the_name_of_a_refused_principal_is_in_the_log(access: Access) -> None:
    made = access.key()
    guard = Guard(access.store, access.clock, replace(access.settings, principal_rate="1/hour"))
    admit(guard, asking(key=made.token))
    refused(guard, asking(key=made.token))
    row = access.store.newest(before=None, limit=1)[0].entry
    who = (row.actor_kind, row.actor_id, row.action)
    assert who == ("key", made.record.key_id, "refused.429")
