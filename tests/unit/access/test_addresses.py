"""Nobody chooses the address that they are counted by."""

import pytest
from tests.support.access import asking

from testops.access.addresses import Addresses
from testops.domain.errors import BadInput

PROXIED = Addresses(["10.0.0.0/8", "::1"])


def counted(addresses: Addresses, client: str, forwarded: str) -> str:
    return addresses.of(asking(client=client, headers={"x-forwarded-for": forwarded}))


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        # Not from a proxy of ours: whatever it claims.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("::1", "198.51.100.1", "198.51.100.1"),
        # What the caller put in front is not read.
        ("10.1.2.3", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "not an address", "not an address"),
        ("10.1.2.3", "2001:db8::7", "2001:db8::/64"),
        ("10.1.2.3", "198.51.100.1,", "10.1.2.3"),
    ],
)
def test_only_our_proxies_say_who_is_behind_them(client: str, forwarded: str, address: str) -> None:
    assert counted(PROXIED, client, forwarded) == address


def test_without_proxies_nobody_is_believed() -> None:
    assert counted(Addresses(), "127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_a_long_list_of_hops_is_cut() -> None:
    assert counted(PROXIED, "10.1.2.3", "10.0.0.1," * 5000 + "10.0.0.2") == "10.0.0.1"


def test_a_proxy_that_is_no_address_is_named() -> None:
    with pytest.raises(BadInput, match="TESTOPS_TRUSTED_PROXIES"):
        Addresses(["proxy.example"])
