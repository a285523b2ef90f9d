"""aiomqtt (paho underneath, with its blocking connect in a thread) against amqtt's broker."""

import aiomqtt
from amqtt.broker import Broker

CONFIG = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:18832"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


async def main():
    broker = Broker(CONFIG)
    await broker.start()
    found = []
    async with aiomqtt.Client("127.0.0.1", 18832, identifier="ann") as client:
        await client.subscribe("tea/#", qos=1)
        for number in range(3):
            await client.publish(f"tea/{number}", payload=f"cup {number}", qos=1)
        async for message in client.messages:
            found.append([str(message.topic), message.payload.decode()])
            if len(found) == 3:
                break
    await broker.shutdown()
    assert found == [[f"tea/{n}", f"cup {n}"] for n in range(3)]
    return found
