"""What an IP address is, and how Python writes it down for each family of sockets.

Inside Toron an address is one plain string: IPv4 dotted, IPv6 without a zone, and an IPv4-mapped
IPv6 address as the IPv4 address that it stands for. Who holds which address belongs to `names`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

Address = tuple[str, int]

ANY_V4, ANY_V6 = "0.0.0.0", "::"  # noqa: S104  (addresses to match, nothing is bound)
WILDCARD = (ANY_V4, ANY_V6, "")
LOOPBACK = ("127.0.0.1", "::1")
BROADCAST = ("255.255.255.255", "10.0.255.255")
INTERFACES = ((1, "lo"), (2, "eth0"))
"""The network interfaces of every host, as `socket.if_nameindex` lists them."""
LO, ETH0 = 1, 2

SERVICES = {
    "echo": (7, "tcp"),
    "ftp": (21, "tcp"),
    "ssh": (22, "tcp"),
    "telnet": (23, "tcp"),
    "smtp": (25, "tcp"),
    "domain": (53, "udp"),
    "http": (80, "tcp"),
    "pop3": (110, "tcp"),
    "ntp": (123, "udp"),
    "imap2": (143, "tcp"),
    "snmp": (161, "udp"),
    "ldap": (389, "tcp"),
    "https": (443, "tcp"),
    "syslog": (514, "udp"),
    "submission": (587, "tcp"),
    "ldaps": (636, "tcp"),
    "imaps": (993, "tcp"),
    "pop3s": (995, "tcp"),
    "mqtt": (1883, "tcp"),
    "mysql": (3306, "tcp"),
    "mdns": (5353, "udp"),
    "postgresql": (5432, "tcp"),
    "amqp": (5672, "tcp"),
    "redis": (6379, "tcp"),
}
"""The services that a simulated host knows, and the protocol that `getservbyport` prefers."""
PROTOCOLS = {"ip": 0, "icmp": 1, "tcp": 6, "udp": 17, "ipv6": 41, "ipv6-icmp": 58}


def error(number: int) -> OSError:
    """The system's own error."""
    return OSError(number, os.strerror(number))


def is_literal(name: str) -> bool:
    """Whether ``name`` is an IP address already."""
    return family_of_literal(name) is not None


def family_of_literal(name: str) -> int | None:
    """The family of an IP address, or None for a name."""
    for family, text in (
        (socket.AF_INET, name),
        (socket.AF_INET6, name.partition("%")[0]),
    ):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return family
    return None


def plain(address: str) -> str:
    """The one string by which Toron knows an address: no IPv4 mapping, no zone, no long form."""
    if ":" not in address:
        return address
    text = address.partition("%")[0]
    text = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    return text.removeprefix("::ffff:") if "." in text else text


def is_v6(address: str) -> bool:
    """Whether a plain address is an IPv6 one."""
    return ":" in address


def is_multicast(address: str) -> bool:
    """Whether a plain address names a group."""
    if is_v6(address):
        return address.startswith("ff")
    return 224 <= int(address.partition(".")[0]) <= 239


def is_link_local(address: str) -> bool:
    """Whether an address needs a zone to be complete."""
    return address.startswith(("fe80:", "ff02:"))


def shaped(family: int, address: Address) -> Any:
    """``address`` as Python shows it on a socket of ``family``."""
    if family != socket.AF_INET6:
        return address
    ip, port = address
    if not is_v6(ip):
        ip = ANY_V6 if ip == ANY_V4 else f"::ffff:{ip}"
    return (ip, port, 0, ETH0 if is_link_local(ip) else 0)


def joined(address: Address) -> str:
    """``ip:port`` for the trace."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def interface_name(index: int) -> str:
    """The name of an interface; OSError for an index that no host has."""
    for number, name in INTERFACES:
        if number == index:
            return name
    raise error(errno.ENXIO)


def interface_index(name: str | bytes) -> int:
    """The index of an interface; OSError for a name that no host has."""
    text = os.fsdecode(name)
    for number, known in INTERFACES:
        if known == text:
            return number
    raise OSError("no interface with this name")
