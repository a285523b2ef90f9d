"""Whose address a request counts for: limits, throttles and the audit log go by it."""

import ipaddress
from collections.abc import Iterable

from testops.access.asked import Asked
from testops.domain.errors import BadInput

_HOPS_MAX = 32


class Addresses:
    """Finds the caller behind the proxies that an operator trusts.

    `X-Forwarded-For` is believed only from those, and read from its end: what stands in front of
    the last address that no proxy of ours has, the caller wrote themselves.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self._proxies = [_network(text) for text in proxies]

    def of(self, request: Asked) -> str:
        """The address, or what stands for it: a whole /64 of IPv6 is one subscriber."""
        address = request.client
        for hop in reversed((request.header("x-forwarded-for") or "").split(",")[-_HOPS_MAX:]):
            if not hop.strip() or not self._trusts(address):
                break
            address = hop.strip()
        return _subscriber(address)

    def _trusts(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self._proxies)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise BadInput(
            f"{text!r} is no address",
            where="TESTOPS_TRUSTED_PROXIES",
            fix="write addresses or networks, as `10.0.0.0/8, 127.0.0.1`",
        ) from None


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _subscriber(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return text[:64] or "local"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
