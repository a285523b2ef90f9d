"""The server: the API and the event streams behind one port, over one store."""

import asyncio
import contextlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import uvicorn

from testops import engine
from testops.access.guard import Guard
from testops.access.records import Holder
from testops.api.application import create_api
from testops.api.auth_routes import AccessServices
from testops.api.auth_routes import routes as access_routes
from testops.api.oidc import OidcLogin
from testops.api.ports import ApiServices, Check
from testops.domain.access import Principal, Role
from testops.domain.errors import StoreUnavailable
from testops.domain.event import StoredEvent
from testops.sse_gateway.application import Gateway, Runs
from testops.sse_gateway.hub import Hub
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.requests import is_event_path
from testops.sse_gateway.server import Server, config_for, listener
from testops.sse_gateway.threads import Threads
from testops.storage.api_store import IdempotencyStore, ScheduleStore
from testops.storage.history import WorkspaceHistory
from testops.storage.measures import Measures, tell_failures
from testops.storage.migrate import SchemaState, state
from testops.storage.policies import PolicyStore
from testops.storage.snapshots import SnapshotStore
from testops.storage.waivers import WaiverStore
from testops.telemetry.clock import SystemClock
from testops.telemetry.http import MeasuredApp
from testops.telemetry.metrics import Metrics
from testops.warroom.certificate_keys import SigningKey
from testops.wiring.access import Access, access_over, local_operator
from testops.wiring.certificates import kept_key
from testops.wiring.planning import means
from testops.wiring.roles import Store, collector_of
from testops.wiring.versions import in_force

Scope = Any
Receive = Callable[[], Any]
Send = Callable[[Any], Any]
Application = Callable[[Scope, Receive, Send], Any]


OPERATIONS = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


class Served:
    """A server that can be run once; what it holds is closed when it ends."""

    def __init__(self, store: Store, environment: Mapping[str, str], *, with_api: bool) -> None:
        self.store = store
        self._environment = environment
        self.clock = SystemClock()
        self.access = access_over(store.database, store.settings.data, environment)
        self.metrics = Metrics(
            version=importlib.metadata.version("ryuzen-testops"),
            engine_version=engine.ENGINE_VERSION,
        )
        self._threads = Threads()
        limits = Limits()
        self._limits = limits
        hub = Hub(store.events, store.wakeups, self._threads, limits, self._measure_lag)
        guard: Guard = self.access.guard
        self.gateway: Gateway[Principal] = Gateway(
            hub, Runs(store.events, store.events), guard, self._threads
        )
        self.metrics.watch_gateway(self.gateway.hub.stats)
        tell_failures(store.database, self.metrics.database_failed)
        self.metrics.watch_runs(Measures(store.database).read)
        self._with_api = with_api
        self._api = self._build_api()

    def _measure_lag(self, event: StoredEvent) -> None:
        committed_at = datetime.fromisoformat(json.loads(event.body)["at"])
        self.metrics.event_read(lag_s=(self.clock.now() - committed_at).total_seconds())

    def _build_api(self) -> Application:
        store, access = self.store, self.access
        policies = PolicyStore(store.database)
        services = ApiServices(
            guard=access.guard,
            audit=access.store,
            runs=store.runs,
            snapshots=SnapshotStore(store.database),
            collector=collector_of(store),
            contents=store.blobs,
            history_of=lambda workspace: WorkspaceHistory(store.database, workspace),
            workspaces=store.workspaces,
            schedules=ScheduleStore(store.database),
            idempotency=IdempotencyStore(store.database),
            leases=store.leases,
            means=means(policies.called),
            policies=policies,
            waivers=WaiverStore(store.database),
            clock=self.clock,
            checks=self._checks,
            metrics=self._page,
            version=importlib.metadata.version("ryuzen-testops"),
            versions=in_force(),
            signing_key=self._signing_key,
        )
        app = create_api(services, more=[access_routes])
        app.state.access = AccessServices(
            access.guard, access.keys, access.sessions, access.store, access.settings, self.clock
        )
        # Without an issuer its library is not even imported.
        app.state.oidc = None if access.oidc is None else OidcLogin(access.oidc, self.clock)
        return MeasuredApp(app, self.metrics, self.clock)

    def _signing_key(self) -> SigningKey:
        """One machine draws its own; several that share a PostgreSQL must be given the same."""
        data, may_draw = self.store.settings.data, self.store.database.is_sqlite
        return kept_key(data, self._environment, may_draw=may_draw).key

    def _page(self) -> tuple[bytes, str]:
        media_type, body = self.metrics.page("application/openmetrics-text")
        return body, media_type

    def _checks(self) -> Sequence[Check]:
        if self.store.database.is_gone:
            # Whoever has it open goes on as if nothing were wrong, and nothing would be kept.
            return [Check("database", ok=False, detail="its file was removed; restart the server")]
        try:
            current = state(self.store.database) is SchemaState.CURRENT
            runners = [
                lease
                for lease in self.store.leases.all()
                if lease.executor.kind == "runner" and lease.alive
            ]
        except StoreUnavailable:
            return [Check("database", ok=False, detail="it does not answer")]
        return [
            Check("database", ok=True),
            Check("migrations", ok=current),
            # Without one runs wait, and nothing is lost.
            Check("runner", ok=bool(runners), detail=f"{len(runners)} alive", required=False),
        ]

    def login_path(self) -> str:
        """A link that logs the person at this terminal in, once, as who works here."""
        me = local_operator()
        holder = Holder(me.name, Role.MAINTAINER, None)
        return self.access.sessions.link(holder, by=me).path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_for_api(scope["path"]):
            await self._api(scope, receive, send)
        else:
            await self.gateway(scope, receive, send)

    def _is_for_api(self, path: str) -> bool:
        """A gateway alone answers for its health and numbers, and for nothing else of the API."""
        return path in OPERATIONS if not self._with_api else not is_event_path(path)

    def run(self, address: Address, ready: Callable[[int], None], beside: "Beside | None") -> None:
        """Serve until a signal says otherwise; `ready` is told the port that answers."""
        socket = listener(address.host, address.port, self._limits)
        port = int(socket.getsockname()[1])
        server = _Telling(config_for(self, lifespan="off"), self.gateway, lambda: ready(port))

        async def serve() -> None:
            async with beside() if beside is not None else contextlib.nullcontext():
                await server.serve(sockets=[socket])

        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(serve())
        finally:
            socket.close()
            self._threads.close()
            self.access.guard.close()


# What lives as long as the server does.
Beside = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class _Telling(Server):
    """Calls `ready` when the port is open and requests are answered."""

    def __init__(
        self, config: uvicorn.Config, gateway: Gateway[Any], ready: Callable[[], None]
    ) -> None:
        super().__init__(config, gateway)
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:  # type: ignore[explicit-override]
        await super().startup(sockets)
        self._ready()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


__all__ = ["Access", "Address", "Beside", "Served"]
