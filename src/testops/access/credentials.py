"""What a request presents to say who it is: a key in `Authorization`, else the session's cookie."""

from dataclasses import dataclass

from testops.access.asked import Asked
from testops.access.refused import unknown
from testops.access.tokens import TOKEN_LENGTH_MAX, presented_key, presented_opaque

COOKIE = "testops_session"
# Over https a browser takes this name only from us, for this host alone, and Secure.
SECURE_COOKIE = "__Host-testops_session"


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that looks like one of ours; `cookie` when the browser added it by itself."""

    digest: str
    key_id: str
    cookie: bool


def credential_of(request: Asked) -> Credential:
    """What is presented; `Refused` when there is nothing, or nothing that could be right.

    A key that is wrong is not made good by a cookie: whoever sends one means it.
    """
    authorization = request.header("authorization")
    if authorization is not None:
        return _bearer(authorization)
    cookies = _cookies(request.header("cookie") or "")
    token = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE)
    if not token:
        raise unknown(
            "send `Authorization: Bearer KEY` (`testops keys create`), or log this browser in "
            "(`testops login-link`)"
        )
    digest = presented_opaque(token)
    if digest is None:
        raise unknown("nobody has this session")
    return Credential(digest, "", cookie=True)


def _bearer(authorization: str) -> Credential:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise unknown("send the key as `Authorization: Bearer KEY`")
    presented = presented_key(token.strip()) if len(token) <= TOKEN_LENGTH_MAX + 8 else None
    if presented is None:
        raise unknown("this is no key: it has not the form of one")
    return Credential(presented.digest, presented.key_id, cookie=False)


def _cookies(header: str) -> dict[str, str]:
    """Our cookies; `Refused` when one is there twice, for then another site planted one."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name not in {COOKIE, SECURE_COOKIE}:
            continue
        if name in found:
            raise unknown("the session cookie is there twice; clear this site's cookies")
        found[name] = value
    return found
