"""psycopg reaches the network in libpq (C): Toron must refuse it and name the library."""

import asyncio

import psycopg


async def main():
    async def hang_up(_reader, writer):
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await psycopg.AsyncConnection.connect(
            f"host=127.0.0.1 port={port} user=u dbname=d sslmode=disable connect_timeout=5"
        )
    except psycopg.OperationalError:
        return "operational error"
    finally:
        server.close()
