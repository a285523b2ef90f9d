"""Bugs of libraries that speak to a server: the server is a small one in the program itself."""

from __future__ import annotations

from catalogue import Bug, Side

IDNA = "idna==3.10"
TYPING = "typing_extensions==4.15.0"
HTTP = ("h11==0.16.0", "anyio==4.14.2", IDNA, TYPING)
ASYNC_TIMEOUT = "async-timeout==5.0.1"
AIOHTTP_3_10 = (
    "aiohappyeyeballs==2.4.3",
    "aiosignal==1.3.1",
    "attrs==24.2.0",
    "frozenlist==1.4.1",
    "multidict==6.1.0",
    "propcache==0.2.0",
    "yarl==1.15.2",
    IDNA,
)
AIOHTTP_3_11 = (*[pin for pin in AIOHTTP_3_10 if not pin.startswith("yarl")], "yarl==1.18.3")
AIOHTTP_3_14 = (
    "aiohappyeyeballs==2.6.1",
    "aiosignal==1.4.0",
    "attrs==25.3.0",
    "frozenlist==1.7.0",
    "multidict==6.6.4",
    "propcache==0.3.2",
    "yarl==1.22.0",
    IDNA,
    TYPING,
)

BUGS = [
    Bug(
        id="httpcore-slots",
        library="httpcore 1.0.9",
        issue="encode/httpcore#1093",
        cause=(
            "A request that is cancelled after the pool gave it a new connection and before it has "
            "begun to connect leaves that connection in the pool, neither open nor closed, for "
            "ever. What must meet: a cancellation in the one or two steps between the two, and "
            "that once for every slot. No httpcore has the fix; its fork httpcore2 has."
        ),
        program="network/httpcore_pool_slots.py",
        buggy=Side(("httpcore==1.0.9", "certifi==2025.8.3", *HTTP)),
        fixed=Side(("httpcore2==2.16.2", "truststore==0.10.4", *HTTP)),
        expects=("deadlock",),
    ),
    Bug(
        id="httpcore-requests",
        library="httpcore 1.0.2",
        issue="encode/httpcore#830",
        cause=(
            "A request that is cancelled while the pool looks for a connection stays in the list "
            "of requests, and the connection that it got serves nobody any more. What must meet: a "
            "cancellation in the first steps of a request, twice. The twin is httpcore2, because "
            "1.0.3, which fixed this, has the bug of the entry above."
        ),
        program="network/httpcore_pool_slots.py",
        buggy=Side(("httpcore==1.0.2", "certifi==2025.8.3", "h11==0.14.0", *HTTP[1:])),
        fixed=Side(("httpcore2==2.16.2", "truststore==0.10.4", *HTTP)),
        expects=("deadlock",),
    ),
    Bug(
        id="redis-shielded",
        library="redis-py 4.5.4",
        issue="redis/redis-py#2665",
        cause=(
            "The first fix of the bug below shields a command from its cancellation: it runs on "
            "when its caller has gone, and fails unseen when the client is closed. What must meet: "
            "a timeout before the answer, shortly before the client is closed."
        ),
        program="network/redis_off_by_one.py",
        buggy=Side(("redis==4.5.4", ASYNC_TIMEOUT)),
        fixed=Side(("redis==4.5.5", ASYNC_TIMEOUT)),
        expects=("exception",),
        symptom="Connection closed by server",
    ),
    Bug(
        id="redis-off-by-one",
        library="redis-py 4.5.3",
        issue="redis/redis-py#2665",
        cause=(
            "A command that is cancelled while it waits for its answer gives its connection back "
            "to the pool, and the next command reads the old answer. What must meet: a timeout "
            "before the answer, and a next command of another key before it as well."
        ),
        program="network/redis_off_by_one.py",
        buggy=Side(("redis==4.5.3", ASYNC_TIMEOUT)),
        fixed=Side(("redis==4.5.5", ASYNC_TIMEOUT)),
        expects=("exception",),
        symptom="value of",
    ),
    Bug(
        id="redis-blocking-pool",
        library="redis-py 5.0.1, blocking pool",
        issue="redis/redis-py#3056",
        cause=(
            "The pool connects while it holds its own condition; when that fails it releases the "
            "connection, which waits for the condition. What must meet: a server that hangs up on "
            "a new connection before the handshake is over. No cancellation is needed."
        ),
        program="network/redis_blocking_pool.py",
        buggy=Side(("redis==5.0.1", ASYNC_TIMEOUT)),
        fixed=Side(("redis==5.0.2", ASYNC_TIMEOUT)),
        expects=("deadlock",),
    ),
    Bug(
        id="aiohttp-waiters",
        library="aiohttp 3.10.10, connector",
        issue="aio-libs/aiohttp#9670",
        cause=(
            "A connection that becomes free wakes one waiter. When that waiter's timeout expires "
            "before it has run, nobody else is woken, and while anybody waits all who come later "
            "wait too. What must meet, in one or two steps: a connection that becomes free and "
            "the timeout of the first waiter; here one timeout makes it free and the next one, a "
            "microsecond later, is the waiter's."
        ),
        program="network/aiohttp_waiters.py",
        buggy=Side(("aiohttp==3.10.10", *AIOHTTP_3_10)),
        fixed=Side(("aiohttp==3.10.11", *AIOHTTP_3_10)),
        expects=("deadlock",),
    ),
    Bug(
        id="aiohttp-last-waiter",
        library="aiohttp 3.14.5, connector",
        issue="aio-libs/aiohttp#9670",
        cause=(
            "The fix is not complete: since 3.10.11 the next request heals it, but who waits when "
            "none comes waits for ever with the connection free. The same must meet. No version "
            "has that fix: the twin is the program in which nobody gives up."
        ),
        program="network/aiohttp_waiters.py",
        kernel="nobody_comes_after",
        buggy=Side(("aiohttp==3.14.5", *AIOHTTP_3_14)),
        fixed=Side(("aiohttp==3.14.5", *AIOHTTP_3_14), kernel="nobody_gives_up"),
        expects=("deadlock",),
    ),
    Bug(
        id="aiohttp-paused",
        library="aiohttp 3.11.10",
        issue="aio-libs/aiohttp#10169",
        cause=(
            "The last part of an answer may fill the buffer so that reading is paused, and end the "
            "answer at once: the connection is back in the pool, paused, and whoever gets it waits "
            "for an answer that nobody reads. What must meet: a last part that arrives in one "
            "piece with much before it while the reader is elsewhere, and another request before "
            "the reader goes on. No cancellation is needed."
        ),
        program="network/aiohttp_paused.py",
        buggy=Side(("aiohttp==3.11.10", *AIOHTTP_3_11)),
        fixed=Side(("aiohttp==3.11.11", *AIOHTTP_3_11)),
        expects=("deadlock",),
    ),
    Bug(
        id="aiohttp-poisoned",
        library="aiohttp 3.14.1",
        issue="aio-libs/aiohttp#12953",
        cause=(
            "Whoever reads an answer that has arrived whole starts the read timeout again, of a "
            "connection that is back in the pool; it expires there, and the next request gets the "
            "error. What must meet: a pause between requests that is longer than that timeout. No "
            "cancellation is needed."
        ),
        program="network/aiohttp_poisoned.py",
        buggy=Side(("aiohttp==3.14.1", *AIOHTTP_3_14)),
        fixed=Side(("aiohttp==3.14.2", *AIOHTTP_3_14)),
        expects=("exception",),
        symptom="SocketTimeoutError",
    ),
    Bug(
        id="anyio-close",
        library="anyio 4.14.1, SocketStream",
        issue="agronholm/anyio#1250",
        cause=(
            "aclose() closes the transport, gives way once and aborts it. When what was left in "
            "the buffer has gone in between, the transport has no loop any more and the abort "
            "fails. What must meet: a stream that is closed with bytes left (a send that timed "
            "out), and the peer making room for the last of them in that one step."
        ),
        program="network/anyio_close.py",
        buggy=Side(("anyio==4.14.1", IDNA, TYPING)),
        fixed=Side(("anyio==4.16.0", IDNA, "typing_extensions==4.16.0")),
        expects=("exception",),
        symptom="has no attribute 'call_soon'",
    ),
    Bug(
        id="nats-flusher",
        library="nats-py 2.9.0",
        issue="nats-io/nats.py#624",
        cause=(
            "The flusher sets the result of the publication that waits for it, which fails when "
            "that one has given up, and the flusher is gone. What must meet: a publication that "
            "times out while the broker does not read. In 3.12.1 and 3.13.0 writelines() does not "
            "pause the protocol (python/cpython#136234), so that nobody waits there."
        ),
        program="network/nats_flusher.py",
        buggy=Side(("nats-py==2.9.0",), ("3.11",)),
        fixed=Side(("nats-py==2.10.0",), ("3.11",)),
        expects=("exception",),
        symptom="AssertionError",
    ),
    Bug(
        id="websockets-ping",
        library="websockets 14.1",
        issue="python-websockets/websockets#1566",
        cause=(
            "A pong sets the result of the ping that waits for it, which fails when that wait was "
            "cancelled, and the connection is closed with an error. What must meet: a message that "
            "arrives between a ping and its pong."
        ),
        program="network/websockets_ping.py",
        buggy=Side(("websockets==14.1",)),
        fixed=Side(("websockets==14.2",)),
        expects=("exception",),
        symptom="ConnectionClosedError",
    ),
    Bug(
        id="asyncio-server-close",
        library="asyncio.Server of CPython 3.12.1",
        issue="python/cpython#109564",
        cause=(
            "A connection is accepted in one step and gets its transport in the next; a server "
            "that is closed between the two trips over an assertion, and the client is neither "
            "served nor cut off. What must meet: close() in the one step after an accept. The "
            "twin is the program in which the server is closed after the clients have gone."
        ),
        program="network/asyncio_server_close.py",
        buggy=Side(pythons=("3.12.1", "3.11.7", "3.13.0")),
        fixed=Side(pythons=("3.12.1", "3.11.7", "3.13.0"), kernel="closed_afterwards"),
        expects=("deadlock",),
        symptom="waits for StreamReader",
    ),
]
