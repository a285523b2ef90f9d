"""Logging in by a real issuer, and by one that lies."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.support.access import Access
from tests.support.auth_app import Client, app_over, cookie_set_by
from tests.support.oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer, running_issuer

from testops.access.oidc import OidcSettings, RoleRule, oidc_settings_from, role_rules, vouched
from testops.access.refused import Refused
from testops.api.oidc import METADATA_S, OidcLogin
from testops.domain.access import Role
from testops.domain.errors import BadInput

CALLBACK = "http://localhost:8080/login/oidc/callback"


@pytest.fixture(scope="module")
def one_issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(one_issuer: Issuer) -> Iterator[Issuer]:
    before = dict(one_issuer.claims)
    one_issuer.asked.clear()
    yield one_issuer
    one_issuer.fault = ""
    one_issuer.claims = before


def environment(issuer: Issuer, **more: str) -> dict[str, str]:
    return {
        "TESTOPS_OIDC_ISSUER": issuer.url,
        "TESTOPS_OIDC_CLIENT_ID": CLIENT_ID,
        "TESTOPS_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "TESTOPS_OIDC_ROLES": "admins=maintainer; qa=operator:shop,bank",
        **more,
    }


def settings_of(issuer: Issuer, **more: str) -> OidcSettings:
    found = oidc_settings_from(environment(issuer, **more), base_url="http://localhost:8080")
    assert found is not None
    return found


@pytest.fixture
def client(access: Access, issuer: Issuer) -> Client:
    app = app_over(access)
    app.state.oidc = OidcLogin(settings_of(issuer), access.clock)
    return Client(app)


def come_back(client: Client) -> tuple[str, str]:
    """Begin, and agree at the issuer: the way back, and the state cookie."""
    begun = client.send("GET", "/login/oidc")
    assert begun.status_code == 303, begun.text
    agreed = httpx.get(begun.headers["location"])
    assert agreed.status_code == 302
    back = agreed.headers["location"]
    assert back.startswith(CALLBACK + "?")
    return back, cookie_set_by(begun)


def log_in(client: Client) -> httpx.Response:
    back, state = come_back(client)
    return client.send("GET", back, cookie=state)


def test_whom_the_issuer_vouches_for_gets_a_session_with_the_mapped_role(
    access: Access, client: Client
) -> None:
    response = log_in(client)
    assert response.status_code == 303
    assert response.headers["location"] == "/"
    me = client.send("GET", "/v1/session", cookie=cookie_set_by(response)).json()
    assert (me["name"], me["kind"], me["role"]) == ("ada", "oidc", "operator")
    assert me["workspaces"] == ["bank", "shop"]
    row = access.store.newest(before=None, limit=1)[0].entry
    assert (row.action, row.detail) == ("session.open", {"subject": "auth|42"})
    # The state cookie is taken back.
    assert "testops_oidc=; Path=/login/oidc; Max-Age=0" in response.headers["set-cookie"]


@pytest.mark.parametrize(
    "fault",
    [
        "wrong nonce", "no nonce", "wrong audience", "wrong issuer", "expired", "no expiry",
        "unknown kid", "forged signature", "alg none", "alg HS256", "tampered", "garbage",
        "no id token",
    ],
)  # fmt: skip
def test_an_issuer_that_lies_logs_nobody_in(
    access: Access, client: Client, issuer: Issuer, fault: str
) -> None:
    issuer.fault = fault
    response = log_in(client)
    assert response.status_code == 401, response.text
    assert "set-cookie" not in response.headers
    assert access.actions() == ["refused.401"]


@pytest.mark.parametrize("fault", ["another issuer", "weak algorithms", "broken"])
def test_an_issuer_that_is_not_the_configured_one_is_not_asked(
    access: Access, client: Client, issuer: Issuer, fault: str
) -> None:
    issuer.fault = fault
    assert client.send("GET", "/login/oidc").status_code == 503
    assert "/authorize" not in issuer.asked
    issuer.fault = ""
    assert log_in(client).status_code == 303
    assert access.actions()[-1] == "session.open"


def test_an_issuer_that_is_down_is_said_so(access: Access, issuer: Issuer) -> None:
    app = app_over(access)
    away = replace(settings_of(issuer), issuer="http://127.0.0.1:9")
    app.state.oidc = OidcLogin(away, access.clock)
    response = Client(app).send("GET", "/login/oidc")
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")


def test_an_issuer_that_is_away_is_no_failure_of_those_who_ask(
    access: Access, client: Client, issuer: Issuer
) -> None:
    issuer.fault = "broken"
    for _ in range(25):
        assert client.send("GET", "/login/oidc").status_code == 503
    issuer.fault = ""
    assert log_in(client).status_code == 303
    assert access.actions()[-1] == "session.open"


def test_a_login_begun_in_another_browser_is_refused(client: Client) -> None:
    back, _ = come_back(client)
    assert client.send("GET", back).status_code == 401
    _, other_state = come_back(client)
    assert client.send("GET", back, cookie=other_state).status_code == 401


def test_a_forged_state_is_refused(client: Client) -> None:
    back, state = come_back(client)
    for forged in (state[:-2] + "xx", "testops_oidc=", "testops_oidc=e30.x.y"):
        assert client.send("GET", back, cookie=forged).status_code == 401


def test_a_way_back_is_good_once(client: Client) -> None:
    back, state = come_back(client)
    assert client.send("GET", back, cookie=state).status_code == 303
    assert client.send("GET", back, cookie=state).status_code == 401


def test_a_code_without_its_verifier_is_worth_nothing(client: Client, issuer: Issuer) -> None:
    back, _ = come_back(client)
    stolen = back.partition("code=")[2].partition("&")[0]
    second, state = come_back(client)
    own = second.partition("code=")[2].partition("&")[0]
    assert client.send("GET", second.replace(own, stolen), cookie=state).status_code == 401
    assert stolen not in issuer.codes


def test_an_error_of_the_issuer_is_a_refusal(client: Client) -> None:
    _, state = come_back(client)
    denied = "/login/oidc/callback?error=access_denied&error_description=%1b[31mno"
    response = client.send("GET", denied, cookie=state)
    assert response.status_code == 401
    assert "\x1b" not in response.text


def test_who_has_no_role_is_told_so(access: Access, client: Client, issuer: Issuer) -> None:
    issuer.claims["groups"] = ["visitors"]
    response = log_in(client)
    assert response.status_code == 403
    assert "ada" in response.json()["detail"]
    assert access.actions() == ["refused.403"]


def test_keys_are_cached_and_a_rotation_is_noticed(
    access: Access, client: Client, issuer: Issuer
) -> None:
    for _ in range(3):
        assert log_in(client).status_code == 303
    assert issuer.asked.count("/jwks") == 1
    assert issuer.asked.count("/.well-known/openid-configuration") == 1
    issuer.rotate("second")
    assert log_in(client).status_code == 303
    assert issuer.asked.count("/jwks") == 2
    access.clock.advance(METADATA_S)
    assert log_in(client).status_code == 303
    assert issuer.asked.count("/jwks") == 3


def test_without_an_issuer_there_is_no_such_page(access: Access) -> None:
    client = Client(app_over(access))
    assert client.send("GET", "/login/oidc").status_code == 404
    assert client.send("GET", "/login/oidc/callback?code=a&state=b").status_code == 404


# --- what an operator configures, and what claims mean ------------------------------------------


def test_rules_are_read_in_their_order() -> None:
    assert role_rules("admins=maintainer; a=b=operator: x , y ;*=viewer;") == (
        RoleRule("admins", Role.MAINTAINER, None),
        RoleRule("a=b", Role.OPERATOR, frozenset({"x", "y"})),
        RoleRule("*", Role.VIEWER, None),
    )


@pytest.mark.parametrize("text", ["", ";", "x", "=viewer", "x=root", "x=viewer:", "x=viewer:,"])
def test_a_rule_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadInput, match="TESTOPS_OIDC_ROLES"):
        role_rules(text)


def test_without_an_issuer_nothing_is_needed() -> None:
    assert oidc_settings_from({}, base_url="http://localhost:8080") is None


@pytest.mark.parametrize("missing", ["CLIENT_ID", "CLIENT_SECRET", "ROLES"])
def test_what_is_missing_is_named(issuer: Issuer, missing: str) -> None:
    given = environment(issuer)
    del given[f"TESTOPS_OIDC_{missing}"]
    with pytest.raises(BadInput, match=missing):
        oidc_settings_from(given, base_url="http://localhost:8080")


@pytest.mark.parametrize("url", ["http://idp.example.org", "ftp://x", "idp.example.org"])
def test_an_issuer_speaks_https(url: str) -> None:
    with pytest.raises(BadInput, match="TESTOPS_OIDC_ISSUER"):
        oidc_settings_from({"TESTOPS_OIDC_ISSUER": url}, base_url="http://localhost")


def test_the_secret_of_the_client_is_not_printed(issuer: Issuer) -> None:
    assert CLIENT_SECRET not in repr(settings_of(issuer))


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"sub": "1", "groups": ["qa", "admins"]}, Role.MAINTAINER),
        ({"sub": "1", "groups": "qa"}, Role.OPERATOR),
        ({"sub": "1", "groups": [1, None, "qa"]}, Role.OPERATOR),
        ({"sub": "1", "groups": {"qa": True}}, None),
        ({"sub": "1", "groups": ["QA", "qa "]}, None),
        ({"sub": "1", "groups": ["*"]}, None),
        ({"sub": "1"}, None),
        ({"groups": ["admins"]}, None),
        ({"sub": 7, "groups": ["admins"]}, None),
    ],
)
def test_the_first_rule_that_fits_decides(
    issuer: Issuer, claims: dict[str, Any], role: Role | None
) -> None:
    settings = settings_of(issuer)
    if role is None:
        with pytest.raises(Refused):
            vouched(claims, settings)
    else:
        assert vouched(claims, settings).holder.role is role


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["qa"]}}),
        ("https://x.org/roles", {"https://x.org/roles": ["qa"]}),
    ],
)
def test_a_claim_may_be_inside_another(issuer: Issuer, path: str, claims: dict[str, Any]) -> None:
    settings = settings_of(issuer, TESTOPS_OIDC_ROLE_CLAIM=path)
    assert vouched({"sub": "1", **claims}, settings).holder.role is Role.OPERATOR


def test_a_name_from_outside_is_one_harmless_line(issuer: Issuer) -> None:
    claims = {"sub": "1", "groups": ["qa"], "preferred_username": "a\nb\x1b[31m" + "c" * 500}
    name = vouched(claims, settings_of(issuer)).holder.name
    assert name.isprintable()
    assert len(name) <= 201
