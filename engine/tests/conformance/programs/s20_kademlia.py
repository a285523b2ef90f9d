"""kademlia over UDP: six nodes find each other and each other's values."""

import asyncio

from kademlia.network import Server

import toron

NODES, PORT = 6, 8468


async def main():
    nodes = [Server() for _ in range(NODES)]
    for node in nodes:
        await node.listen(0, interface="127.0.0.1")
    ports = [node.transport.get_extra_info("sockname")[1] for node in nodes]
    for node in nodes[1:]:
        assert await node.bootstrap([("127.0.0.1", ports[0])])
    for number, node in enumerate(nodes):
        assert await node.set(f"key {number}", f"value {number}")
    found = [[await node.get(f"key {number}") for number in range(NODES)] for node in nodes]
    absent = await nodes[2].get("never set")
    for node in nodes:
        node.stop()
    assert found == [[f"value {number}" for number in range(NODES)]] * NODES, found
    return [found, absent]


def populate(world, names):
    running = {}

    async def live(name, first):
        node = Server()
        await node.listen(PORT)
        while name != first and not await node.bootstrap([(world.host(first).address, PORT)]):
            await asyncio.sleep(0.5)
        running[name] = node
        await asyncio.Event().wait()

    for name in names:
        world.host(name).spawn(live, name, names[0])
    return running


async def get(running, name, key):
    while name not in running or (value := await running[name].get(key)) is None:
        await asyncio.sleep(0.5)
    return value


@toron.kernel
async def partitioned(world):
    """A node that nobody reaches for 5 s: the others know the value, and so does it afterwards."""
    names = [f"node{number}" for number in range(NODES)]
    running = populate(world, names)
    await world.sleep(5)
    lonely, rest = names[-1], names[:-1]
    for name in rest:
        world.net.partition(lonely, name)
    assert await world.host(names[1]).spawn(running[names[1]].set, "key", "value")
    reading = world.host(lonely).spawn(get, running, lonely, "key")
    assert await world.host(names[2]).spawn(get, running, names[2], "key") == "value"
    await world.sleep(5)
    assert not reading.done(), "a value came through a partition"
    for name in rest:
        world.net.heal(lonely, name)
    assert await reading == "value"


@toron.kernel
async def crashed(world):
    """A node loses power and its memory; the value was replicated, and it finds it again."""
    names = [f"node{number}" for number in range(NODES)]
    running = populate(world, names)
    await world.sleep(5)
    assert await world.host(names[2]).spawn(running[names[2]].set, "key", "value")
    world.host(names[1]).crash()
    del running[names[1]]
    await world.sleep(2)
    assert await world.host(names[3]).spawn(get, running, names[3], "key") == "value"
    world.host(names[1]).restart()
    assert await world.host(names[1]).spawn(get, running, names[1], "key") == "value"
