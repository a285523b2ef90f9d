"""What another site can make a browser do with our cookie: open a link, and nothing else."""

import pytest
from tests.support.access import asking

from testops.access.csrf import check_cookie_request, check_login_navigation
from testops.access.refused import Refused

OWN = {"sec-fetch-site": "same-origin"}
TYPED = {"sec-fetch-site": "none"}
CROSS = {"sec-fetch-site": "cross-site"}
SIBLING = {"sec-fetch-site": "same-site"}
LINK = {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
FRAME = {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
OWN_ORIGIN = {"origin": "http://localhost:8080"}
FOREIGN_ORIGIN = {"origin": "http://evil.example"}
OTHER_PORT = {"origin": "http://localhost:3000"}
NO_ORIGIN = {"origin": "null"}
NEITHER: dict[str, str] = {}
STREAM = "/v1/test-runs/0123456789abcdef/events"


def admitted(method: str, path: str, headers: dict[str, str]) -> bool:
    try:
        check_cookie_request(asking(path, method=method, headers=headers))
    except Refused:
        return False
    return True


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (OWN, True),
        (TYPED, True),
        (NEITHER, True),
        (OWN_ORIGIN, True),
        (CROSS, False),
        (SIBLING, False),
        (LINK, False),
        (FOREIGN_ORIGIN, False),
        (OTHER_PORT, False),
        (NO_ORIGIN, False),
        # The browser's own word is worth more than an Origin that agrees.
        ({**CROSS, **OWN_ORIGIN}, False),
        ({"sec-fetch-site": "something-new"}, False),
        ({"origin": "http://localhost:8080.evil.example"}, False),
        ({"origin": "http://localhost:99999"}, False),
        ({"origin": "file://localhost:8080"}, False),
        ({"origin": ""}, False),
    ],
)
def test_what_changes_something_comes_from_our_own_pages(
    method: str, headers: dict[str, str], answer: bool
) -> None:
    assert admitted(method, "/v1/test-runs", headers) is answer


@pytest.mark.parametrize("path", [STREAM, "/v1/events", f"{STREAM}/"])
@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (OWN, True),
        (NEITHER, True),
        (OWN_ORIGIN, True),
        (CROSS, False),
        (SIBLING, False),
        (LINK, False),
        (FOREIGN_ORIGIN, False),
    ],
)
def test_a_stream_is_guarded_like_a_change(
    path: str, headers: dict[str, str], answer: bool
) -> None:
    assert admitted("GET", path, headers) is answer


def test_whatever_asks_for_a_stream_is_one() -> None:
    assert not admitted("GET", "/v1/other", {**FOREIGN_ORIGIN, "accept": "text/event-stream"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        (OWN, True),
        (TYPED, True),
        (NEITHER, True),
        (LINK, True),
        # Sizes and times of answers tell about them even to a page that cannot read them.
        (CROSS, False),
        (FRAME, False),
        (SIBLING, False),
    ],
)
def test_reading_is_for_our_pages_and_for_people_who_follow_a_link(
    method: str, headers: dict[str, str], answer: bool
) -> None:
    assert admitted(method, "/v1/test-runs", headers) is answer


@pytest.mark.parametrize(
    ("origin", "host", "answer"),
    [
        ("https://ci.example.org", "ci.example.org", True),
        ("https://ci.example.org:443", "ci.example.org", True),
        ("https://ci.example.org", "ci.example.org:443", True),
        ("http://CI.example.org", "ci.example.org:80", True),
        ("http://ci.example.org", "ci.example.org:443", False),
    ],
)
def test_a_standard_port_is_the_same_said_or_not(origin: str, host: str, answer: bool) -> None:
    assert admitted("POST", "/", {"origin": origin, "host": host}) is answer


@pytest.mark.parametrize("headers", [TYPED, NEITHER, OWN])
def test_a_person_opens_a_login_link(headers: dict[str, str]) -> None:
    check_login_navigation(asking("/login", headers=headers))


@pytest.mark.parametrize(
    "headers",
    [CROSS, LINK, SIBLING, {**TYPED, "sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}],
)
def test_no_page_and_no_prefetch_uses_a_login_link_up(headers: dict[str, str]) -> None:
    with pytest.raises(Refused):
        check_login_navigation(asking("/login", headers=headers))
