"""aiorpcX: requests, a batch, an error over newline-framed JSON-RPC."""

import aiorpcx


class Server(aiorpcx.RPCSession):
    async def handle_request(self, request):
        handlers = {"add": self.add}
        return await aiorpcx.handler_invocation(handlers.get(request.method), request)()

    async def add(self, a, b):
        return a + b


async def main():
    server = await aiorpcx.serve_rs(Server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiorpcx.connect_rs("127.0.0.1", port) as session:
        found = [await session.send_request("add", [2, 40])]
        async with session.send_batch() as batch:
            for number in range(3):
                batch.add_request("add", [number, number])
        found.append(list(batch.results))
        try:
            await session.send_request("nothing")
        except aiorpcx.RPCError as error:
            found.append(error.code)
    server.close()
    await server.wait_closed()
    assert found == [42, [0, 2, 4], -32601]
    return found
