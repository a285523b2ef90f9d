"""Programs that wait in select, poll and epoll, in threads and on the loop's own."""

import asyncio
import select
import selectors
import socket
import time


async def waits_in_threads():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)

    def by_select():
        return len(select.select([left], [], [], 10)[0])

    def by_poll():
        poll = select.poll()
        poll.register(left, select.POLLIN)
        return [mask for _, mask in poll.poll(10_000)]

    def by_epoll():
        with select.epoll() as epoll:
            epoll.register(left, select.EPOLLIN)
            return [mask for _, mask in epoll.poll(10)]

    def by_selectors():
        found = []
        for kind in (selectors.DefaultSelector, selectors.PollSelector, selectors.SelectSelector):
            with kind() as selector:
                selector.register(left, selectors.EVENT_READ, "data")
                found.append([(key.data, mask) for key, mask in selector.select(10)])
        return found

    waits = [asyncio.to_thread(work) for work in (by_select, by_poll, by_epoll, by_selectors)]
    asyncio.get_running_loop().call_later(3, right.send, b"x")
    started = time.monotonic()
    found = await asyncio.gather(*waits)
    return [found, round(time.monotonic() - started)]


async def times_out():
    left, _ = socket.socketpair()
    started = time.monotonic()
    poll = select.poll()
    poll.register(left, select.POLLIN)
    found = [select.select([left], [], [], 1.5), poll.poll(500), select.epoll().poll(2)]
    return [found, round(time.monotonic() - started, 3)]


async def blocks_the_loop_for_ever():
    left, _ = socket.socketpair()
    select.select([left], [], [])  # HERE


async def is_told_of_an_edge_once():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    epoll, seen = select.epoll(), []
    epoll.register(left, select.EPOLLIN | select.EPOLLET)
    right.send(b"a")
    await asyncio.sleep(0.1)
    seen += [len(epoll.poll(0)), len(epoll.poll(0))]
    left.recv(10)
    seen.append(len(epoll.poll(0)))
    right.send(b"b")
    await asyncio.sleep(0.1)
    seen.append(len(epoll.poll(0)))
    return seen
