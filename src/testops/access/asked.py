"""A request as far as admission sees it, read from raw headers without trusting any of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from testops.access.refused import Refused, unknown
from testops.access.tokens import PREFIX

HEADER_LENGTH_MAX = 8192
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Two of one of these, and what a proxy in front read need not be what we read.
_SINGLE = frozenset({"host", "authorization", "origin", "cookie", "sec-fetch-site"})
_NOTICED = _SINGLE | {
    "accept",
    "purpose",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-purpose",
    "x-forwarded-for",
}
_SECRET_NAMES = frozenset({"access_token", "api_key", "apikey", "token", "authorization"})
_STREAM = re.compile(r"/v1/(test-runs/[^/]+/)?events")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `headers` have lower-case names; `client` is the address it came from."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str
    query: str = ""

    @property
    def safe(self) -> bool:
        """Whether the method promises to change nothing."""
        return self.method in SAFE_METHODS

    @property
    def stream(self) -> bool:
        """Whether the answer is a stream of events, which stays open and tells much."""
        return _STREAM.fullmatch(
            self.path.rstrip("/")
        ) is not None or "text/event-stream" in self.headers.get("accept", "")

    def header(self, name: str) -> str | None:
        return self.headers.get(name)


def asked(
    method: str,
    path: str,
    raw_headers: Iterable[tuple[bytes, bytes]],
    client: str,
    *,
    query: str = "",
) -> Asked:
    """The request that an ASGI scope describes; `Refused` when a header that decides is doubled.

    Only headers that admission reads are kept. Bytes that are not ASCII arrive as they are and
    match nothing.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name = raw_name.decode("latin-1").lower()
        if name not in _NOTICED:
            continue
        if len(raw_value) > HEADER_LENGTH_MAX:
            raise Refused(403, "Not allowed", f"the header {name} is too long")
        if name in headers and name in _SINGLE and name != "cookie":
            raise Refused(403, "Not allowed", f"the header {name} stands there twice")
        value = raw_value.decode("latin-1")
        # HTTP/2 may split a cookie header; RFC 9113 says how its parts are joined.
        glue = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{glue}{value}" if name in headers else value
    return Asked(method.upper(), path, headers, client, query)


def refuse_secret_in_url(request: Asked) -> None:
    """A secret in a URL ends in logs and histories, so it is refused even when it is right."""
    if not request.query:
        return
    try:
        given = parse_qsl(request.query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise Refused(403, "Not allowed", "the URL has too many parameters") from None
    for name, value in given:
        if name.lower() in _SECRET_NAMES or value.startswith(PREFIX):
            raise unknown(
                "a key in a URL ends in logs: send it as `Authorization: Bearer`, "
                "and rotate this one"
            )
