"""Logging in, keys and the audit log over HTTP."""

import asyncio

import pytest
from tests.support.access import LOCAL, Access, asking
from tests.support.auth_app import Client, app_over, cookie_set_by

from testops.access.guard import Guard
from testops.access.records import Holder
from testops.access.settings import AccessSettings
from testops.domain.access import GRANTS, Permission, Role


@pytest.fixture
def client(access: Access) -> Client:
    return Client(app_over(access))


def link_of(access: Access, role: Role = Role.MAINTAINER) -> str:
    return access.sessions.link(Holder("me", role, None), by=LOCAL).path


def logged_in(access: Access, client: Client, role: Role = Role.MAINTAINER) -> str:
    return cookie_set_by(client.send("GET", link_of(access, role)))


def last_action(access: Access) -> str:
    return access.store.newest(before=None, limit=1)[0].entry.action


def test_a_link_logs_a_browser_in_once(access: Access, client: Client) -> None:
    link = link_of(access)
    first = client.send("GET", link)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["referrer-policy"] == "no-referrer"
    flags = first.headers["set-cookie"].split("; ")[1:]
    assert flags == ["Path=/", "Max-Age=28800", "HttpOnly", "SameSite=Lax"]
    me = client.send("GET", "/v1/session", cookie=cookie_set_by(first)).json()
    assert (me["name"], me["kind"], me["role"]) == ("me", "session", "maintainer")
    again = client.send("GET", link)
    assert again.status_code == 401
    assert again.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in again.headers


def test_over_https_the_cookie_is_secure_and_of_this_host(access: Access) -> None:
    client = Client(app_over(access), base="https://localhost")
    response = client.send("GET", link_of(access))
    assert response.headers["set-cookie"].startswith("__Host-testops_session=")
    assert response.headers["set-cookie"].endswith("; Secure")
    assert client.send("GET", "/v1/session", cookie=cookie_set_by(response)).status_code == 200


def test_a_planted_cookie_never_becomes_a_session(access: Access, client: Client) -> None:
    planted = "testops_session=" + "a" * 43
    response = client.send("GET", link_of(access), cookie=planted)
    assert cookie_set_by(response) != planted
    assert client.send("GET", "/v1/session", cookie=planted).status_code == 401


def test_logging_out_ends_the_session_everywhere(access: Access, client: Client) -> None:
    cookie = logged_in(access, client)
    elsewhere = Guard(access.store, access.clock, access.settings)
    principal = asyncio.run(elsewhere.admit(asking(cookie=cookie.partition("=")[2])))
    response = client.send("POST", "/v1/session/logout", cookie=cookie)
    assert response.status_code == 204
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert client.send("GET", "/v1/session", cookie=cookie).status_code == 401
    access.clock.advance(5)
    assert not elsewhere.still_valid(principal)


def test_a_key_has_no_session_to_end(access: Access, client: Client) -> None:
    response = client.send("POST", "/v1/session/logout", key=access.key().token)
    assert response.status_code == 409


@pytest.mark.parametrize(
    "headers",
    [
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
        {"sec-purpose": "prefetch"},
    ],
)
def test_other_sites_and_prefetchers_do_not_use_a_link_up(
    access: Access, client: Client, headers: dict[str, str]
) -> None:
    link = link_of(access)
    assert client.send("GET", link, headers=headers).status_code == 403
    assert client.send("HEAD", link).status_code == 405
    assert client.send("GET", link).status_code == 303


def test_a_person_with_a_stale_link_is_told_what_to_do(access: Access, client: Client) -> None:
    link = link_of(access)
    access.clock.advance(600)
    response = client.send("GET", link, headers={"accept": "text/html,*/*;q=0.8"})
    assert response.status_code == 401
    assert "testops login-link" in response.text
    assert response.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/login", "/login?token=", "/login?token=" + "x" * 5000])
def test_a_login_without_a_link_is_refused(access: Access, client: Client, path: str) -> None:
    assert client.send("GET", path).status_code in {401, 422}


def test_guessing_links_is_throttled(access: Access, client: Client) -> None:
    statuses = [client.send("GET", f"/login?token={'a' * 43}").status_code for _ in range(40)]
    assert statuses == [401] * 20 + [429] * 20
    throttled = client.send("GET", link_of(access))
    assert throttled.status_code == 429
    assert int(throttled.headers["retry-after"]) > 0
    elsewhere = Client(client.app, address="192.0.2.8")
    assert elsewhere.send("GET", link_of(access)).status_code == 303


def test_another_site_cannot_log_anybody_out(access: Access, client: Client) -> None:
    cookie = logged_in(access, client)
    foreign = {"origin": "https://evil.example"}
    response = client.send("POST", "/v1/session/logout", cookie=cookie, headers=foreign)
    assert response.status_code == 403
    assert client.send("GET", "/v1/session", cookie=cookie).status_code == 200


def test_a_key_is_made_used_rotated_and_revoked(access: Access, client: Client) -> None:
    security = access.key(Role.SECURITY).token
    made = client.send("POST", "/v1/keys", key=security, json={"name": "ci", "role": "viewer"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key, key_id = made.json()["key"], made.json()["id"]
    me = client.send("GET", "/v1/session", key=key).json()
    assert (me["name"], me["role"], me["id"]) == ("ci", "viewer", key_id)

    rotated = client.send(
        "POST", f"/v1/keys/{key_id}/rotate", key=key, json={"overlap_s": 60}
    ).json()
    assert rotated["replaces"] == key_id
    assert client.send("GET", "/v1/session", key=key).status_code == 200
    access.clock.advance(60)
    assert client.send("GET", "/v1/session", key=key).status_code == 401

    assert client.send("DELETE", f"/v1/keys/{rotated['id']}", key=security).status_code == 204
    assert client.send("GET", "/v1/session", key=rotated["key"]).status_code == 401
    again = client.send("DELETE", f"/v1/keys/{rotated['id']}", key=security)
    assert again.status_code == 409
    listed = client.send("GET", "/v1/keys", key=security)
    states = {one["id"]: one["state"] for one in listed.json()["keys"]}
    assert (states[key_id], states[rotated["id"]]) == ("expired", "revoked")
    assert key not in listed.text
    assert client.send("DELETE", f"/v1/keys/{'0' * 16}", key=security).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "role": "viewer"},
        {"name": "x", "role": "root"},
        {"name": "x", "role": "viewer", "workspaces": []},
        {"name": "x", "role": "viewer", "workspaces": ["../up"]},
        {"name": "x", "role": "viewer", "expires_in_s": 0},
        {"name": "x", "role": "viewer", "expires_in_s": True},
        {"name": "x\n", "role": "viewer"},
        {"name": "x", "role": "viewer", "more": 1},
        [],
    ],
)
def test_a_key_that_makes_no_sense_is_a_422(access: Access, client: Client, body: object) -> None:
    security = access.key(Role.SECURITY).token
    assert client.send("POST", "/v1/keys", key=security, json=body).status_code == 422
    assert len(access.store.all_keys()) == 1


ROUTES = [
    ("GET", "/v1/keys", Permission.KEYS_MANAGE),
    ("POST", "/v1/keys", Permission.KEYS_MANAGE),
    ("DELETE", "/v1/keys/0123456789abcdef", Permission.KEYS_MANAGE),
    ("GET", "/v1/audit", Permission.AUDIT_READ),
    ("GET", "/v1/session", Permission.SELF_MANAGE),
]


@pytest.mark.parametrize(("method", "path", "permission"), ROUTES)
@pytest.mark.parametrize("role", list(Role))
def test_every_route_asks_for_its_permission_and_notes_who_has_it_not(
    access: Access, client: Client, method: str, path: str, permission: Permission, role: Role
) -> None:
    response = client.send(method, path, key=access.key(role).token, json={})
    if permission in GRANTS[role]:
        assert response.status_code not in {401, 403}
        return
    assert response.status_code == 403
    row = access.store.newest(before=None, limit=1)[0].entry
    assert (row.action, row.detail["permission"]) == ("refused.403", permission)


@pytest.mark.parametrize(("method", "path", "permission"), ROUTES)
def test_nothing_is_served_without_a_key(
    access: Access, client: Client, method: str, path: str, permission: Permission
) -> None:
    response = client.send(method, path, json={})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert access.actions() == ["refused.401"]
    assert permission


def test_a_scoped_hand_gives_no_more_than_it_has(access: Access, client: Client) -> None:
    scoped = access.key(Role.SECURITY, workspaces=frozenset({"shop"})).token
    own = client.send("POST", "/v1/keys", key=scoped, json={"name": "x", "role": "viewer"})
    assert own.json()["workspaces"] == ["shop"]
    wide = {"name": "x", "role": "viewer", "workspaces": ["bank"]}
    assert client.send("POST", "/v1/keys", key=scoped, json=wide).status_code == 403
    assert last_action(access) == "refused.403"
    foreign = access.key(workspaces=frozenset({"bank"})).record.key_id
    assert client.send("DELETE", f"/v1/keys/{foreign}", key=scoped).status_code == 404
    assert client.send("GET", "/v1/audit", key=scoped).status_code == 403


def test_another_key_is_not_rotated_without_permission(access: Access, client: Client) -> None:
    other, me = access.key().record.key_id, access.key()
    response = client.send("POST", f"/v1/keys/{other}/rotate", key=me.token, json={})
    assert response.status_code == 403
    assert last_action(access) == "refused.403"


def test_the_audit_log_is_read_in_pages_newest_first(access: Access, client: Client) -> None:
    security = access.key(Role.SECURITY).token
    for _ in range(5):
        access.key()
    seen, path = [], "/v1/audit?limit=4"
    while path:
        response = client.send("GET", path, key=security)
        seen += [row["seq"] for row in response.json()["rows"]]
        cursor = response.json()["next_cursor"]
        path = f"/v1/audit?limit=4&cursor={cursor}" if cursor else ""
        assert ("link" in response.headers) is bool(cursor)
    assert seen == [6, 5, 4, 3, 2, 1]
    for cursor in ("x", "MTox", "%00"):
        assert client.send("GET", f"/v1/audit?cursor={cursor}", key=security).status_code == 400


def test_a_key_logs_a_browser_in_as_itself(access: Access, client: Client) -> None:
    made = access.key(Role.OPERATOR, workspaces=frozenset({"shop"}))
    link = client.send("POST", "/v1/login-links", key=made.token, json={})
    assert link.status_code == 201
    cookie = cookie_set_by(client.send("GET", link.json()["path"]))
    me = client.send("GET", "/v1/session", cookie=cookie).json()
    assert (me["role"], me["workspaces"]) == ("operator", ["shop"])
    for wider in ({"role": "maintainer"}, {"workspaces": ["bank"]}):
        refused = client.send("POST", "/v1/login-links", key=made.token, json=wider)
        assert refused.status_code == 403
    # A session cannot renew itself.
    assert client.send("POST", "/v1/login-links", cookie=cookie, json={}).status_code == 403
    access.keys.revoke(made.record.key_id, by=LOCAL)
    access.clock.advance(5)
    assert client.send("GET", "/v1/session", cookie=cookie).status_code == 401


def test_answers_tell_what_remains_of_the_rate(access: Access) -> None:
    access.guard = Guard(access.store, access.clock, AccessSettings(principal_rate="2/minute"))
    client, key = Client(app_over(access)), access.key().token
    first = client.send("GET", "/v1/session", key=key)
    assert first.headers["ratelimit-policy"] == '"principal";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"principal";r=1;t=')
    client.send("GET", "/v1/session", key=key)
    throttled = client.send("GET", "/v1/session", key=key)
    assert throttled.status_code == 429
    assert throttled.headers["retry-after"].isdigit()


def test_a_rebound_name_reaches_nothing(access: Access, client: Client) -> None:
    evil = {"host": "evil.example:8080"}
    key = access.key().token
    assert client.send("GET", "/v1/session", key=key, headers=evil).status_code == 403
    assert client.send("GET", link_of(access), headers=evil).status_code == 403
    assert client.send("GET", "/healthz", headers=evil).status_code == 200
