"""`GET /v1/test-runs/{id}/events` and `GET /v1/events`: who may watch is asked, then watched.

Every refusal is an RFC 9457 problem, and comes before the stream. Once it flows nothing but the
stream can be told anything: see `streams`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, cast

from testops.access.asked import Asked, asked
from testops.access.refused import Refused
from testops.domain.errors import BadInput, StoreUnavailable
from testops.domain.event import LogHead
from testops.sse_gateway.asgi import (
    ABORT,
    Message,
    Problem,
    Receive,
    Scope,
    Send,
    header_list,
    send_nothing,
    send_problem,
)
from testops.sse_gateway.channels import OffLoop
from testops.sse_gateway.hub import Hub
from testops.sse_gateway.ports import EventLog, Guard, P, RunDirectory
from testops.sse_gateway.rechecks import Rechecks
from testops.sse_gateway.requests import Watch, is_event_path, query_of, runs_of, watch_of
from testops.sse_gateway.seats import Seat, Seats
from testops.sse_gateway.viewers import Stop, Viewer

log = logging.getLogger("testops.sse_gateway")

_UNAVAILABLE = "the store of this server does not answer"


@dataclass(frozen=True, slots=True)
class Runs:
    """Where runs are found: what the log has of one, and whose it is."""

    log: EventLog
    directory: RunDirectory

    def look_up(self, run_ids: Sequence[str]) -> Sequence[tuple[str | None, LogHead | None]]:
        """Workspace and head of each. Blocks."""
        return [(self.directory.workspace_of(one), self.log.head(one)) for one in run_ids]


@dataclass(frozen=True, slots=True)
class _Admitted(Generic[P]):
    principal: P
    watch: Watch
    # Everything is over and seen: there is nothing to stream.
    complete: bool


class Gateway(Generic[P]):
    """The ASGI application of the event streams."""

    def __init__(self, hub: Hub, runs: Runs, guard: Guard[P], off_loop: OffLoop) -> None:
        self.hub = hub
        self._runs = runs
        self._guard = guard
        self._off_loop = off_loop
        self.seats = Seats(hub.limits)
        self._rechecks = Rechecks(guard, off_loop, every_s=hub.limits.recheck_s)

    async def drain(self, *, timeout_s: float) -> int:
        """End every stream in good order; how many had to be cut."""
        return await self.hub.drain(timeout_s=timeout_s)

    async def close(self) -> None:
        await self._rechecks.close()
        await self.hub.close()
        self._off_loop.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admitted = await self._admit(scope)
            seat = None if admitted.complete else self._seat(admitted)
        except Refused as refused:
            await send_problem(send, _refusal(refused))
        except BadInput as error:
            await send_problem(send, _bad_input(error))
        except StoreUnavailable as error:
            log.warning("the stream %s could not be opened: %s", scope["path"][:200], error)
            await send_problem(send, Problem(503, _UNAVAILABLE, headers={"Retry-After": "5"}))
        except Exception:  # whatever a driver raises: the next try may succeed
            log.exception("the stream %s could not be opened", scope["path"][:200])
            await send_problem(send, Problem(503, _UNAVAILABLE, headers={"Retry-After": "5"}))

        else:
            if seat is None:
                await send_nothing(send)
                return
            try:
                await self._show(admitted, scope, receive, send)
            finally:
                self.seats.give_back(seat)

    # --- before the stream ----------------------------------------------------------------------

    async def _admit(self, scope: Scope) -> _Admitted[P]:
        request = _asked(scope)
        principal = await self._guard.admit(request)
        if not is_event_path(request.path):
            raise Refused(404, "Not found", "there is nothing at this address")
        if request.method != "GET":
            raise Refused(405, "Not allowed", "a stream can only be read", {"Allow": "GET"})
        query = query_of(scope.get("query_string", b""))
        runs = runs_of(request.path, query, runs_max=self.hub.limits.runs_per_stream_max)
        if not runs:
            raise _no_such_run(request.path.split("/")[3][:40])
        watch = watch_of(
            request.path,
            query,
            runs,
            last_event_id=_header(scope, b"last-event-id"),
            accept=_header(scope, b"accept"),
        )
        heads = await self._permitted(principal, request, runs)
        if self.hub.draining:
            raise Refused(503, "Restarting", "this server is going", {"Retry-After": "3"})
        complete = all(
            head.ended and place == head.last_seq
            for head, place in zip(heads, watch.places.values(), strict=True)
        )
        return _Admitted(principal, watch, complete)

    async def _permitted(
        self, principal: P, request: Asked, runs: Sequence[str]
    ) -> Sequence[LogHead]:
        """The heads of `runs`, all of which exist and may be seen."""
        found = await self._off_loop(lambda: self._runs.look_up(runs))
        heads = []
        for run_id, (workspace, head) in zip(runs, found, strict=True):
            if workspace is None or head is None:
                raise _no_such_run(run_id)
            await self._guard.permit(principal, request, run_id=run_id, workspace=workspace)
            heads.append(head)
        return heads

    def _seat(self, admitted: _Admitted[P]) -> Seat:
        return self.seats.take(admitted.principal.id, tuple(admitted.watch.places))

    # --- the stream -----------------------------------------------------------------------------

    async def _show(
        self, admitted: _Admitted[P], scope: Scope, receive: Receive, send: Send
    ) -> None:
        viewer = admitted.watch.viewer()
        with (
            self._rechecks.of(viewer, admitted.principal),
            self.hub.viewing(viewer, cut=_cut(scope)) as pieces,
        ):
            await send(_stream_start(admitted.watch))
            leaving = asyncio.create_task(_until_gone(viewer, receive), name="sse-leaving")
            try:
                await _write(viewer, pieces, send)
            finally:
                leaving.cancel()
        if viewer.stop not in (Stop.GONE, Stop.CUT):
            await send({"type": "http.response.body"})


async def _write(viewer: Viewer, pieces: AsyncGenerator[bytes], send: Send) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if piece:
                    viewer.write_begins(loop.time())
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    viewer.write_ended(loop.time(), len(piece))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if viewer.stop is not Stop.CUT or task is None:
            raise
        task.uncancel()  # it was ours: the connection is dropped by the server
    except Exception:  # whatever a driver raises: the viewer comes back, and is told then
        log.warning("a stream was broken off, because its log could not be read", exc_info=True)


async def _until_gone(viewer: Viewer, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    viewer.stop_for(Stop.GONE)


def _cut(scope: Scope) -> Callable[[], None]:
    """What ends a write that does not end: the server's own way, or the end of the task."""
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        return cast("Callable[[], None]", abort["call"])
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        task.cancel()

    return cancel


def _stream_start(watch: Watch) -> Message:
    headers = {
        "content-type": watch.encoding.value,
        # A proxy that collects the answer before it passes it on would pass on nothing.
        "x-accel-buffering": "no",
    }
    return {"type": "http.response.start", "status": 200, "headers": header_list(headers)}


def _asked(scope: Scope) -> Asked:
    client = scope.get("client")
    return asked(
        scope["method"],
        scope["path"],
        scope["headers"],
        client[0] if client else "",
        query=scope.get("query_string", b"").decode("latin-1"),
    )


def _header(scope: Scope, wanted: bytes) -> str:
    """The last header of that name; empty when there is none."""
    values = [value for name, value in scope["headers"] if name.lower() == wanted]
    return values[-1].decode("latin-1") if values else ""


def _no_such_run(run_id: str) -> Refused:
    # The words of the guard for a run of a foreign workspace: nobody can tell the two apart.
    return Refused(404, "Not found", f"there is no run {run_id}")


def _refusal(refused: Refused) -> Problem:
    return Problem(refused.status, refused.detail, headers=refused.headers)


def _bad_input(error: BadInput) -> Problem:
    document = "header" if error.where == "Last-Event-ID" else "query"
    entry = {"document": document, "pointer": f"/{error.where}", "detail": error.problem}
    return Problem(400, str(error), [entry | ({"fix": error.fix} if error.fix else {})])


async def _live(receive: Receive, send: Send) -> None:
    """Nothing is opened before the first viewer, and `server` ends the streams."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
