"""The replicated log of `sim/`, in which one acceptance is a majority."""

from __future__ import annotations

from sim.kernels.regression_core import replicated_log

import toron


@toron.kernel
async def one_decides(world: toron.World) -> None:
    await replicated_log.replicate(world, replicated_log.Rules(accepts_needed=1))
