"""Twisted on asyncio's loop: a line server and client by AsyncioSelectorReactor."""

import asyncio

from twisted.internet import asyncioreactor, defer, endpoints, protocol
from twisted.protocols.basic import LineReceiver


class Shout(LineReceiver):
    def lineReceived(self, line):
        self.sendLine(line.upper())


class Ask(LineReceiver):
    def __init__(self):
        self.answer = defer.Deferred()

    def lineReceived(self, line):
        self.answer.callback(line)


async def main():
    loop = asyncio.get_running_loop()
    reactor = asyncioreactor.AsyncioSelectorReactor(loop)
    reactor.startRunning()
    listening = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port = await listening.listen(protocol.Factory.forProtocol(Shout)).asFuture(loop)
    connecting = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = await endpoints.connectProtocol(connecting, Ask()).asFuture(loop)
    client.sendLine(b"hello")
    answer = await asyncio.wait_for(client.answer.asFuture(loop), 5)
    later = defer.Deferred()
    reactor.callLater(0.05, later.callback, "later")
    second = await later.asFuture(loop)
    client.transport.loseConnection()
    await defer.maybeDeferred(port.stopListening).asFuture(loop)
    assert (answer, second) == (b"HELLO", "later")
    return [answer.decode(), second]
