"""Health, readiness, metrics and runners: what operators and their machines ask."""

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from testops.api.answers import answer, problem_doc, problems
from testops.api.routing import Admitted, Services, permits, router, unprivileged
from testops.api.schemas import Health, Readiness, RunnerList
from testops.domain.access import Permission

routes = router("operations")


@routes.get(
    "/healthz",
    operation_id="getHealth",
    summary="Whether this process answers",
    responses={200: {"model": Health}, 431: problem_doc(431), 500: problem_doc(500)},
)
@unprivileged
async def get_health(services: Services) -> Response:
    """Asks nothing of the database: a database that is down is no reason to start us anew."""
    return answer({"status": "ok", "version": services.version})


@routes.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Whether requests can be served",
    responses={
        200: {"model": Readiness},
        503: {"model": Readiness, "description": "Something that serving needs is not there"},
        431: problem_doc(431),
        500: problem_doc(500),
    },
)
@unprivileged
async def get_readiness(services: Services) -> Response:
    """Every check by name; what is told to anybody names no place and no secret."""
    checks = await run_in_threadpool(services.checks)
    ready = all(check.ok for check in checks if check.required)
    shown = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
    return answer({"ready": ready, "checks": shown}, 200 if ready else 503)


@routes.get(
    "/metrics",
    operation_id="getMetrics",
    summary="OpenMetrics",
    response_class=Response,
    responses={
        **problems(),
        200: {"description": "OpenMetrics text", "content": {"application/openmetrics-text": {}}},
    },
)
@permits(Permission.METRICS_READ)
async def get_metrics(services: Services) -> Response:
    """For Prometheus and what reads like it."""
    body, media_type = await run_in_threadpool(services.metrics)
    return Response(body, headers={"content-type": media_type})


@routes.get(
    "/v1/runners",
    operation_id="listRunners",
    summary="Who executes runs",
    responses={**problems(), 200: {"model": RunnerList}},
)
@permits(Permission.METRICS_READ)
async def list_runners(caller: Admitted) -> Response:
    """Every executor that has a lease, and for how long it has been silent."""
    leases = await run_in_threadpool(caller.services.leases.all)
    shown = [
        {
            "executor_id": lease.executor.executor_id,
            "kind": lease.executor.kind,
            "host": lease.executor.host,
            "pid": lease.executor.pid,
            "cores": lease.executor.cores,
            "version": lease.executor.version,
            "alive": lease.alive,
            "silent_ms": lease.silent_ms,
        }
        for lease in leases
    ]
    return answer({"runners": shown})
