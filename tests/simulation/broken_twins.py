"""The kernels of regression_core, each with one decision taken wrongly; Toron must find every one.

A twin is the kernel itself with another `Rules`: what is caught is the rule, not a copy.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Toron imports this file alone, from its own folder; the kernels live in the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sim.kernels.regression_core import (
    aiohttp_retries,
    anyio_task_groups,
    bank_transfers,
    leader_election,
    redis_counter,
    replicated_log,
    websockets_broadcast,
    work_queue,
)

import toron


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
