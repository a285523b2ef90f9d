"""zeroconf: one instance announces a service by multicast DNS, another finds it."""

import socket

from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

KIND = "_tea._tcp.local."


async def main():
    options = {"interfaces": ["127.0.0.1"], "ip_version": IPVersion.V4Only}
    one, other = AsyncZeroconf(**options), AsyncZeroconf(**options)
    info = AsyncServiceInfo(
        KIND,
        f"pot.{KIND}",
        addresses=[socket.inet_aton("127.0.0.1")],
        port=1234,
        properties={"leaf": "green"},
        server="pot.local.",
    )
    await (await one.async_register_service(info))
    found = AsyncServiceInfo(KIND, f"pot.{KIND}")
    assert await found.async_request(other.zeroconf, 3000)
    result = [found.port, found.properties[b"leaf"].decode(), found.parsed_addresses()]
    await one.async_unregister_all_services()
    await one.async_close()
    await other.async_close()
    assert result == [1234, "green", ["127.0.0.1"]]
    return result
