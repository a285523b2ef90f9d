"""The gateway on the real store and the real guard: another process writes, ours shows it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import pytest
from tests.support.access import LOCAL, Access
from tests.unit.sse_gateway.memory import OTHER, RUN
from tests.unit.sse_gateway.serving import QUICK, run, serving

from testops.domain.access import Role
from testops.domain.event import EventType, LogHead, NewEvent, StoredEvent
from testops.domain.execution import Ending
from testops.domain.run import Build, RunState
from testops.domain.run_view import NewRun
from testops.domain.seeds import Seeds
from testops.domain.verdict import ExitCode, Verdict
from testops.storage.database import Database, open_database
from testops.storage.events import EventStore, append
from testops.storage.run_rows import end_attempt
from testops.storage.runs import RunsStore
from testops.storage.wakeups import Wakeups


@dataclass
class Stored:
    """What the gateway reads, from one database."""

    database: Database

    def head(self, run_id: str) -> LogHead | None:
        return EventStore(self.database).head(run_id)

    def read(self, run_id: str, *, after: int, limit: int) -> Sequence[StoredEvent]:
        return EventStore(self.database).read(run_id, after=after, limit=limit)

    def workspace_of(self, run_id: str) -> str | None:
        return EventStore(self.database).workspace_of(run_id)

    def listen(self, changed: Callable[[str | None], None]) -> AbstractContextManager[None]:
        return Wakeups(self.database).listen(changed)


@dataclass
class Writer:
    """Another process, as far as a database can tell."""

    database: Database

    def create(self, run_id: str, workspace: str, *, again: bool = False) -> None:
        new = NewRun(
            run_id=run_id,
            workspace=workspace,
            suite="core",
            suite_shown="core",
            profile="offline",
            seeds=Seeds(1, 2),
            question={"stages": []},
            build=Build(None, None),
            engine_version="2.5",
            reproduce="testops run",
            created_by="ann",
        )
        RunsStore(self.database, lambda *_: None).create(new, again=again)

    def tell(self, count: int, run_id: str = RUN) -> None:
        event = NewEvent(EventType.STAGE_LOG, {"stage": "sim", "text": "a line"})
        with self.database.write() as connection:
            append(connection, self.database, run_id, [event] * count)

    def finish(self, run_id: str = RUN) -> None:
        ending = Ending(RunState.FINISHED, Verdict.PASS, ExitCode.HOLDS)
        with self.database.write() as connection:
            end_attempt(self.database, connection, run_id, ending, fence=None)

    def log(self, *, after: int = 0) -> bytes:
        events = EventStore(self.database).read(RUN, after=after, limit=10_000)
        return b"".join(
            f"id: {one.seq}\nevent: {one.type}\ndata: ".encode() + one.body + b"\n\n"
            for one in events
        )


@pytest.fixture
def store(database_url: str) -> Iterator[Stored]:
    database = open_database(database_url)
    yield Stored(database)
    database.close()


@pytest.fixture
def writer(database_url: str) -> Iterator[Writer]:
    database = open_database(database_url)
    yield Writer(database)
    database.close()


def test_what_another_process_commits_is_shown_and_a_reopened_log_goes_on(
    store: Stored, writer: Writer
) -> None:
    access = Access(store.database)
    key = f"Bearer {access.key(Role.VIEWER).token}"

    async def story() -> None:
        writer.create(RUN, "shop")
        async with serving(store, replace(QUICK, heartbeat_s=20), access.guard) as served:
            viewer = await served.watch(authorization=key)
            assert viewer.status == 200, await viewer.rest()
            await viewer.until(b'"type":"run.queued"')
            loop = asyncio.get_running_loop()
            for number in range(1, 6):
                began = loop.time()
                await asyncio.to_thread(writer.tell, 40)
                await viewer.until(f"id: {1 + 40 * number}\n".encode())
                # A wake-up brought it, and no heartbeat.
                assert loop.time() - began < 5
            await asyncio.to_thread(writer.finish)
            body = await viewer.rest()
            last = store.head(RUN).last_seq  # type: ignore[union-attr]
            end = f'event: end\ndata: {{"type":"end","run_id":"{RUN}","last_seq":{last}}}\n\n'
            assert body == b"retry: 20\n\n" + writer.log() + end.encode()
            done = await served.watch(authorization=key, last_event_id=str(last))
            assert done.status == 204
            writer.create(RUN, "shop", again=True)
            reopened = await served.watch(authorization=key, last_event_id=str(last))
            assert reopened.status == 200
            await reopened.until(f"id: {last + 1}\n".encode())

    run(story())


def test_a_viewer_of_another_workspace_finds_nothing_and_is_audited(
    store: Stored, writer: Writer
) -> None:
    access = Access(store.database)
    key = f"Bearer {access.key(Role.VIEWER, workspaces=frozenset({'shop'})).token}"

    async def story() -> None:
        writer.create(RUN, "shop")
        writer.create(OTHER, "bank")
        async with serving(store, guard=access.guard) as served:
            assert (await served.watch(RUN, authorization=key)).status == 200
            for path in (f"/v1/test-runs/{OTHER}/events", f"/v1/events?run={RUN}&run={OTHER}"):
                refused = await served.ask(path, authorization=key)
                assert refused.status == 404
                assert OTHER in (await refused.rest()).decode()
            for wrong in ("Bearer nobody", ""):
                assert (await served.watch(RUN, authorization=wrong)).status == 401

    run(story())
    access.guard.close()
    rows = [row.entry for row in access.store.page(after=0, limit=100)[0]]
    refusals = [entry for entry in rows if entry.action.startswith("refused")]
    assert refusals, [entry.action for entry in rows]


def test_a_key_that_is_revoked_loses_its_stream(store: Stored, writer: Writer) -> None:
    access = Access(store.database)
    made = access.key(Role.VIEWER)

    async def story() -> None:
        writer.create(RUN, "shop")
        async with serving(store, replace(QUICK, recheck_s=0.1), access.guard) as served:
            viewer = await served.watch(authorization=f"Bearer {made.token}")
            await viewer.until(b"id: 1\n")
            await asyncio.to_thread(access.keys.revoke, made.record.key_id, by=LOCAL)
            access.clock.advance(20)
            assert (await viewer.rest()).endswith(b'data: {"type":"auth-expired"}\n\n')
            again = await served.watch(authorization=f"Bearer {made.token}")
            assert again.status == 401

    run(story())
