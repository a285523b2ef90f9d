"""amqtt: a broker, two clients, a retained message."""

from amqtt.broker import Broker
from amqtt.client import MQTTClient

CONFIG = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:18831"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


async def main():
    broker = Broker(CONFIG)
    await broker.start()
    sender, reader = MQTTClient(client_id="sender"), MQTTClient(client_id="reader")
    await sender.connect("mqtt://127.0.0.1:18831/")
    await sender.publish("tea/kept", b"retained", qos=1, retain=True)
    await reader.connect("mqtt://127.0.0.1:18831/")
    await reader.subscribe([("tea/#", 1)])
    found = [(await reader.deliver_message(timeout_duration=5)).data.decode()]
    await sender.publish("tea/now", b"hello", qos=2)
    found.append((await reader.deliver_message(timeout_duration=5)).data.decode())
    await sender.disconnect()
    await reader.disconnect()
    await broker.shutdown()
    assert found == ["retained", "hello"]
    return found
