"""Puts the legality label on the failures of an exploration: one run of each cluster is asked."""

from __future__ import annotations

from dataclasses import replace

from toron.errors import ToronError
from toron.search.explain.deviations import deviations_of
from toron.search.explain.explain import Runs, labelled, program_cancels
from toron.search.explain.steps import account_of
from toron.search.explore import Exploration
from toron.search.outcome import Outcome
from toron.search.pool import Worker
from toron.search.references import KernelRef, Token

CLUSTERS_MAX = 5
WITNESS_RUNS = 25
WITNESS_STEPS = 30_000
"""Fewer than an explanation tries, and of long runs very few: nobody has asked for this failure in
particular yet."""
STEPS_MAX = 100_000
"""Nor are longer runs executed again, event by event: that of a livelock takes a minute."""


def label_failures(exploration: Exploration, reference: KernelRef) -> None:
    """Say of the first failures whether stock asyncio could fail so; nothing after Ctrl-C.

    What was explored is known already: a failure that cannot be looked at stays without a label,
    with the reason in its place.
    """
    failed = [cluster for cluster in exploration.failures if cluster.outcome.verdict == "fail"]
    if exploration.interrupted or not failed:
        return
    asked = 0
    try:
        with Worker(reference.path) as worker:
            for cluster in failed[:CLUSTERS_MAX]:
                cluster.outcome = _labelled(cluster.outcome, worker)
                asked += 1
    except KeyboardInterrupt:
        exploration.interrupted = True
    except ToronError as error:
        [why, *_] = str(error).splitlines() or [type(error).__name__]
        failed[asked].outcome = _with_label(failed[asked].outcome, f"unknown: {why}")


def label_outcome(outcome: Outcome, reference: KernelRef) -> Outcome:
    """``outcome`` with the label of its failure."""
    with Worker(reference.path) as worker:
        return _labelled(outcome, worker)


def _labelled(outcome: Outcome, worker: Worker) -> Outcome:
    if outcome.failure is None or outcome.verdict != "fail":
        return outcome
    if outcome.steps > STEPS_MAX:
        return _with_label(outcome, f"unknown: it has {outcome.steps} steps; toron explain asks")
    runs = Runs(worker, Token.decode(outcome.token))
    execution = runs.original()
    if execution.outcome.trace_digest != outcome.trace_digest:
        return outcome  # not deterministic: what is seen now says nothing of the failure
    deviations = deviations_of(account_of(execution), program_cancels(runs, execution.tape))
    most = max(1, min(WITNESS_RUNS, WITNESS_STEPS // max(1, outcome.steps)))
    label = labelled(outcome, deviations, [execution.tape], runs, most)
    return _with_label(outcome, label.text)


def _with_label(outcome: Outcome, label: str) -> Outcome:
    assert outcome.failure is not None
    return replace(outcome, failure=replace(outcome.failure, legality=label))
