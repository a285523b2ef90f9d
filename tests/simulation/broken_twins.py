"""The kernels of regression_core, each with one decision taken wrongly; Toron must find every one.

A twin is the kernel itself with another `Rules`: what is caught is the rule, not a copy. Of the
kernels that run the platform, one function of the platform is exchanged, in the execution's own
process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Toron imports this file alone, from its own folder; the kernels live in the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlalchemy as sa
from sim.kernels.regression_core import (
    aiohttp_retries,
    anyio_task_groups,
    bank_transfers,
    client_reconnect,
    event_stream,
    idempotent_creation,
    leader_election,
    lease_takeover,
    redis_counter,
    replicated_log,
    websockets_broadcast,
    work_queue,
)

import toron
from testops.client.reconnect import Reconnect
from testops.client.sse import Retry
from testops.domain.event import Delivery
from testops.domain.execution import Taken
from testops.domain.run_view import Created, NewRun
from testops.runner.worker import Worker
from testops.sse_gateway import requests
from testops.sse_gateway.ring import Thinning
from testops.storage import database, executions
from testops.storage.run_rows import view_of_run
from testops.storage.runs import RunsStore
from testops.storage.tables import run


@toron.kernel
async def election_with_several_votes_a_term(world: toron.World) -> None:
    await leader_election.elect(world, leader_election.Rules(one_vote_a_term=False))


@toron.kernel
async def election_that_forgets_votes_in_a_crash(world: toron.World) -> None:
    await leader_election.elect(world, leader_election.Rules(votes_outlive_a_crash=False))


@toron.kernel
async def log_that_confirms_before_a_majority(world: toron.World) -> None:
    await replicated_log.replicate(world, replicated_log.Rules(accepts_needed=1))


@toron.kernel
async def log_that_overwrites_what_was_accepted(world: toron.World) -> None:
    await replicated_log.replicate(world, replicated_log.Rules(keeps_what_was_accepted=False))


@toron.kernel
async def bank_without_idempotency_keys(world: toron.World) -> None:
    await bank_transfers.move_money(world, bank_transfers.Rules(keys_are_checked=False))


@toron.kernel
async def bank_with_several_writers_an_account(world: toron.World) -> None:
    await bank_transfers.move_money(world, bank_transfers.Rules(one_writer_an_account=False))


@toron.kernel
async def queue_without_fencing_tokens(world: toron.World) -> None:
    await work_queue.drain_queue(world, work_queue.Rules(tokens_are_checked=False))


@toron.kernel
async def queue_whose_leases_never_run_out(world: toron.World) -> None:
    await work_queue.drain_queue(world, work_queue.Rules(leases_run_out=False))


@toron.kernel
async def shop_without_idempotency_keys(world: toron.World) -> None:
    await aiohttp_retries.keep_shop(world, aiohttp_retries.Rules(keys_are_checked=False))


@toron.kernel
async def broadcast_that_forgets_missed_news(world: toron.World) -> None:
    rules = websockets_broadcast.Rules(missed_news_are_sent=False)
    await websockets_broadcast.broadcast(world, rules)


@toron.kernel
async def redis_orders_without_marks(world: toron.World) -> None:
    await redis_counter.count_orders(world, redis_counter.Rules(orders_are_marked=False))


@toron.kernel
async def slots_handed_back_without_a_shield(world: toron.World) -> None:
    await anyio_task_groups.search(world, anyio_task_groups.Rules(handing_back_is_shielded=False))


def instead(owner: Any, name: str, wrong: Callable[[Any], Any]) -> None:
    """Exchange `owner.name` for what `wrong` makes of it."""
    setattr(owner, name, wrong(getattr(owner, name)))


@toron.kernel
async def client_that_is_calmed_by_an_answer(world: toron.World) -> None:
    def wrong(heard: Any) -> Any:
        def calmed(self: Reconnect, told: Any) -> Any:
            if isinstance(told, Retry):
                self.failures = 0
            return heard(self, told)

        return calmed

    instead(Reconnect, "heard", wrong)
    await client_reconnect.follow_a_moody_server(world)


@toron.kernel
async def client_that_comes_back_to_the_start(world: toron.World) -> None:
    def wrong(lost: Any) -> Any:
        def forgetful(self: Reconnect) -> float:
            self.place = None
            return float(lost(self))

        return forgetful

    instead(Reconnect, "lost", wrong)
    await client_reconnect.follow_a_moody_server(world)


@toron.kernel
async def stream_that_repeats_the_last_event(world: toron.World) -> None:
    instead(requests, "place_on_one", lambda place: lambda text: max(0, place(text) - 1))
    await event_stream.show_runs(world)


@toron.kernel
async def stream_that_thins_what_must_be_delivered(world: toron.World) -> None:
    def wrong(keeps: Any) -> Any:
        def careless(self: Thinning, frame: Any) -> bool:
            return frame.delivery is not Delivery.MUST and bool(keeps(self, frame))

        return careless

    instead(Thinning, "keeps", wrong)
    await event_stream.show_runs(world)


def _without_sync(prepare: Any) -> Any:
    def hasty(connection: Any, entry: Any) -> None:
        prepare(connection, entry)
        # The mode that is usual with a write-ahead log: whole after a power cut, and older.
        connection.execute("PRAGMA synchronous=NORMAL")

    return hasty


@toron.kernel
async def stream_of_a_log_that_is_not_synced(world: toron.World) -> None:
    instead(database, "_prepare_sqlite", _without_sync)
    await event_stream.show_runs(world)


@toron.kernel
async def creation_that_is_not_synced(world: toron.World) -> None:
    instead(database, "_prepare_sqlite", _without_sync)
    await idempotent_creation.ask_for_runs(world)


@toron.kernel
async def creation_in_a_folder_that_is_not_synced(world: toron.World) -> None:
    instead(
        database,
        "_make_lasting",
        lambda _: lambda folder: folder.mkdir(parents=True, exist_ok=True),
    )
    await idempotent_creation.ask_for_runs(world)


@toron.kernel
async def creation_that_looks_before_it_writes(world: toron.World) -> None:
    def wrong(create: Any) -> Any:
        def hopeful(self: RunsStore, new: NewRun, *, again: bool = False) -> Created:
            if self.get(new.run_id) is not None:
                return create(self, new, again=again)
            # Another may have created it by now.
            with self._database.write() as connection:
                self._insert(connection, new)
                self._enqueue(connection, new)
                view = view_of_run(self._database, connection, new.run_id)
                assert view is not None
                return Created(view, "created")

        return hopeful

    instead(RunsStore, "create", wrong)
    await idempotent_creation.ask_for_runs(world)


@toron.kernel
async def creation_that_queues_afterwards(world: toron.World) -> None:
    def wrong(create: Any) -> Any:
        def late(self: RunsStore, new: NewRun, *, again: bool = False) -> Created:
            submit, held = self._submit, []
            quiet = RunsStore(self._database, lambda _, submission: held.append(submission))
            created = create(quiet, new, again=again)
            for submission in held:
                with self._database.write() as connection:
                    submit(connection, submission)
            return created

        return late

    instead(RunsStore, "create", wrong)
    await idempotent_creation.ask_for_runs(world)


@toron.kernel
async def takeover_under_the_old_fence(world: toron.World) -> None:
    def wrong(take_run: Any) -> Any:
        def kept(store: Any, connection: sa.Connection, run_id: str, *rest: Any) -> Taken | None:
            taken = take_run(store, connection, run_id, *rest)
            if taken is None:
                return None
            connection.execute(sa.update(run).where(run.c.run_id == run_id).values(fence=1))
            return Taken(taken.run, 1, taken.recorded)

        return kept

    instead(executions, "take_run", wrong)
    await lease_takeover.execute_runs(world)


@toron.kernel
async def results_without_a_fence(world: toron.World) -> None:
    def wrong(append: Any) -> Any:
        def unfenced(*arguments: Any, fence: int | None = None) -> Any:
            return append(*arguments)

        return unfenced

    instead(executions, "append", wrong)
    await lease_takeover.execute_runs(world)


@toron.kernel
async def runners_that_bury_nobody(world: toron.World) -> None:
    instead(Worker, "_bury", lambda _: lambda _worker, _dead: None)
    await lease_takeover.execute_runs(world)
