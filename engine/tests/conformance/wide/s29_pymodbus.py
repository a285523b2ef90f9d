"""pymodbus: registers written and read over TCP."""

import asyncio

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer


async def main():
    block = ModbusSequentialDataBlock(1, [0] * 100)
    context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
    server = ModbusTcpServer(context, address=("127.0.0.1", 5020))
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(0.1)
    client = AsyncModbusTcpClient("127.0.0.1", port=5020)
    assert await client.connect()
    await client.write_registers(10, [1, 2, 3])
    found = (await client.read_holding_registers(10, count=4)).registers
    bad = (await client.read_holding_registers(5000, count=1)).isError()
    client.close()
    await server.shutdown()
    await serving
    assert (found, bad) == ([1, 2, 3, 0], True)
    return [found, bad]
