"""Counts every HTTP request of an ASGI application, whatever it is written in.

The route is the template that the application matched, which it leaves in the request's scope.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from testops.telemetry.clock import Clock
from testops.telemetry.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class MeasuredApp:
    """`app`, with each answer counted when it begins: a stream is not a slow request."""

    def __init__(self, app: App, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock.elapsed_s()
        answered = False

        async def counted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                self._count(scope, int(message["status"]), begun)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            if not answered:
                # It raised, or its client left before an answer: the server's 500, or nothing.
                self._count(scope, 500, begun)

    def _count(self, scope: Scope, status: int, begun: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        self._metrics.request_answered(
            method=str(scope["method"]),
            route=route if isinstance(route, str) else None,
            status=status,
            seconds=self._clock.elapsed_s() - begun,
        )
