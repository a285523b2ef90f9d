"""Shows programs the network interfaces of the simulated host, not those of the machine.

`socket.if_nameindex` is replaced in `sockets_edge`; `ifaddr`, which zeroconf uses, asks the C
library by ctypes, past every hook, and is given its answer here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toron.world.addresses import INTERFACES, LOOPBACK
from toron.world.boundary.on_import import when_imported
from toron.world.network import Network

_PREFIX_V4, _PREFIX_V6 = {1: 8, 2: 16}, {1: 128, 2: 64}


def install(world: Callable[[str], Network]) -> None:
    """Watch for `ifaddr`."""

    def hook(module: Any) -> None:
        def get_adapters(include_unconfigured: bool = False) -> list[Any]:
            return [_adapter(module, *one) for one in adapters(world("ifaddr.get_adapters"))]

        module.get_adapters = get_adapters

    when_imported("ifaddr", hook)


def adapters(network: Network) -> list[tuple[int, str, list[str]]]:
    """The interfaces of the current host: index, name and addresses."""
    mine = network.names.addresses_of(network.current_process().host.name)
    (lo, lo_name), (eth0, eth0_name) = INTERFACES
    return [(lo, lo_name, list(LOOPBACK)), (eth0, eth0_name, mine)]


def _adapter(module: Any, index: int, name: str, addresses: list[str]) -> Any:
    ips = []
    for address in addresses:
        if ":" in address:
            scope = index if address.startswith("fe80:") else 0
            ips.append(module.IP((address, 0, scope), _PREFIX_V6[index], name))
        else:
            ips.append(module.IP(address, _PREFIX_V4[index], name))
    return module.Adapter(name, name, ips, index=index)
