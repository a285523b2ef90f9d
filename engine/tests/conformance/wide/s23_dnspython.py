"""dnspython's asynchronous resolver against a small name server, over UDP and TCP."""

import asyncio
import struct

import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.rrset

ANSWERS = {"www.example.": "192.0.2.1", "big.example.": "192.0.2.2"}


def answer(wire):
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    name = query.question[0].name
    if str(name) in ANSWERS:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", ANSWERS[str(name)]))
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


class NameServer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(answer(data), address)


async def over_tcp(reader, writer):
    size = struct.unpack("!H", await reader.readexactly(2))[0]
    wire = answer(await reader.readexactly(size))
    writer.write(struct.pack("!H", len(wire)) + wire)
    writer.close()


async def main():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    server = await asyncio.start_server(over_tcp, "127.0.0.1", port)
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port
    found = [[r.address for r in await resolver.resolve("www.example.", "A")]]
    try:
        await resolver.resolve("no.example.", "A")
    except dns.resolver.NXDOMAIN:
        found.append("NXDOMAIN")
    query = dns.message.make_query("big.example.", "A")
    found.append((await dns.asyncquery.tcp(query, "127.0.0.1", port=port)).answer[0][0].address)
    server.close()
    transport.close()
    assert found == [["192.0.2.1"], "NXDOMAIN", "192.0.2.2"]
    return found
