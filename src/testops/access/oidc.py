"""Which of our roles somebody has whom an OpenID Connect issuer vouches for.

The protocol belongs to `api.oidc`; here stand what an operator configures, and what claims mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from testops.access.audit import clean
from testops.access.records import Holder
from testops.access.refused import forbidden, unknown
from testops.domain.access import Role
from testops.domain.errors import BadInput

CALLBACK_PATH = "/login/oidc/callback"
ANYBODY = "*"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_VALUES_MAX = 1000


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Whose role claim holds `value` has this role, in these workspaces (None: in all)."""

    value: str
    role: Role
    workspaces: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One issuer, and what its claims mean here."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    role_claim: str
    rules: tuple[RoleRule, ...]
    scope: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody whom the issuer knows: what they are here, and who they are there."""

    holder: Holder
    subject: str


def oidc_settings_from(environment: Mapping[str, str], *, base_url: str) -> OidcSettings | None:
    """What `TESTOPS_OIDC_*` says; None when there is no issuer."""
    issuer = environment.get("TESTOPS_OIDC_ISSUER", "")
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK
    ):
        raise BadInput(
            "an issuer over plain http could be anybody",
            where="TESTOPS_OIDC_ISSUER",
            fix="give its https URL",
        )
    return OidcSettings(
        issuer=issuer,
        client_id=_needed(environment, "TESTOPS_OIDC_CLIENT_ID"),
        client_secret=_needed(environment, "TESTOPS_OIDC_CLIENT_SECRET"),
        redirect_uri=base_url.rstrip("/") + CALLBACK_PATH,
        role_claim=environment.get("TESTOPS_OIDC_ROLE_CLAIM") or "groups",
        rules=role_rules(_needed(environment, "TESTOPS_OIDC_ROLES")),
        scope=environment.get("TESTOPS_OIDC_SCOPE") or "openid profile email",
    )


def role_rules(text: str) -> tuple[RoleRule, ...]:
    """The rules that `VALUE=ROLE[:WORKSPACE,...]; ...` writes, in their order."""
    rules = tuple(_rule(part.strip()) for part in text.split(";") if part.strip())
    if not rules:
        raise BadInput("names no role", where="TESTOPS_OIDC_ROLES", fix=_RULE_FORM)
    return rules


_RULE_FORM = "write it as `release-team=maintainer; qa=operator:shop,bank; *=viewer`"


def _rule(text: str) -> RoleRule:
    value, _, granted = text.rpartition("=")
    word, colon, scope = granted.partition(":")
    names = frozenset(name.strip() for name in scope.split(",") if name.strip())
    # A scope that was begun and names nothing must not become every workspace.
    scoped = bool(names) == bool(colon)
    if not value.strip() or word.strip() not in set(Role) or not scoped:
        raise BadInput(f"{text!r} is no rule", where="TESTOPS_OIDC_ROLES", fix=_RULE_FORM)
    return RoleRule(value.strip(), Role(word.strip()), names or None)


def vouched(claims: Mapping[str, Any], settings: OidcSettings) -> Vouched:
    """Who `claims` (already verified) are here; `Refused` when no rule is theirs.

    The first rule that fits decides: what an operator wrote first is what they meant most.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise unknown("the issuer did not say who this is")
    name = _name(claims, subject)
    values = _values(claims, settings.role_claim)
    for rule in settings.rules:
        if rule.value == ANYBODY or rule.value in values:
            return Vouched(Holder(name, rule.role, rule.workspaces), clean(subject))
    raise forbidden(
        f"{name} is known to the issuer and has no role here: no rule of TESTOPS_OIDC_ROLES fits "
        f"the claim {settings.role_claim}"
    )


def _name(claims: Mapping[str, Any], subject: str) -> str:
    for claim in ("preferred_username", "email", "name"):
        found = claims.get(claim)
        if isinstance(found, str) and found.strip():
            return clean(found.strip())
    return clean(subject)


def _values(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """What the claim holds; a dot goes into an object, as in Keycloak's `realm_access.roles`.

    A claim of that very name goes first: some issuers have dots in names, which are URLs.
    """
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, list):
        return ()
    return tuple(one for one in found[:_VALUES_MAX] if isinstance(one, str))


def _needed(environment: Mapping[str, str], name: str) -> str:
    found = environment.get(name, "")
    if not found:
        raise BadInput("is needed with TESTOPS_OIDC_ISSUER", where=name, fix="set it")
    return found
