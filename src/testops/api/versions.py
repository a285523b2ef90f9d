"""`/v1/version-matrix`: which versions were qualified together, and which ones run here."""

from starlette.requests import Request
from starlette.responses import Response

from testops.api.answers import problems, tagged
from testops.api.routing import Services, permits, router
from testops.api.schemas import Wire
from testops.domain.access import Permission

routes = router("operations")


class VersionsActive(Wire):
    """What runs here."""

    testops: str
    ui: str | None
    runner: str
    engine: str
    bundle_schema: int
    suite_schema: int
    python: str


class VersionRow(Wire):
    """One row: everything in it was qualified together; `qualified_by` null: not released."""

    testops: str
    ui: list[str]
    runner: list[str]
    api: str
    database: str
    engine: str
    bundle_schema: list[int]
    suite_schema: list[int]
    python: list[str]
    baselines: str
    qualified_by: str | None


class VersionMatrix(Wire):
    """The matrix; `missing` is the row that it would need, where what is active is in none."""

    rows: list[VersionRow]
    active: VersionsActive
    qualified: bool
    row: VersionRow | None
    missing: str | None


@routes.get(
    "/v1/version-matrix",
    operation_id="getVersionMatrix",
    summary="Which versions were qualified together",
    responses={**problems(), 200: {"model": VersionMatrix}},
)
@permits(Permission.METRICS_READ)
async def get_version_matrix(request: Request, services: Services) -> Response:
    """As it stands in VERSIONING_AND_RELEASE_NOTES.md of this installation, newest row last.

    A dashboard says its version in the header `TestOps-UI: X.Y`, and is answered 409 by every
    other route unless a row has it together with this server.
    """
    return tagged(request, services.versions.to_json())
