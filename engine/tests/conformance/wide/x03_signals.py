"""A handler for SIGTERM that ends a server gracefully, and one set by `signal.signal`."""

import asyncio
import signal


async def main():
    loop, stop, log = asyncio.get_running_loop(), asyncio.Event(), []
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: log.append(int(number)))

    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    loop.call_later(0.05, signal.raise_signal, signal.SIGTERM)
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.wait_for(stop.wait(), 5)
    server.close()
    await server.wait_closed()
    signal.signal(signal.SIGUSR1, before)
    assert loop.remove_signal_handler(signal.SIGTERM)
    assert log == [int(signal.SIGUSR1)]
    return ["stopped", log]
