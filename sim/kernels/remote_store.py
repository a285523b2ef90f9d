"""The platform's store on a host of its own, and the ports of a runner that call it from afar.

It stands where PostgreSQL and the durable queue stand in production. A call is one question over
TCP: when no answer comes, it may have been carried out or not, as with a database.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import pickle
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from typing_extensions import override

from sim.kernels.messages import PORT, Message, answer_questions
from testops.domain.errors import StoreUnavailable
from testops.domain.execution import AlreadyRecorded, Fenced, Submission, Taken
from testops.domain.run_view import RunView
from testops.storage.database import Database
from testops.storage.executions import ExecutionsStore
from testops.storage.leases import LeaseStore
from testops.storage.runs import RunsStore

_POLL_S = 0.25
_ANSWERS = (Fenced, AlreadyRecorded)

job = sa.Table(
    "kernel_job",
    sa.MetaData(),
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("rank", sa.BigInteger, nullable=False),
    # waiting, taken or done
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("executor_id", sa.Text),
)


class JobTable:
    """A durable queue in a table: what is to be executed, and in whose hands it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, connection: sa.Connection, one: Submission) -> None:
        values = {"run_id": one.run_id, "attempt": one.attempt, "rank": one.rank}
        connection.execute(sa.insert(job).values(**values, state="waiting"))

    def claim(self, executor_id: str) -> tuple[str, int] | None:
        first = (
            sa.select(job.c.run_id, job.c.attempt)
            .where(job.c.state == "waiting")
            .order_by(job.c.rank, job.c.run_id)
            .limit(1)
        )
        with self._database.write() as connection:
            row = connection.execute(first).first()
            if row is None:
                return None
            self._set(connection, [(row.run_id, row.attempt)], "taken", executor_id)
        return row.run_id, row.attempt

    def done(self, run_id: str, number: int, executor_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(job)
                .where(
                    job.c.run_id == run_id,
                    job.c.attempt == number,
                    job.c.executor_id == executor_id,
                )
                .values(state="done")
            )

    def held_by(self, executor_ids: Sequence[str]) -> list[tuple[str, int]]:
        wanted = sa.select(job.c.run_id, job.c.attempt).where(
            job.c.state == "taken", job.c.executor_id.in_(executor_ids)
        )
        with self._database.read() as connection:
            return [(row.run_id, row.attempt) for row in connection.execute(wanted)]

    def put_back(self, held: Sequence[tuple[str, int]], executor_ids: Sequence[str]) -> int:
        """Queue again what of `held` is still in those hands; how much that was."""
        with self._database.write() as connection:
            return sum(
                connection.execute(
                    sa.update(job)
                    .where(
                        job.c.run_id == run_id,
                        job.c.attempt == number,
                        job.c.state == "taken",
                        job.c.executor_id.in_(executor_ids),
                    )
                    .values(state="waiting", executor_id=None)
                ).rowcount
                for run_id, number in held
            )

    def ended(self, names: Sequence[str]) -> list[str]:
        with self._database.read() as connection:
            rows = connection.execute(sa.select(job).where(job.c.state != "done")).all()
        waiting = [f"{row.run_id}-{row.attempt}" for row in rows]
        return [name for name in names if name not in waiting]

    def _set(
        self, connection: sa.Connection, ones: Sequence[tuple[str, int]], state: str, who: str
    ) -> None:
        for run_id, number in ones:
            connection.execute(
                sa.update(job)
                .where(job.c.run_id == run_id, job.c.attempt == number)
                .values(state=state, executor_id=who)
            )


class StoreServer:
    """Answers calls, each in a thread; `seen` is told each that was carried out."""

    def __init__(self, database: Database, seen: Callable[[str, Any, Any], None]) -> None:
        jobs = JobTable(database)
        self._seen = seen
        self._targets: dict[str, object] = {
            "runs": RunsStore(database, jobs.submit),
            "executions": ExecutionsStore(database),
            "leases": LeaseStore(database),
            "jobs": jobs,
        }

    async def serve(self) -> None:
        await answer_questions(self._answer)

    async def _answer(self, question: Message) -> Message:
        target, _, method = question["kind"].partition(".")
        call = getattr(self._targets[target], method)
        arguments = _unpacked(question["packed"])
        try:
            value = await asyncio.to_thread(call, *arguments)
        except _ANSWERS as error:
            return {"raised": type(error).__name__, "about": str(error)}
        except StoreUnavailable as error:
            return {"away": str(error)}
        self._seen(question["kind"], arguments, value)
        return {"packed": _packed(value)}


class _Packer(pickle.Pickler):
    """Spells what is taken alike in every process: a set of strings has an order of its own."""

    @override
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Taken):
            return _taken, (value.run, value.fence, *sorted(value.recorded))
        return NotImplemented


def _taken(run: RunView, fence: int, *recorded: str) -> Taken:
    return Taken(run, fence, frozenset(recorded))


def _packed(value: Any) -> str:
    packed = io.BytesIO()
    _Packer(packed).dump(value)
    return base64.b64encode(packed.getvalue()).decode()


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301 - from a host of the same world


class Remote:
    """`StoreServer` from afar, by blocking calls: each thread has a connection of its own."""

    def __init__(self, host: str, *, timeout_s: float) -> None:
        self._host = host
        self._timeout_s = timeout_s
        self._own = threading.local()

    def call(self, kind: str, *arguments: Any) -> Any:
        """What the store answers; `StoreUnavailable` when it is not heard."""
        question = {"kind": kind, "packed": _packed(arguments)}
        try:
            answer = self._exchange(json.dumps(question).encode() + b"\n")
        except (OSError, ValueError) as error:
            self._drop()
            raise StoreUnavailable(f"the store was not heard: {error!r}") from error
        if "away" in answer:
            raise StoreUnavailable(answer["away"])
        if "raised" in answer:
            raise next(one for one in _ANSWERS if one.__name__ == answer["raised"])(answer["about"])
        return _unpacked(answer["packed"])

    def _exchange(self, line: bytes) -> Message:
        connection: socket.socket | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = socket.create_connection((self._host, PORT), timeout=self._timeout_s)
            self._own.connection = connection
        connection.sendall(line)
        heard = b""
        while not heard.endswith(b"\n"):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("the store closed the connection")
            heard += piece
        answer: Message = json.loads(heard)
        return answer

    def _drop(self) -> None:
        connection: socket.socket | None = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None


class RemotePort:
    """Any port whose methods are calls of one target of the store."""

    def __init__(self, remote: Remote, target: str) -> None:
        self._remote = remote
        self._target = target

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *arguments: self._remote.call(f"{self._target}.{method}", *arguments)


class RemoteQueue:
    """`runner.worker_ports.Queue` over the job table; each attempt in a thread, as DBOS does."""

    def __init__(self, remote: Remote, executor_id: str) -> None:
        self._jobs = RemotePort(remote, "jobs")
        self._me = executor_id
        self._active: list[tuple[str, int]] = []
        self._suspects: list[tuple[str, int]] = []
        self._stop = threading.Event()

    def start(
        self,
        run: Callable[[str, int], None],
        chunk: Callable[[str, int, int], None],
        *,
        runs_at_once: int,
        chunks_at_once: int,
    ) -> None:
        del chunk, chunks_at_once  # no run here is large enough to be divided
        arguments = (run, runs_at_once)
        threading.Thread(target=self._take, args=arguments, name="take", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def recover(self, executor_ids: Sequence[str]) -> int:
        held = self._jobs.held_by(executor_ids)
        return int(self._jobs.put_back(held, executor_ids)) if held else 0

    def adopt_orphans(self) -> int:
        """What is ours by the table and in no thread of ours, in two looks."""
        held = self._jobs.held_by([self._me])
        idle = [one for one in held if tuple(one) not in self._active]
        orphans, self._suspects = [one for one in idle if one in self._suspects], idle
        return int(self._jobs.put_back(orphans, [self._me])) if orphans else 0

    def ended(self, workflow_ids: Sequence[str]) -> Sequence[str]:
        return list(self._jobs.ended(list(workflow_ids)))

    def _take(self, run: Callable[[str, int], None], runs_at_once: int) -> None:
        while not self._stop.wait(_POLL_S):
            if len(self._active) >= runs_at_once:
                continue
            try:
                claimed = self._jobs.claim(self._me)
            except StoreUnavailable:
                continue  # a claim whose answer was lost is an orphan of ours
            if claimed is not None:
                self._active.append(claimed)
                arguments = (run, *claimed)
                threading.Thread(target=self._execute, args=arguments, daemon=True).start()

    def _execute(self, run: Callable[[str, int], None], run_id: str, number: int) -> None:
        try:
            run(run_id, number)
            while not self._told_done(run_id, number):
                self._stop.wait(_POLL_S)
        finally:
            self._active.remove((run_id, number))

    def _told_done(self, run_id: str, number: int) -> bool:
        try:
            self._jobs.done(run_id, number, self._me)
        except StoreUnavailable:
            return False
        return True
