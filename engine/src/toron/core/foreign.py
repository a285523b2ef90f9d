"""Names libraries that do their own I/O in C or Rust, and what to use in their place.

No Python-level simulation reaches what they do: they open sockets, start threads and wait by
themselves. A program that uses one is refused with the name of the library and of the alternative.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

_STACK_MAX = 100

LIBRARIES: dict[str, tuple[str, str]] = {
    "psycopg": (
        "psycopg's libpq does its own I/O in C",
        "asyncpg, which speaks to a simulated PostgreSQL over asyncio's streams",
    ),
    "psycopg2": ("psycopg2's libpq does its own I/O in C", "asyncpg"),
    "aiopg": ("aiopg's libpq does its own I/O in C", "asyncpg"),
    "aiodns": (
        "aiodns resolves with c-ares, which does its own I/O in C",
        "loop.getaddrinfo (aiohttp's ThreadedResolver) or dnspython",
    ),
    "pycares": (
        "pycares' c-ares does its own I/O in C",
        "loop.getaddrinfo (aiohttp's ThreadedResolver) or dnspython",
    ),
    "grpc": ("grpc's core does its own I/O in C++, in threads of its own", "grpclib"),
    "zmq": ("pyzmq's libzmq does its own I/O in C++, in threads of its own", "asyncio's streams"),
    "confluent_kafka": (
        "confluent_kafka's librdkafka does its own I/O in C, in threads of its own",
        "aiokafka",
    ),
    "uvloop": ("uvloop is an event loop in C around libuv", "asyncio's own loop"),
    "MySQLdb": ("mysqlclient's libmysqlclient does its own I/O in C", "aiomysql or PyMySQL"),
    "pyodbc": ("pyodbc's drivers do their own I/O in C", "a driver written in Python"),
    "pymssql": ("pymssql's FreeTDS does its own I/O in C", "a driver written in Python"),
    "pycurl": ("pycurl's libcurl does its own I/O in C", "httpx or aiohttp"),
    "temporalio": ("temporalio's core does its own I/O in Rust", "a stand-in for its client"),
    "granian": ("granian serves from Rust, in processes of its own", "uvicorn or hypercorn"),
    "gevent": ("gevent switches greenlets on a loop of its own in C", "asyncio"),
}


def refusal(library: str, call: str) -> str:
    """Why ``call`` of ``library`` is refused, and what to use instead."""
    why, instead = LIBRARIES[library]
    return f"{call}: {why}, which Toron cannot simulate; use {instead}, or a stand-in"


def library_on_stack(frame: FrameType | None) -> str | None:
    """The innermost library of the table among the callers of ``frame``, or None."""
    for _ in range(_STACK_MAX):
        if frame is None:
            return None
        name: Any = frame.f_globals.get("__name__")
        known = str(name).partition(".")[0]
        if known in LIBRARIES:
            return known
        frame = frame.f_back
    return None
