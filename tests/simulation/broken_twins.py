"""Our own protocols, each with one decision taken wrongly; Toron must find every one.

A twin is the kernel itself with another `Rules`: what is caught is the rule, not a copy.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Toron imports this file alone, from its own folder; the kernels live in the repository's.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import toron
from sim.kernels.regression_core import (
    bank_transfers,
    leader_election,
    replicated_log,
    work_queue,
)


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
