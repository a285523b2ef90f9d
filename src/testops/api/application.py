"""The HTTP application: every route behind the guard, every answer documented."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from testops.api import (
    artifacts,
    auth_routes,
    certificates,
    gates,
    judging,
    operations,
    pages,
    report_files,
    reports,
    runs,
    schedules,
    snapshot_reviews,
    snapshots,
    stages,
    suites,
    versions,
    waivers,
    workspaces,
)
from testops.api.answers import problems, tagged
from testops.api.contract import API_VERSION, DESCRIPTION, completed, text_of_document
from testops.api.limits import BODY_S_MAX, Bounded, Sealed
from testops.api.ports import ApiServices
from testops.api.problems import add_handlers
from testops.api.routing import GuardedRoute, router, unprivileged

_ROUTES = (
    # Before `runs`, whose paths are shorter.
    artifacts.routes,
    certificates.routes,
    reports.routes,
    runs.routes,
    suites.routes,
    workspaces.routes,
    stages.routes,
    # Before `snapshots`, whose identity would take their words.
    snapshot_reviews.routes,
    snapshots.routes,
    schedules.routes,
    report_files.routes,
    gates.routes,
    judging.routes,
    waivers.routes,
    operations.routes,
    versions.routes,
    pages.routes,
)

# The routers of neighbours that need state of their own (`app.state.access`) beside the services.
LOGIN = (auth_routes.routes,)


def create_api(
    services: ApiServices,
    *,
    more: Sequence[APIRouter] = (),
    body_s_max: float = BODY_S_MAX,
) -> FastAPI:
    """The application over `services`; `more` are routers of neighbours (login, keys).

    Every route must be a `GuardedRoute`: one that another class made is refused here, because
    nobody would ask who comes in by it.
    """
    app = _application(more)
    app.state.services = services
    add_handlers(app)
    app.add_middleware(Bounded, clock=services.clock, body_s_max=body_s_max)
    app.add_middleware(Sealed)
    return app


def contract(more: Sequence[APIRouter] = LOGIN) -> str:
    """The OpenAPI document, as it is checked in at `openapi/testops.v1.json`."""
    return text_of_document(_application(more).openapi())


def _application(more: Sequence[APIRouter]) -> FastAPI:
    app = FastAPI(
        title="Ryuzen TestOps",
        version=API_VERSION,
        description=DESCRIPTION,
        # Their pages load from a CDN; ours are in `pages`.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    for one in (*_ROUTES, _own_document(), *more):
        # Not `include_router`: it would hide the routes behind one of its own.
        app.router.routes += one.routes
    _require_guarded(app)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            app.openapi_schema = completed(document)
        return app.openapi_schema

    # The way that FastAPI documents.
    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _own_document() -> APIRouter:
    routes = router("pages")

    @routes.get(
        "/openapi.json",
        operation_id="getOpenApi",
        summary="This document",
        responses={**problems(), 200: {"description": "OpenAPI 3.1"}},
    )
    @unprivileged
    async def get_openapi_document(request: Request) -> Response:
        """As it is checked in at `openapi/testops.v1.json`."""
        return tagged(request, request.app.openapi())

    return routes


def _require_guarded(app: FastAPI) -> None:
    open_ones = [
        getattr(route, "path", repr(route))
        for route in app.routes
        if not isinstance(route, GuardedRoute)
    ]
    if open_ones:
        raise TypeError(f"nobody guards {', '.join(open_ones)}")
