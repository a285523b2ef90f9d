"""What a runner does beside executing: fires schedules, and tidies up about once an hour."""

import logging
from collections.abc import Callable, Mapping

from testops.access.records import ms_of
from testops.access.sessions import KEPT_AFTER_END_S
from testops.domain.errors import BadInput
from testops.domain.run_view import NewRun
from testops.domain.schedule import Schedule
from testops.runner.asking import Place, run_due
from testops.runner.planning import Means
from testops.storage.access import forget_ended
from testops.storage.api_store import due_schedules
from testops.storage.retention import Policy, Retention
from testops.telemetry.clock import Clock
from testops.wiring.roles import Store

log = logging.getLogger("testops.duties")

TIDY_EVERY_S = 3600.0


def schedules(store: Store, means: Means) -> Callable[[], None]:
    """Creates the runs of schedules that are due; several runners create each once."""

    def fire() -> None:
        for fired in due_schedules(store.database, store.runs, plan_due):
            said = fired.firing.problem or f"run {fired.firing.run_id}"
            log.info("schedule %s was due: %s", fired.schedule.name, said)

    def plan_due(schedule: Schedule, due_at: str) -> NewRun:
        return run_due(schedule, due_at, place_called, means)

    def place_called(name: str) -> Place:
        found = store.workspaces.get(name)
        if found is None:
            raise BadInput(f"there is no workspace {name}", where="workspace")
        return Place(
            name=found.name,
            root=store.workspaces.root_of(found),
            is_own=found.kind == "path",
            allow_commands=found.allow_commands,
        )

    return fire


def tidying(store: Store, policy: Policy, clock: Clock) -> Callable[[], None]:
    """Removes what nobody keeps, about once an hour: runs (`storage.retention`), and sessions."""
    settings = store.settings
    retention = Retention(
        store.database, settings.data, store.submitter.forget, shelf=settings.artifacts
    )
    last_s = clock.elapsed_s()

    def tidy() -> None:
        nonlocal last_s
        if clock.elapsed_s() - last_s < TIDY_EVERY_S:
            return
        last_s = clock.elapsed_s()
        freed = retention.collect(policy, tell=lambda _said: None)
        before_ms = ms_of(clock.now()) - KEPT_AFTER_END_S * 1000
        forget_ended(store.database, before_ms=before_ms)
        log.info("retention removed %d runs, %d bytes", len(freed.runs), freed.bytes_freed)

    return tidy


def traced(
    store: Store, environment: Mapping[str, str], version: str
) -> Callable[[str, int], None]:
    """Sends each attempt that ends here to the collector that the environment names, if any."""
    from testops.storage.spans import span_of
    from testops.telemetry.traces import NoTraces, open_traces

    traces = open_traces(environment, version=version)
    if isinstance(traces, NoTraces):
        return lambda _run_id, _attempt: None

    def ended(run_id: str, number: int) -> None:
        span = span_of(store.database, run_id, number)
        if span is not None:
            traces.tell(span)

    return ended
