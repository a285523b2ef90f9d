"""Programs whose result asyncio itself decides: the same under stock asyncio and under Toron.

Each returns plain values that no schedule may change.
"""

import asyncio
import contextlib
import socket


def name_of(error):
    return f"{type(error).__name__}: {error}"


async def streams_echo():
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        heard = []
        for word in (b"one\n", b"two\n", b"three\n"):
            writer.write(word)
            heard.append((await reader.readline()).decode())
        writer.write_eof()
        heard.append((await reader.read()).decode())
        writer.close()
        await writer.wait_closed()
        return heard


async def half_close():
    async def count(reader, writer):
        writer.write(str(len(await reader.read())).encode())
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes(300_000))
        writer.write_eof()
        answer = (await reader.read()).decode()
        can = [writer.can_write_eof(), writer.is_closing(), reader.at_eof()]
        writer.close()
        return [answer, *can]


async def readers_limits_and_separators():
    async def talk(reader, writer):
        writer.write(b"a;b;" + b"x" * 200_000)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        seen = [(await reader.readuntil(b";")).decode(), (await reader.readexactly(2)).decode()]
        try:
            await reader.readuntil(b";")
        except (asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            seen.append(type(error).__name__)
        rest = await reader.read()
        try:
            await reader.readexactly(1)
        except asyncio.IncompleteReadError as error:
            seen.append([error.expected, len(error.partial)])
        writer.close()
        return [*seen, len(rest)]


async def protocols_see_their_events_in_order():
    loop, events = asyncio.get_running_loop(), []
    done = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            events.append("made")
            transport.write(b"hello")
            transport.write_eof()

        def data_received(self, data):
            events.append(data.decode())

        def eof_received(self):
            events.append("eof")
            return False

        def connection_lost(self, error):
            events.append(["lost", str(error)])
            done.set_result(None)

    async def echo(reader, writer):
        writer.write(await reader.read())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        await loop.create_connection(Protocol, *server.sockets[0].getsockname())
        await done
    return events


async def cancel_scopes_and_finally():
    log = []

    async def inner():
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError as error:
            log.append(["inner", *error.args])
            raise
        finally:
            log.append("finally")

    task = asyncio.create_task(inner())
    await asyncio.sleep(0.01)
    log.append([task.cancel("stop"), task.cancelling()])
    try:
        await task
    except asyncio.CancelledError:
        log.append([task.cancelled(), task.done()])
    return log


async def task_group_of_failures():
    log = []

    async def fail(after, error):
        await asyncio.sleep(after)
        raise error

    async def wait():
        try:
            await asyncio.sleep(100)
        finally:
            log.append("cancelled")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail(0.01, ValueError("first")))
            group.create_task(fail(50, KeyError("never")))
    except* ValueError as caught:
        log.append([name_of(error) for error in caught.exceptions])
    return log


async def timeouts():
    seen = []
    for call in (
        lambda: asyncio.wait_for(asyncio.sleep(10), 0.01),
        lambda: asyncio.wait_for(asyncio.sleep(0.01, "in time"), 10),
        lambda: asyncio.wait_for(asyncio.sleep(10), 0),
    ):
        try:
            seen.append(await call())
        except TimeoutError as error:
            seen.append(name_of(error))
    try:
        async with asyncio.timeout(0.01) as scope:
            await asyncio.sleep(10)
    except TimeoutError:
        seen.append(scope.expired())
    async with asyncio.timeout(10) as outer:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
        seen.append(outer.expired())
    return seen


async def queues():
    queue, seen = asyncio.Queue(2), []

    async def produce():
        for number in range(6):
            await queue.put(number)

    async def consume():
        for _ in range(6):
            seen.append(await queue.get())
            queue.task_done()

    await asyncio.gather(produce(), consume())
    await queue.join()
    with contextlib.suppress(asyncio.QueueEmpty):
        queue.get_nowait()
    priority = asyncio.PriorityQueue()
    for number in (3, 1, 2):
        priority.put_nowait(number)
    return [*seen, queue.qsize(), *[priority.get_nowait() for _ in range(3)]]


async def locks_are_first_come_first_served():
    lock, condition, order = asyncio.Lock(), asyncio.Condition(), []
    gates = [asyncio.Event() for _ in range(6)]

    async def take(number):
        await gates[number].wait()
        async with lock:
            order.append(number)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(take(number)) for number in range(6)]
    await lock.acquire()
    for gate in gates:
        gate.set()
        await asyncio.sleep(0.001)
    lock.release()
    await asyncio.gather(*tasks)

    async def wait(number):
        async with condition:
            await condition.wait()
            order.append(10 + number)

    waiting = []
    for number in range(4):
        waiting.append(asyncio.create_task(wait(number)))
        await asyncio.sleep(0.001)
    for _ in range(4):
        async with condition:
            condition.notify()
        await asyncio.sleep(0.001)
    await asyncio.gather(*waiting)
    return order


async def semaphores_and_barriers():
    semaphore, order = asyncio.Semaphore(2), []
    running = peak = 0

    async def work(number):
        nonlocal running, peak
        async with semaphore:
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.001)
            running -= 1

    await asyncio.gather(*[work(number) for number in range(7)])
    barrier = asyncio.Barrier(3)
    positions = await asyncio.gather(*[barrier.wait() for _ in range(3)])
    return [peak, running, sorted(positions), order]


async def call_soon_is_first_in_first_out():
    loop, order = asyncio.get_running_loop(), []
    for number in range(20):
        loop.call_soon(order.append, number)
    loop.call_soon(lambda: loop.call_soon(order.append, "nested"))
    cancelled = loop.call_soon(order.append, "cancelled")
    cancelled.cancel()
    loop.call_soon_threadsafe(order.append, "threadsafe")
    await asyncio.sleep(0.01)
    return order


async def done_callbacks_run_in_the_order_they_were_added():
    future, order = asyncio.get_running_loop().create_future(), []
    for number in range(10):
        future.add_done_callback(lambda _, number=number: order.append(number))
    future.set_result(None)
    await asyncio.sleep(0.01)
    return order


async def timers_by_time():
    loop, order = asyncio.get_running_loop(), []
    for number in (5, 3, 1, 4, 2):
        loop.call_later(number / 200, order.append, number)
    cancelled = loop.call_later(0.02, order.append, "cancelled")
    cancelled.cancel()
    await asyncio.sleep(0.06)
    return [order, cancelled.cancelled()]


async def shielding():
    log = []

    async def work():
        await asyncio.sleep(0.02)
        log.append("worked")
        return 7

    task = asyncio.create_task(work())
    try:
        await asyncio.wait_for(asyncio.shield(task), 0.001)
    except TimeoutError:
        log.append("timed out")
    log.append([task.cancelled(), await task])
    return log


async def gathering():
    async def fail():
        raise ValueError("no")

    answers = await asyncio.gather(asyncio.sleep(0, 1), fail(), return_exceptions=True)
    seen = [repr(answer) for answer in answers]
    try:
        await asyncio.gather(asyncio.sleep(0.01), fail())
    except ValueError as error:
        seen.append(name_of(error))
    done, pending = await asyncio.wait(
        [asyncio.create_task(asyncio.sleep(after)) for after in (0.001, 5)],
        return_when=asyncio.FIRST_COMPLETED,
    )
    for task in pending:
        task.cancel()
    return [*seen, len(done), len(pending)]


async def async_generators_are_closed():
    log = []

    async def generate(name):
        try:
            for number in range(3):
                yield number
        finally:
            await asyncio.sleep(0)
            log.append(name)

    async with contextlib.aclosing(generate("closed")) as numbers:
        async for _ in numbers:
            break
    numbers = [number async for number in generate("exhausted")]
    left = generate("left")
    await anext(left)
    del left
    await asyncio.sleep(0.01)
    return [*log, numbers]


async def a_closed_server_refuses_and_keeps_its_connections():
    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"before\n")
    seen = [(await reader.readline()).decode(), server.is_serving()]
    server.close()
    writer.write(b"after\n")
    seen += [(await reader.readline()).decode(), server.is_serving(), len(server.sockets)]
    try:
        await asyncio.open_connection(*address)
    except OSError as error:
        seen.append([type(error).__name__, error.errno])
    writer.close()
    await server.wait_closed()
    return seen


async def a_refused_connection_has_its_text():
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    seen = []
    for host in ("127.0.0.1", "localhost"):
        try:
            await asyncio.open_connection(host, port, family=socket.AF_INET)
        except OSError as error:
            seen.append(name_of(error).replace(str(port), "PORT"))
    return seen


async def address_in_use_has_its_text():
    def nothing(reader, writer):
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await asyncio.start_server(nothing, "127.0.0.1", port)
    except OSError as error:
        return [type(error).__name__, error.errno, str(error).replace(str(port), "PORT")]
    finally:
        server.close()


async def names_that_do_not_resolve():
    loop, seen = asyncio.get_running_loop(), []
    for host, options in (
        ("no-such-host.invalid", {}),
        ("not an address", {"flags": socket.AI_NUMERICHOST}),
        ("::1", {"family": socket.AF_INET}),
    ):
        try:
            await loop.getaddrinfo(host, 80, **options)
        except socket.gaierror as error:
            seen.append([type(error).__name__, error.errno in (-2, -3, -5, -9)])
    answers = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    return [*seen, [list(map(str, answer)) for answer in answers]]


async def socket_methods_of_the_loop():
    loop = asyncio.get_running_loop()
    server = socket.socket()
    server.setblocking(False)
    server.bind(("127.0.0.1", 0))
    server.listen()
    client = socket.socket()
    client.setblocking(False)
    _, (accepted, address) = await asyncio.gather(
        loop.sock_connect(client, server.getsockname()), loop.sock_accept(server)
    )

    async def send():
        await loop.sock_sendall(client, b"x" * 1_000_000 + b"end")
        client.shutdown(socket.SHUT_WR)

    sending = asyncio.create_task(send())
    total = 0
    while chunk := await loop.sock_recv(accepted, 100_000):
        total += len(chunk)
    await sending
    seen = [
        total,
        address == client.getsockname(),
        client.getpeername() == server.getsockname(),
        client.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM,
    ]
    for one in (server, client, accepted):
        one.close()
    return [*seen, client.fileno()]


async def misuse_of_a_socket():
    seen = []
    one = socket.socket()
    one.setblocking(False)
    for call in (
        lambda: one.recv(1),
        lambda: one.send(b"x"),
        one.getpeername,
        lambda: one.shutdown(socket.SHUT_WR),
        one.accept,
        lambda: one.bind(("192.0.2.1", 80)),
        lambda: one.bind(("127.0.0.1", 70_000)),
        lambda: one.settimeout(-1),
    ):
        try:
            call()
            seen.append("fine")
        except (OSError, OverflowError, ValueError) as error:
            seen.append([type(error).__name__, getattr(error, "errno", None)])
    one.close()
    for call in (lambda: one.recv(1), one.getsockname):
        try:
            call()
            seen.append("fine")
        except OSError as error:
            seen.append(error.errno)
    return seen


async def a_socketpair_carries_both_ways():
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        await loop.sock_sendall(left, b"ping")
        asked = await loop.sock_recv(right, 10)
        await loop.sock_sendall(right, asked + b"/pong")
        answer = await loop.sock_recv(left, 20)
        right.close()
        return [answer.decode(), (await loop.sock_recv(left, 1)).decode()]


async def readers_added_by_hand():
    loop, seen = asyncio.get_running_loop(), []
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    loop.add_reader(left, lambda: seen.append(left.recv(10).decode()))
    right.send(b"one")
    await asyncio.sleep(0.01)
    seen.append(loop.remove_reader(left))
    right.send(b"two")
    await asyncio.sleep(0.01)
    seen.append(loop.remove_reader(left))
    left.close()
    right.close()
    return seen


async def current_task_and_names():
    me = asyncio.current_task()
    child = asyncio.create_task(asyncio.sleep(0.01), name="child")
    listed = sorted(task.get_name() for task in asyncio.all_tasks() if task is not me)
    child.set_name("renamed")
    await child
    return [listed, child.get_name(), me in asyncio.all_tasks(), child in asyncio.all_tasks()]


async def context_variables_follow_tasks():
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")

    async def child():
        before = variable.get()
        variable.set("child")
        return before

    variable.set("parent")
    return [await asyncio.create_task(child()), variable.get()]


async def the_loop_refuses_to_run_inside_itself():
    loop, seen = asyncio.get_running_loop(), []
    coroutine = asyncio.sleep(0)
    for call in (loop.run_forever, lambda: asyncio.run(coroutine)):
        try:
            call()
        except RuntimeError as error:
            seen.append(str(error))
    coroutine.close()
    return [*seen, loop.is_running(), loop.is_closed()]
