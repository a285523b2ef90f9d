"""Puts the legality label on the failures of an exploration: one run of each cluster is asked."""

from __future__ import annotations

from dataclasses import replace

from toron.search.explain.deviations import deviations_of
from toron.search.explain.explain import Runs, labelled
from toron.search.explain.steps import account_of
from toron.search.explore import Exploration
from toron.search.outcome import Outcome
from toron.search.pool import Worker
from toron.search.references import KernelRef, Token

CLUSTERS_MAX = 5
WITNESS_RUNS = 25
"""Fewer than an explanation tries: nobody has asked for this failure in particular yet."""


def label_failures(exploration: Exploration, reference: KernelRef) -> None:
    """Say of the first failures whether stock asyncio could fail so; nothing after Ctrl-C."""
    failed = [cluster for cluster in exploration.failures if cluster.outcome.verdict == "fail"]
    if exploration.interrupted or not failed:
        return
    try:
        with Worker(reference.path) as worker:
            for cluster in failed[:CLUSTERS_MAX]:
                cluster.outcome = _labelled(cluster.outcome, worker)
    except KeyboardInterrupt:
        exploration.interrupted = True


def label_outcome(outcome: Outcome, reference: KernelRef) -> Outcome:
    """``outcome`` with the label of its failure."""
    with Worker(reference.path) as worker:
        return _labelled(outcome, worker)


def _labelled(outcome: Outcome, worker: Worker) -> Outcome:
    if outcome.failure is None or outcome.verdict != "fail":
        return outcome
    runs = Runs(worker, Token.decode(outcome.token))
    execution = runs.original()
    if execution.outcome.trace_digest != outcome.trace_digest:
        return outcome  # not deterministic: what is seen now says nothing of the failure
    deviations = deviations_of(account_of(execution))
    label = labelled(outcome, deviations, [execution.tape], runs, WITNESS_RUNS)
    return replace(outcome, failure=replace(outcome.failure, legality=label.text))
