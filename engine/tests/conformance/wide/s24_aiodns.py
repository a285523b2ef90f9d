"""aiodns resolves in c-ares (C), with sockets and threads of its own: refused by name."""

import sys
from pathlib import Path

# It lies beside the other libraries: where aiodns can be imported, aiohttp uses it by default.
sys.path.insert(0, str(Path(sys.prefix) / "aiodns"))

import aiodns


async def main():
    resolver = aiodns.DNSResolver(nameservers=["127.0.0.1"], timeout=1, tries=1)
    try:
        await resolver.query_dns("example.invalid", "A")
    except aiodns.error.DNSError:
        return "dns error"
