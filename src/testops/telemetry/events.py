"""The typed events of a run. Whoever shows or keeps them reads only these, never the pipeline."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testops.domain.gate import GateResult
from testops.domain.run import Run
from testops.domain.stage import Finding, StageName, StageReport

log = logging.getLogger("testops.events")


@dataclass(frozen=True, slots=True)
class RunStarted:
    """`run.started`; `stages` are all of the mission's, in order, with those that will run."""

    run: Run
    stages: Sequence[tuple[StageName, bool]]


@dataclass(frozen=True, slots=True)
class StageStarted:
    """`stage.started`: one attempt begins."""

    stage: StageName
    attempt: int


@dataclass(frozen=True, slots=True)
class StageProgress:
    """`stage.progress`: `done` of `total` items (0: not known), of `part` where it has parts."""

    stage: StageName
    done: int
    total: int
    part: str = ""
    part_done: int = 0
    part_total: int = 0
    part_ok: bool = True


@dataclass(frozen=True, slots=True)
class StageLog:
    """`stage.log`: one line for a person."""

    stage: StageName
    text: str


@dataclass(frozen=True, slots=True)
class StageFound:
    """`stage.log` of a finding, told when it is found and not only at the end."""

    stage: StageName
    finding: Finding


@dataclass(frozen=True, slots=True)
class StageFinished:
    """`stage.finished`, judged."""

    report: StageReport


@dataclass(frozen=True, slots=True)
class GateEvaluated:
    """`gate.evaluated`."""

    result: GateResult


@dataclass(frozen=True, slots=True)
class RunFinished:
    """`run.finished`: the run as it is kept."""

    run: Run


Event = (
    RunStarted
    | StageStarted
    | StageProgress
    | StageLog
    | StageFound
    | StageFinished
    | GateEvaluated
    | RunFinished
)
Listener = Callable[[Event], None]
# One line for a person, outside any stage.
Tell = Callable[[str], None]


def all_of(listeners: Sequence[Listener]) -> Listener:
    """One listener that tells each of `listeners`, in their order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def unharmed(listener: Listener) -> Listener:
    """`listener`, unable to hurt the run: its first error is a warning, and it hears no more."""
    broken = False

    def tell(event: Event) -> None:
        nonlocal broken
        if broken:
            return
        try:
            listener(event)
        except Exception:  # recording never hurts the run, whatever it raises
            broken = True
            log.warning("the display failed; the run goes on without it", exc_info=True)

    return tell
