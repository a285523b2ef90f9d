"""The durable queue: DBOS Transact behind four calls of ours, so that another can take its place.

What an attempt is and how far it came stand in our tables; DBOS keeps that it is to be executed, in
which order, and by whom. An attempt is a workflow without steps: executed again after a crash, it
takes the run anew and goes on at the first stage that has no result (docs/decisions/0010).

DBOS's open part does not give the work of a dead executor to another by itself. `recover` and
`adopt_orphans` do, by three private names of it that a contract test holds to their promise.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from testops.domain.execution import ChunkSubmission, Submission
from testops.storage.database import Database, answering

if TYPE_CHECKING:
    import dbos

APPLICATION = "testops"
# Kept by hand: the default, a hash of the source, would strand every open run at each upgrade.
FLOW_VERSION = "flow-1"
RUNS, CHUNKS = "runs", "chunks"
POLL_S = 0.25
# DBOS's own limit. Ours is on the executions of a stage, which know what was executed.
_ATTEMPTS_MAX = 1_000_000

Handler = Callable[[str, int], None]
ChunkHandler = Callable[[str, int, int], None]


class Submitter:
    """Puts attempts into the queue, within the transaction of whoever created them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @functools.cached_property
    def _client(self) -> "dbos.DBOSClient":
        # Imported late: it is half of what a server imports, and a start should not wait for it.
        import dbos

        return dbos.DBOSClient(
            system_database_engine=self._database.engine,
            serializer=dbos.DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
            lazy=True,
        )

    def warm(self) -> None:
        """Be ready to submit; otherwise the first submission waits for it."""
        assert self._client is not None

    def submit(self, connection: sa.Connection, submission: Submission) -> None:
        """Queue an attempt; the transaction decides whether it happened."""
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": "run",
                "queue_name": RUNS,
                "workflow_id": f"{submission.run_id}-{submission.attempt}",
                "priority": submission.rank,
                "app_version": FLOW_VERSION,
            },
            submission.run_id,
            submission.attempt,
        )

    def submit_chunk(self, connection: sa.Connection, submission: ChunkSubmission) -> None:
        """Queue some seeds of an attempt, for whichever runner is free."""
        self._client.enqueue_in_transaction(
            connection,
            {
                "workflow_name": "chunk",
                "queue_name": CHUNKS,
                "workflow_id": f"{submission.run_id}-{submission.attempt}-{submission.number}",
                "priority": submission.rank,
                "app_version": FLOW_VERSION,
            },
            submission.run_id,
            submission.attempt,
            submission.number,
        )

    def forget(self, workflow_ids: Sequence[str]) -> None:
        """Remove every trace of attempts and chunks that have ended; unknown ones are no error."""
        self._client.delete_workflows(list(workflow_ids))


class DurableQueue:
    """Executes what is queued, in this process. There can be one of it in a process.

    `runs_everywhere` is a limit on the runs of all runners together.
    """

    def __init__(
        self, database: Database, executor_id: str, runs_everywhere: int | None = None
    ) -> None:
        self._runs_everywhere = runs_everywhere
        self._database = database
        self._executor_id = executor_id
        self._suspects: frozenset[str] = frozenset()

    def start(
        self, run: Handler, chunk: ChunkHandler, *, runs_at_once: int, chunks_at_once: int
    ) -> None:
        """Begin to take attempts and chunks; each is executed in a thread of its own."""
        import dbos

        url = self._database.engine.url
        dbos.DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": url.render_as_string(hide_password=False),
                "system_database_engine": self._database.engine,
                "executor_id": self._executor_id,
                "application_version": FLOW_VERSION,
                "serializer": dbos.DBOSPortableJSONSerializer(),
                "run_migrations": self._database.is_sqlite,
                "use_listen_notify": False,
                "notification_listener_polling_interval_sec": 1.0,
                "log_level": "WARNING",
            }
        )
        dbos.DBOS.workflow(name="run", max_recovery_attempts=_ATTEMPTS_MAX)(_entered(run))
        dbos.DBOS.workflow(name="chunk", max_recovery_attempts=_ATTEMPTS_MAX)(_entered(chunk))
        dbos.DBOS.launch()
        for name, at_once, everywhere in (
            (RUNS, runs_at_once, self._runs_everywhere),
            (CHUNKS, chunks_at_once, None),
        ):
            dbos.DBOS.register_queue(
                name,
                worker_concurrency=at_once,
                global_concurrency=everywhere,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )

    def stop(self) -> None:
        """Take nothing more; what is being executed stays in the queue for another."""
        import dbos

        dbos.DBOS.destroy(workflow_completion_timeout_sec=0)

    def recover(self, executor_ids: Sequence[str]) -> int:
        """Queue again what the dead `executor_ids` were executing; how much that was.

        Harmless when somebody else does the same at the same time: each is queued once.
        """
        from dbos._dbos import _get_dbos_instance

        # Not the public resume_workflow: it also revives what was cancelled.
        return len(_get_dbos_instance()._recover_pending_workflows(list(executor_ids)))

    def adopt_orphans(self) -> int:
        """Queue again what is ours by the table and that no thread of ours executes.

        A thread of DBOS that dies while the database is away leaves such a row, which nobody else
        would ever touch. It must be seen in two calls, or it may just be on its way to a thread.
        """
        from dbos._dbos import _get_dbos_instance
        from dbos._utils import INTERNAL_QUEUE_NAME

        instance = _get_dbos_instance()
        pending = instance._sys_db.get_pending_workflows(self._executor_id, FLOW_VERSION)
        active = frozenset(instance._active_workflows_set.activeList())
        idle = frozenset(one.workflow_id for one in pending) - active
        orphans, self._suspects = sorted(idle & self._suspects), idle
        for workflow_id in orphans:
            instance._sys_db.reenqueue_for_recovery(
                workflow_id, [self._executor_id], INTERNAL_QUEUE_NAME
            )
        return len(orphans)

    def ended(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        """Those of `workflow_ids` that the queue holds for done, or does not know at all."""
        import dbos

        with answering():
            known = dbos.DBOS.list_workflows(
                workflow_ids=list(workflow_ids), load_input=False, load_output=False
            )
        waiting = {one.workflow_id for one in known if one.status in _WAITING}
        return [one for one in workflow_ids if one not in waiting]


_WAITING = ("ENQUEUED", "PENDING", "DELAYED")


def _entered(handler: Callable[..., None]) -> Callable[..., None]:
    """`handler` as DBOS wants a workflow: a function with a name."""

    def workflow(*arguments: Any) -> None:
        handler(*arguments)

    return workflow
