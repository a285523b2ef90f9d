"""Refuses libraries that do their own I/O where they begin to, before C takes over.

What such a library does is invisible to Python's audit events, so its entry points are wrapped when
the program imports it. The table of names and alternatives is in `toron.core.foreign`.
"""

from __future__ import annotations

from typing import Any

from toron.core.foreign import refusal
from toron.errors import EscapeError
from toron.world.boundary.on_import import when_imported

_ENTRIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("psycopg", "psycopg.connection", ("Connection.connect",)),
    ("psycopg", "psycopg.connection_async", ("AsyncConnection.connect",)),
    ("psycopg2", "psycopg2", ("connect",)),
    ("aiodns", "aiodns", ("DNSResolver.__init__",)),
    ("pycares", "pycares", ("Channel.__init__",)),
    ("grpc", "grpc", ("insecure_channel", "secure_channel", "server")),
    ("grpc", "grpc.aio", ("insecure_channel", "secure_channel", "server")),
    ("zmq", "zmq.sugar.context", ("Context.__init__",)),
    ("confluent_kafka", "confluent_kafka", ("Producer", "Consumer")),
    ("confluent_kafka", "confluent_kafka.admin", ("AdminClient.__init__",)),
    ("uvloop", "uvloop", ("run", "new_event_loop", "install")),
    ("MySQLdb", "MySQLdb", ("connect", "Connection", "Connect")),
    ("pyodbc", "pyodbc", ("connect",)),
    ("pymssql", "pymssql", ("connect",)),
    ("pycurl", "pycurl", ("Curl",)),
    ("temporalio", "temporalio.client", ("Client.connect",)),
    ("granian", "granian", ("Granian",)),
)


def install() -> None:
    """Watch for the libraries, and keep aiohttp from using one of them by default."""
    for library, module, names in _ENTRIES:
        when_imported(module, _refuse_entries(library, names))
    when_imported("aiohttp.resolver", _pin_resolver)


def _refuse_entries(library: str, names: tuple[str, ...]) -> Any:
    def hook(module: Any) -> None:
        for name in names:
            owner, _, attribute = name.rpartition(".")
            holder = getattr(module, owner, None) if owner else module
            if holder is not None and hasattr(holder, attribute):
                setattr(holder, attribute, _refusing(library, f"{library}.{name}"))

    return hook


def _refusing(library: str, name: str) -> Any:
    call = name.removesuffix(".__init__")

    def refuse(*_arguments: Any, **_options: Any) -> Any:
        raise EscapeError(refusal(library, f"{call}()"))

    return refuse


def _pin_resolver(module: Any) -> None:
    """Aiohttp resolves with aiodns where that is installed; here it asks the loop."""
    module.DefaultResolver = module.ThreadedResolver
