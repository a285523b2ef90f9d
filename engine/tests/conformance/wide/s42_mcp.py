"""mcp: a server and a client in memory; a tool, a tool that fails, a resource."""

from mcp import Client
from mcp.server.mcpserver import MCPServer


async def main():
    server = MCPServer("tea")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def fail() -> str:
        raise ValueError("broken")

    @server.resource("tea://menu")
    def menu() -> str:
        return "green, black"

    async with Client(server) as client:
        names = sorted(tool.name for tool in (await client.list_tools()).tools)
        added = (await client.call_tool("add", {"a": 2, "b": 40})).content[0].text
        failed = (await client.call_tool("fail", {})).is_error
        text = (await client.read_resource("tea://menu")).contents[0].text
    assert (names, added, failed, text) == (["add", "fail"], "42", True, "green, black")
    return [names, added, failed, text]
