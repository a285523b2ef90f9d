"""Which `Host` a request may name. This stops DNS rebinding.

A page of an attacker whose name is re-pointed at 127.0.0.1 is same-origin with us in the eyes of
the browser, and gives itself away only by its name. A literal address in `Host` is no name that
anybody could re-point, so addresses are let through.
"""

import ipaddress
import re
from collections.abc import Iterable

from testops.access.asked import Asked
from testops.access.refused import forbidden
from testops.domain.errors import BadInput

HOST_LENGTH_MAX = 255
ANY = "*"
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/\\?#\s]+)(:[0-9]{1,5})?")


class Hosts:
    """The names that this server goes by: `localhost`, and those that its operator gave."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        names = [name.strip().lower() for name in allowed if name.strip()]
        self._any = ANY in names
        self._names = frozenset({"localhost", *(n for n in names if not n.startswith("*"))})
        self._suffixes = tuple(n[1:] for n in names if n.startswith("*."))
        for name in names:
            if name != ANY and _NAME.fullmatch(name.removeprefix("*.")) is None:
                raise BadInput(
                    f"{name!r} is no host name",
                    where="TESTOPS_ALLOWED_HOSTS",
                    fix="write names without port, as `ci.example.org` or `*.example.org`",
                )

    def check(self, request: Asked) -> None:
        host = request.header("host")
        if host is None or not self.allows(host):
            raise forbidden(
                "this server does not go by that host name; its operator names it in "
                "TESTOPS_ALLOWED_HOSTS"
            )

    def allows(self, host: str) -> bool:
        name = name_in(host)
        if name is None:
            return False
        if self._any or name in self._names or name.endswith(self._suffixes or ("\0",)):
            return True
        return _is_address(name)


def name_in(host: str) -> str | None:
    """The name in a `Host` header, without its port; None when it is not one authority."""
    if len(host) > HOST_LENGTH_MAX:
        return None
    found = _AUTHORITY.fullmatch(host.lower())
    if found is None:
        return None
    name = found[1]
    if name.startswith("["):
        return name if _is_address(name) else None
    return name if _NAME.fullmatch(name) else None


def _is_address(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    # Browsers let a public page reach 0.0.0.0, which is this machine.
    return not address.is_unspecified
