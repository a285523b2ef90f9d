"""Programs over UDP, unix sockets and raw sockets, whose result no schedule may change.

The same under stock asyncio on a real loopback and under Toron; each returns plain values.
"""

import array
import asyncio
import errno
import socket
import struct


def name_of(error):
    code = getattr(error, "errno", None)
    return errno.errorcode.get(code, code) if not isinstance(error, socket.gaierror) else code


def refused(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return name_of(error)


class Recorder(asyncio.DatagramProtocol):
    def __init__(self):
        self.seen = asyncio.Queue()
        self.errors = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.seen.put_nowait((data.decode(), addr))

    def error_received(self, exc):
        self.errors.put_nowait(name_of(exc))


class Echo(Recorder):
    def datagram_received(self, data, addr):
        self.transport.sendto(data.upper(), addr)


async def datagrams_by_every_form_of_endpoint():
    loop, heard = asyncio.get_running_loop(), []
    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    raw.setblocking(False)
    raw.bind(("127.0.0.1", 0))
    for options in (
        {"remote_addr": address},
        {"local_addr": ("127.0.0.1", 0)},
        {"local_addr": ("127.0.0.1", 0), "remote_addr": address, "reuse_port": True},
        {"family": socket.AF_INET},
        {"sock": raw},
    ):
        client, protocol = await loop.create_datagram_endpoint(Recorder, **options)
        client.sendto(b"hello", None if "remote_addr" in options else address)
        text, sender = await protocol.seen.get()
        heard.append([text, sender == address, client.get_extra_info("peername") is not None])
        client.close()
    server.close()
    return heard


async def a_connected_socket_learns_that_nobody_listens():
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = unused.getsockname()
    client, protocol = await loop.create_datagram_endpoint(Recorder, remote_addr=address)
    client.sendto(b"anybody?")
    learned = await asyncio.wait_for(protocol.errors.get(), 5)
    client.close()
    return learned


async def a_datagram_has_a_largest_size():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.1", 0))
    other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)
    target = other.getsockname()
    sent = [refused(one.sendto, bytes(size), target) for size in (0, 65_507, 65_508)]
    other.setblocking(False)
    loop = asyncio.get_running_loop()
    sizes = [len((await loop.sock_recvfrom(other, 70_000))[0]) for _ in range(2)]
    one.close()
    other.close()
    return [sent, sizes]


async def datagrams_are_cut_off_and_can_be_peeked_at():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.1", 0))
    one.connect(other.getsockname())
    other.setblocking(False)
    one.send(b"abcdef")
    one.sendmsg([b"gh", b"", b"ij"])
    await asyncio.sleep(0.05)
    peeked = other.recv(4, socket.MSG_PEEK)
    data, ancillary, flags, sender = other.recvmsg(3)
    buffers = [bytearray(3), bytearray(9)]
    count, _, more, _ = other.recvmsg_into(buffers)
    found = [peeked, data, ancillary, bool(flags & socket.MSG_TRUNC), sender == one.getsockname()]
    found += [count, bytes(buffers[0]), bytes(buffers[1]), more, refused(other.recv, 1)]
    one.close()
    other.close()
    return found


async def datagrams_over_ipv6_and_dual_stack():
    loop, seen = asyncio.get_running_loop(), []
    dual = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    dual.setblocking(False)
    dual.bind(("::", 0))
    port = dual.getsockname()[1]
    seen.append([dual.getsockname()[0], len(dual.getsockname())])
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", port)),
        (socket.AF_INET6, ("::1", port)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", port)),
    ):
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(address)
        client.send(b"hi")
        data, sender = await loop.sock_recvfrom(dual, 100)
        await loop.sock_sendto(dual, data + b"!", sender)
        answer = await loop.sock_recv(client, 100)
        seen.append([answer, sender[0], sender[2:], client.getpeername()[0]])
        client.close()
    dual.close()
    return seen


async def sockets_share_a_port_only_when_both_say_so():
    def pair(kind, *options, listen=False):
        found = []
        first, second = socket.socket(type=kind), socket.socket(type=kind)
        for one in (first, second):
            for option in options:
                one.setsockopt(socket.SOL_SOCKET, option, 1)
        first.bind(("127.0.0.1", 0))
        if listen:
            first.listen()
        port = first.getsockname()[1]
        found.append(refused(second.bind, ("127.0.0.1", port)))
        other = socket.socket(type=kind)
        found.append(refused(other.bind, ("0.0.0.0", port)))
        for one in (first, second, other):
            one.close()
        return found

    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    return [
        pair(stream),
        pair(stream, socket.SO_REUSEADDR),
        pair(stream, socket.SO_REUSEADDR, listen=True),
        pair(stream, socket.SO_REUSEPORT, listen=True),
        pair(datagram),
        pair(datagram, socket.SO_REUSEADDR),
        pair(datagram, socket.SO_REUSEPORT),
    ]


async def errors_of_datagram_sockets():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    found = [
        one.getsockname(),
        refused(one.bind, ("192.0.2.1", 0)),
        refused(one.getpeername),
        refused(one.recv, 1),
        refused(one.listen),
        refused(one.accept),
        refused(one.shutdown, socket.SHUT_RD),
        refused(one.send, b"x"),
        refused(one.sendto, b"x", ("255.255.255.255", 9)),
    ]
    found.append(refused(one.bind, ("127.0.0.1", 0)))
    one.close()
    found += [refused(one.send, b"x"), refused(one.recv, 1), one.fileno()]
    return found


async def multicast_reaches_every_socket_of_the_group():
    group, heard = "239.1.2.3", []
    receivers = []
    for _ in range(2):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", 5399))
        one.setblocking(False)
        joined = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        receivers.append(one)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    loop = asyncio.get_running_loop()
    sender.sendto(b"all", (group, 5399))
    heard += [(await asyncio.wait_for(loop.sock_recvfrom(one, 10), 5))[0] for one in receivers]
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    sender.sendto(b"others", (group, 5399))
    await asyncio.sleep(0.05)
    heard.append(refused(receivers[0].recv, 10))
    receivers[0].setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, joined)
    heard.append(
        refused(receivers[0].setsockopt, socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, joined)
    )
    heard.append(
        refused(receivers[1].setsockopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    )
    for one in (*receivers, sender):
        one.close()
    return heard


async def unix_streams_echo_by_abstract_name():
    async def echo(reader, writer):
        writer.write((await reader.readline()).upper())
        names.append([writer.get_extra_info("sockname"), writer.get_extra_info("peername")])
        writer.close()

    names, name = [], "\0toron-test-echo"
    server = await asyncio.start_unix_server(echo, name)
    reader, writer = await asyncio.open_unix_connection(name)
    writer.write(b"hello\n")
    answer = await reader.read()
    names.append([writer.get_extra_info("sockname"), writer.get_extra_info("peername")])
    writer.close()
    server.close()
    await server.wait_closed()
    return [answer, names, refused(socket.socket(socket.AF_UNIX).connect, name)]


async def errors_of_unix_sockets():
    missing, name = "/nowhere-at-all/socket", "\0toron-test-errors"
    one, other = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    gram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for each in (one, other, gram):
        each.setblocking(False)
    found = [
        refused(one.connect, missing),
        refused(one.connect, "\0nobody"),
        refused(one.send, b"x"),
        refused(one.recv, 1),
        refused(one.getpeername),
        refused(one.listen),
        one.getsockname(),
    ]
    one.bind(name)
    found.append(refused(other.bind, name))
    found.append(refused(one.bind, name + "2"))
    found.append(refused(other.connect, name))
    one.listen(1)
    found.append(refused(gram.connect, name))
    found.append(refused(other.connect, name))
    found.append(refused(other.connect, name))
    found.append(other.getpeername())
    found.append(refused(other.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
    for each in (one, other, gram):
        each.close()
    return found


async def unix_datagrams():
    one, other = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    one.bind("\0toron-test-one")
    other.setblocking(False)
    one.setblocking(False)
    other.sendto(b"from nobody", "\0toron-test-one")
    found = [one.recvfrom(100)]
    other.bind("\0toron-test-other")
    other.connect("\0toron-test-one")
    other.send(b"from somebody")
    found.append(one.recvfrom(4))
    found.append(refused(one.recv, 4))
    found.append(other.getpeername())
    one.close()
    found.append(refused(other.send, b"gone"))
    other.close()
    return found


async def socket_pairs_of_both_kinds():
    found = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        left, right = socket.socketpair(type=kind)
        left.setblocking(False)
        right.setblocking(False)
        left.send(b"ab")
        left.send(b"cd")
        found.append([right.recv(10), refused(right.recv, 10) if kind == 1 else right.recv(10)])
        found.append([left.family == socket.AF_UNIX, left.type == kind, left.getpeername()])
        left.shutdown(socket.SHUT_WR)
        found.append([refused(right.recv, 10), refused(left.send, b"x")])
        right.close()
        left.close()
    return found


async def a_descriptor_changes_hands():
    left, right = socket.socketpair()
    left.setblocking(False)
    other = left.dup()
    left.close()
    other.send(b"by the copy")
    number = other.detach()
    again = socket.socket(fileno=number)
    third = socket.fromfd(again.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
    again.send(b", again")
    third.send(b", and a third time")
    again.close()
    found = [other.fileno(), again.family == socket.AF_UNIX, again.type == socket.SOCK_STREAM]
    third.close()
    loop = asyncio.get_running_loop()
    right.setblocking(False)
    heard = b""
    while piece := await loop.sock_recv(right, 100):
        heard += piece
    right.close()
    return [heard, *found, refused(lambda: socket.socket(fileno=10_000))]


async def options_are_answered_as_linux_does():
    one = socket.socket()
    sol, tcp = socket.SOL_SOCKET, socket.IPPROTO_TCP
    found = [
        one.getsockopt(sol, socket.SO_TYPE) == socket.SOCK_STREAM,
        one.getsockopt(sol, socket.SO_ERROR),
        one.getsockopt(sol, socket.SO_ACCEPTCONN),
        one.getsockopt(sol, socket.SO_DOMAIN),
        one.getsockopt(sol, socket.SO_LINGER, 8),
        one.getsockopt(tcp, socket.TCP_KEEPIDLE),
        one.getsockopt(tcp, socket.TCP_KEEPINTVL),
        one.getsockopt(tcp, socket.TCP_KEEPCNT),
    ]
    for level, option, value in (
        (sol, socket.SO_KEEPALIVE, 5),
        (sol, socket.SO_REUSEADDR, 1),
        (tcp, socket.TCP_NODELAY, 1),
        (tcp, socket.TCP_KEEPIDLE, 33),
        (sol, socket.SO_RCVBUF, 10_000),
        (sol, socket.SO_SNDBUF, 1),
    ):
        one.setsockopt(level, option, value)
        found.append(one.getsockopt(level, option))
    one.setsockopt(sol, socket.SO_LINGER, struct.pack("ii", 1, 3))
    found.append(struct.unpack("ii", one.getsockopt(sol, socket.SO_LINGER, 8)))
    found.append(refused(one.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
    one.bind(("127.0.0.1", 0))
    one.listen()
    found.append(one.getsockopt(sol, socket.SO_ACCEPTCONN))
    found.append(len(one.getsockopt(tcp, socket.TCP_INFO, 104)) >= 100)
    one.close()
    return found


async def bytes_can_be_peeked_at_and_read_into_buffers():
    left, right = socket.socketpair()
    right.setblocking(False)
    left.sendmsg([b"abc", bytearray(b"def"), memoryview(b"ghi")])
    found = [right.recv(3, socket.MSG_PEEK), right.recv(2)]
    buffer = bytearray(4)
    found.append([right.recv_into(buffer, 3), bytes(buffer)])
    buffers = [bytearray(2), array.array("b", [0, 0, 0])]
    found.append([right.recvmsg_into(buffers)[0], bytes(buffers[0]), buffers[1].tolist()])
    found.append(refused(right.recv, 1, socket.MSG_DONTWAIT))
    left.close()
    found.append([right.recv(5), right.recvfrom(5)])
    right.close()
    return found


async def the_loop_moves_bytes_by_sock_methods():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    client = socket.socket()
    client.setblocking(False)
    accepting = asyncio.create_task(loop.sock_accept(listener))
    await loop.sock_connect(client, listener.getsockname())
    server, address = await accepting
    found = [address == client.getsockname(), server.getsockname() == listener.getsockname()]
    sending = asyncio.create_task(loop.sock_sendall(client, b"x" * 500_000 + b"end"))
    total, buffer = 0, bytearray(65_536)
    while total < 500_003:
        total += await loop.sock_recv_into(server, buffer)
    await sending
    found.append(total)
    for one in (listener, client, server):
        one.close()
    return found


async def connections_are_made_of_sockets():
    loop, found = asyncio.get_running_loop(), []

    async def greet(reader, writer):
        writer.write(b"hello " + await reader.readline())
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(greet, sock=listening)
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, listening.getsockname())
    reader, writer = await asyncio.open_connection(sock=client)
    writer.write(b"you\n")
    found.append(await reader.read())
    writer.close()
    server.close()
    other = socket.create_server(("127.0.0.1", 0))
    other.setblocking(False)
    dialing = asyncio.create_task(asyncio.open_connection(*other.getsockname()))
    accepted, _ = await loop.sock_accept(other)
    reader, writer = await dialing
    transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
    transport.write(b"accepted")
    transport.close()
    found.append(await reader.read())
    writer.close()
    other.close()
    return found


async def readers_and_writers_of_raw_descriptors():
    loop, log = asyncio.get_running_loop(), []
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    done = loop.create_future()

    def read():
        log.append(right.recv(100))
        loop.remove_reader(right.fileno())
        done.set_result(None)

    def write():
        left.send(b"ready")
        log.append(loop.remove_writer(left.fileno()))

    loop.add_reader(right.fileno(), read)
    loop.add_writer(left, write)
    await done
    log.append([loop.remove_reader(right), loop.remove_writer(left)])
    left.close()
    right.close()
    return log


async def resolvers_agree_on_addresses():
    stream = {"type": socket.SOCK_STREAM}
    loop = asyncio.get_running_loop()

    def ask(*arguments, **options):
        try:
            answers = socket.getaddrinfo(*arguments, **options)
        except socket.gaierror as error:
            return error.errno
        return [[int(a), int(b), c, d, list(e)] for a, b, c, d, e in answers]

    v6 = socket.AF_INET6
    return [
        ask("127.0.0.1", 80),
        ask("::1", "80", **stream),
        ask("127.0.0.1", "http", **stream),
        ask("127.0.0.1", 1, v6, socket.SOCK_STREAM),
        ask("127.0.0.1", 1, v6, socket.SOCK_STREAM, 0, socket.AI_V4MAPPED),
        ask("name", 1, flags=socket.AI_NUMERICHOST),
        ask("127.0.0.1", 1, flags=socket.AI_CANONNAME, **stream),
        ask(None, 80, flags=socket.AI_PASSIVE, **stream),
        ask(None, 80, flags=socket.AI_PASSIVE, family=socket.AF_INET6, **stream),
        ask("localhost", 80, socket.AF_INET, socket.SOCK_STREAM),
        ask("127.0.0.1", "no-such-service", **stream),
        ask(None, None),
        ask("127.0.0.1", 80, 77),
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
        socket.inet_aton("1.2.3.4"),
        socket.gethostbyname("127.0.0.1"),
        [list(one[4]) for one in await loop.getaddrinfo("127.0.0.1", 5, **stream)],
    ]


async def sockets_of_wrong_addresses():
    one, six = socket.socket(), socket.socket(socket.AF_INET6)
    found = []
    for call, address in (
        (one.bind, "127.0.0.1"),
        (one.bind, ("127.0.0.1", 70_000)),
        (one.bind, ("127.0.0.1",)),
        (one.bind, ("127.0.0.1", "80")),
        (one.bind, ("::1", 80)),
        (six.bind, ("127.0.0.1", 80)),
        (one.bind, (None, 80)),
        (one.bind, ("192.0.2.7", 0)),
    ):
        try:
            found.append(call(address))
        except (OSError, TypeError, OverflowError) as error:
            found.append([type(error).__name__, error.args[0] if error.args else None])
    one.close()
    six.close()
    return [entry if isinstance(entry[1], int) else entry[:1] for entry in found]


async def a_server_on_every_family():
    async def greet(reader, writer):
        writer.write(str(writer.get_extra_info("sockname")[0]).encode())
        writer.close()

    found = []
    server = await asyncio.start_server(greet, None, 5398)
    found.append(sorted(one.getsockname()[0] for one in server.sockets))
    for address in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(address, 5398)
        found.append([await reader.read(), writer.get_extra_info("peername")[0]])
        writer.close()
    server.close()
    dual = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(greet, sock=dual)
    port = dual.getsockname()[1]
    for address in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(address, port)
        found.append(await reader.read())
        writer.close()
    server.close()
    return [*found, socket.has_dualstack_ipv6()]


async def halves_of_a_connection_are_shut():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    one = socket.socket()
    one.setblocking(False)
    found = [refused(one.shutdown, socket.SHUT_WR), refused(one.getpeername)]
    await loop.sock_connect(one, listener.getsockname())
    other, _ = await loop.sock_accept(listener)
    other.setblocking(False)
    one.shutdown(socket.SHUT_WR)
    found += [await loop.sock_recv(other, 10), refused(one.send, b"x")]
    await loop.sock_sendall(other, b"still")
    found.append(await loop.sock_recv(one, 10))
    found.append(refused(one.connect, listener.getsockname()))
    found.append(refused(listener.connect, listener.getsockname()))
    for each in (one, other, listener):
        each.close()
    return found
