"""The names that a request may give this server."""

import pytest
from tests.support.access import asking

from testops.access.hosts import Hosts
from testops.access.refused import Refused
from testops.domain.errors import BadInput

HOSTS = Hosts(["ci.example.org", "*.lab.example.org"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "192.168.1.5:8080",
        "ci.example.org",
        "CI.Example.Org:443",
        "a.lab.example.org",
    ],
)
def test_our_names_and_literal_addresses_are_served(host: str) -> None:
    assert HOSTS.allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        # Names that only look like ours.
        "localhost.evil.example",
        "ci.example.org.evil.example",
        "evilci.example.org",
        "lab.example.org",
        "xlab.example.org",
        "127.0.0.1.nip.io",
        "localhost.",
        "0.0.0.0:8080",
        "[::]:8080",
        # What a lenient parser would read as one of ours.
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost, evil.example",
        "localhost evil.example",
        "localhost\tx",
        "localhost:8080:80",
        "localhost:",
        "localhost:port",
        "localhost#",
        "[::1",
        "::1",
        "[localhost]",
        "l\u043ecalhost",
        "2130706433",
        "0x7f.1",
        "localhost" * 40,
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    assert not HOSTS.allows(host)


def test_a_request_without_a_host_is_refused() -> None:
    request = asking()
    with pytest.raises(Refused) as caught:
        HOSTS.check(type(request)("GET", "/", {}, "192.0.2.7"))
    assert caught.value.status == 403


def test_a_star_leaves_it_to_the_proxy_but_still_wants_one_name() -> None:
    assert Hosts(["*"]).allows("anything.example")
    assert not Hosts(["*"]).allows("a, b")


@pytest.mark.parametrize("name", ["https://ci.example.org", "ci.example.org:80", "a b", "*x.org"])
def test_a_name_that_could_never_match_is_a_mistake_of_the_operator(name: str) -> None:
    with pytest.raises(BadInput, match="TESTOPS_ALLOWED_HOSTS"):
        Hosts([name])
