"""Names the libraries whose C core does its own I/O, before they can reach the real world.

No audit event is raised by a socket that C code opens, so the door in Python is what is guarded:
the call with which a program would connect. It fails with the library's name and what to use
instead, in the simulation or at all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from toron.errors import EscapeError


@dataclass(frozen=True, slots=True)
class Door:
    """Where a program enters a library with I/O of its own, and what it can use instead."""

    module: str
    names: tuple[str, ...]
    library: str
    instead: str


_LIBPQ = "asyncpg, which speaks PostgreSQL's protocol on asyncio's sockets"
_RESOLVER = "the system's resolver (loop.getaddrinfo; aiohttp.ThreadedResolver) or dnspython"
DOORS = (
    Door("psycopg.connection", ("Connection.connect",), "psycopg (libpq)", _LIBPQ),
    Door("psycopg.connection_async", ("AsyncConnection.connect",), "psycopg (libpq)", _LIBPQ),
    Door("psycopg2", ("connect",), "psycopg2 (libpq)", _LIBPQ),
    Door("pycares", ("Channel.__init__",), "pycares (c-ares), under aiodns", _RESOLVER),
    Door(
        "grpc",
        ("insecure_channel", "secure_channel", "server"),
        "grpcio (gRPC's C core)",
        "grpclib",
    ),
    Door(
        "grpc.aio",
        ("insecure_channel", "secure_channel", "server"),
        "grpcio (gRPC's C core)",
        "grpclib",
    ),
    Door("zmq", ("Context.socket",), "pyzmq (libzmq)", "a transport on asyncio streams"),
    Door("confluent_kafka", ("Producer", "Consumer"), "confluent-kafka (librdkafka)", "aiokafka"),
    Door("uvloop", ("new_event_loop", "Loop"), "uvloop (libuv)", "asyncio's own event loop"),
    Door("MySQLdb", ("connect",), "mysqlclient (libmysqlclient)", "aiomysql"),
)


_AIOHTTP = "aiohttp.connector"


def install() -> None:
    """Guard what is imported already, and the rest when it is."""
    by_module: dict[str, list[Door]] = {_AIOHTTP: []}
    for door in DOORS:
        by_module.setdefault(door.module, []).append(door)
    for name, doors in by_module.items():
        if name in sys.modules:
            _guard(sys.modules[name], doors)
    sys.meta_path.insert(0, _Finder(by_module))


class _Finder(MetaPathFinder):
    """Lets the other finders find a guarded module, and puts the guard behind its loading."""

    def __init__(self, doors: dict[str, list[Door]]) -> None:
        self._doors = doors
        self._finding: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        doors = self._doors.get(fullname)
        if doors is None or fullname in self._finding:
            return None
        self._finding.append(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._finding.remove(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _GuardingLoader(spec.loader, doors)
        return spec


class _GuardingLoader(Loader):
    def __init__(self, loader: Any, doors: list[Door]) -> None:
        self._loader = loader
        self._doors = doors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # data files and sources are its loader's business

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _guard(module, self._doors)


def _guard(module: ModuleType, doors: list[Door]) -> None:
    if module.__name__ == _AIOHTTP:
        # Where aiodns is installed, aiohttp resolves by it unless it is told otherwise.
        threaded = getattr(sys.modules.get("aiohttp.resolver"), "ThreadedResolver", None)
        if threaded is not None:
            setattr(module, "DefaultResolver", threaded)  # noqa: B010  (of a module unknown here)
    for door in doors:
        for path in door.names:
            *owners, name = path.split(".")
            owner: Any = module
            for part in owners:
                owner = getattr(owner, part, None)
            if hasattr(owner, name):
                setattr(owner, name, _refusal(f"{module.__name__}.{path}", door))


def _refusal(call: str, door: Door) -> Any:
    def refuse(*_arguments: Any, **_keywords: Any) -> Any:
        raise EscapeError(
            f"{call.removesuffix('.__init__')}(): {door.library} does its own I/O in C, which no "
            f"simulation below Python can see; use {door.instead}"
        )

    return refuse
