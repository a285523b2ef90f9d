"""Runs the store for real: a demonstration, one replica, or one request."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from examples.kv_store.client import Client
from examples.kv_store.replica import Replica
from examples.kv_store.storage import Storage, StorageFailed
from examples.kv_store.wire import Address

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.kv_store", description=__doc__)
    verbs = parser.add_subparsers(dest="verb")
    verbs.add_parser("demo", help="three replicas on this machine, one of them killed (default)")
    replica = verbs.add_parser("replica", help="one replica")
    replica.add_argument("name")
    replica.add_argument("folder")
    request = verbs.add_parser("request", help="get KEY, put KEY VALUE or append KEY VALUE")
    request.add_argument("operation", choices=("get", "put", "append"))
    request.add_argument("arguments", nargs="+", metavar="KEY [VALUE]")
    for verb in (replica, request):
        verb.add_argument("--nodes", required=True, help="a=127.0.0.1:7001,b=...,c=...")
    options = parser.parse_args()
    if options.verb == "replica":
        return asyncio.run(run_replica(options.name, options.folder, parse(options.nodes)))
    if options.verb == "request":
        return asyncio.run(run_request(options.operation, options.arguments, parse(options.nodes)))
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(demonstrate(Path(folder)))


def parse(nodes: str) -> dict[str, Address]:
    """Names and addresses from ``a=host:port,b=host:port``."""
    found = {}
    for node in nodes.split(","):
        name, _, address = node.partition("=")
        host, _, port = address.rpartition(":")
        found[name] = (host, int(port))
    return found


async def run_replica(name: str, folder: str, nodes: Mapping[str, Address]) -> int:
    try:
        await Replica(name, nodes, Storage(folder)).run(nodes[name][0])
    except* StorageFailed as failed:
        print(f"replica {name} stops: {failed.exceptions[0]}", file=sys.stderr)
    return 1


async def run_request(operation: str, arguments: list[str], nodes: Mapping[str, Address]) -> int:
    client = Client(uuid.uuid4().hex, nodes)
    print(await client.request(operation, *arguments))
    client.close()
    return 0


async def demonstrate(folder: Path) -> int:
    """Write, kill a replica without warning, write on, start it again, read."""
    nodes = {name: ("127.0.0.1", port) for name, port in zip("abc", free_ports(3), strict=True)}
    running = {name: await start(name, folder, nodes) for name in nodes}
    client = Client("demo", nodes)
    try:
        print("put    fruit  ->", await client.put("fruit", "apple"))
        print("append fruit  ->", await client.append("fruit", ",pear"))
        leader = client.target
        running[leader].kill()
        await running[leader].wait()
        print(f"killed {leader}, the leader")
        print("append fruit  ->", await client.append("fruit", ",plum"))
        running[leader] = await start(leader, folder, nodes)
        print(f"started {leader} again")
        print("get    fruit  ->", await client.get("fruit"))
    finally:
        client.close()
        for process in running.values():
            process.kill()
            await process.wait()
    return 0


async def start(
    name: str, folder: Path, nodes: Mapping[str, Address]
) -> asyncio.subprocess.Process:
    listed = ",".join(f"{node}={host}:{port}" for node, (host, port) in nodes.items())
    command = [sys.executable, "-m", "examples.kv_store", "replica", name, str(folder / name)]
    return await asyncio.create_subprocess_exec(*command, "--nodes", listed, cwd=REPOSITORY)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
