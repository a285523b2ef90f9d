"""Whether a request that a cookie authenticates came from our own pages.

No tokens: browsers say where a request comes from. `Sec-Fetch-Site` decides where it is sent (https
and localhost); else `Origin` must be the `Host`; neither header means that no browser sent it.
"""

from urllib.parse import urlsplit

from testops.access.asked import Asked
from testops.access.refused import Refused, forbidden

_STANDARD_PORTS = {"http": 80, "https": 443}
_OWN = frozenset({"same-origin", "none"})


def check_cookie_request(request: Asked) -> None:
    """`Refused` when another site made the browser send this.

    What changes something, and streams, must come from our own pages. Of the rest, another site
    may only lead a person here (a link): it cannot read answers, but their size and time tell.
    """
    if not request.safe or request.stream:
        _must_be_own(request)
    elif request.header("sec-fetch-site") in {"cross-site", "same-site"} and not _leads(request):
        raise _foreign()


def check_login_navigation(request: Asked) -> None:
    """`Refused` unless a person opened the link: no other site may log a browser in.

    It would be logged in as somebody of that site's choosing; and what only fetches ahead
    would use the link up.
    """
    site = request.header("sec-fetch-site")
    if site is not None and site not in _OWN:
        raise forbidden("paste the login link into the address bar: a page may not open it")
    if "prefetch" in (request.header("sec-purpose") or request.header("purpose") or ""):
        raise forbidden("a login link is not fetched ahead")


def _must_be_own(request: Asked) -> None:
    site = request.header("sec-fetch-site")
    if site is not None:
        if site not in _OWN:
            raise _foreign()
        return
    origin = request.header("origin")
    if origin is not None and not _same_host(origin, request.header("host") or ""):
        raise _foreign()


def _leads(request: Asked) -> bool:
    """Whether the browser's whole page goes here, as by a click on a link."""
    return (
        request.header("sec-fetch-mode") == "navigate"
        and request.header("sec-fetch-dest") == "document"
    )


def _same_host(origin: str, host: str) -> bool:
    scheme = origin.partition("://")[0]
    own = _authority(origin, scheme)
    return own is not None and own == _authority(f"{scheme}://{host}", scheme)


def _authority(url: str, scheme: str) -> tuple[str, int] | None:
    """Name and port, however they are written; None when `url` has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _STANDARD_PORTS or not parts.hostname:
        return None
    return parts.hostname, port or _STANDARD_PORTS[scheme]


def _foreign() -> Refused:
    return forbidden("this request came from another site; use a key, not the cookie")
