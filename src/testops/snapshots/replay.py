"""Replay: every execution of a bundle reaches again what it recorded, or it is said why not.

Executed twice: two that differ from each other are nondeterminism (exit 3). Two that agree with
each other and not with the record are changed code (exit 1), unless the code is known to be the one
that was recorded; then that is nondeterminism too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode, Verdict, combine_exit
from testops.snapshots.bundle import Bundle
from testops.snapshots.canonical import Json
from testops.snapshots.causes import SAME_CODE_FIX, Again, Reached, Reexecutor, execute_again
from testops.snapshots.deltas import reproduce_command
from testops.snapshots.executions import (
    ExecutionId,
    ExecutionRecord,
    execution_paths,
    read_execution,
)
from testops.snapshots.manifest import BundleHeader
from testops.snapshots.masks import NO_MASKS, Masks, hidden_traces_note

_AT_ONCE = 200
_SHOWN_MAX = 10
_REPORTED_MAX = 1000
_NAMED_MAX = 8


class Replayer(Reexecutor, Protocol):
    """A `Reexecutor` that knows beforehand what it has no kernel for."""

    def missing(self, header: BundleHeader, record: ExecutionRecord) -> str:
        """Why the kernel of `record` is not here; empty when it is."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which executions are meant; None means any."""

    kernel: str | None = None
    sim_seed: int | None = None
    chaos_seed: int | None = None

    def has(self, identity: ExecutionId) -> bool:
        return (
            self.kernel in (None, identity.kernel)
            and self.sim_seed in (None, identity.sim_seed)
            and self.chaos_seed in (None, identity.chaos_seed)
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of each execution; `again` holds those that did not reach their record."""

    bundle: Bundle
    executions: int
    again: Sequence[tuple[Again, str]]
    same_code: bool | None
    notes: Sequence[str]

    @property
    def reached(self) -> int:
        return self.executions - len(self.again)

    @property
    def exit_code(self) -> ExitCode:
        return combine_exit(self._code(again) for again, _ in self.again)

    @property
    def verdict(self) -> Verdict:
        match self.exit_code:
            case ExitCode.HOLDS:
                return Verdict.PASS
            case ExitCode.INCONCLUSIVE:
                return Verdict.INCONCLUSIVE
            case _:
                return Verdict.FAIL

    def _code(self, again: Again) -> ExitCode:
        match again.reached:
            case Reached.YES:
                return ExitCode.HOLDS
            case Reached.UNSTABLE:
                return ExitCode.NONDETERMINISM
            case Reached.NO:
                return ExitCode.NONDETERMINISM if self.same_code else ExitCode.FAILED
            case Reached.UNKNOWN:
                return ExitCode.INCONCLUSIVE

    def _word(self, again: Again) -> str:
        match self._code(again):
            case ExitCode.NONDETERMINISM:
                return "nondeterminism"
            case ExitCode.FAILED:
                return "changed code"
            case _:
                return "not executed"

    @property
    def reason(self) -> str:
        if not self.again:
            return f"all {self.executions} reach what {self.bundle.origin} recorded"
        words = [self._word(again) for again, _ in self.again]
        parts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
        return f"{self.reached} of {self.executions} reach what was recorded; {', '.join(parts)}"

    @property
    def fix(self) -> str:
        match self.exit_code:
            case ExitCode.NONDETERMINISM:
                where = next((again.where for again, _ in self.again if again.where), "")
                return f"make {where} give one value under one seed" if where else SAME_CODE_FIX
            case ExitCode.FAILED:
                return (
                    "check out the commit that the bundle was recorded from (its run record or "
                    "golden record names it); or, if the change is meant, run the suite again"
                )
            case ExitCode.INCONCLUSIVE:
                return "choose fewer with --kernel and --seed, or give more with --wall-limit"
            case _:
                return ""

    def to_json(self) -> dict[str, Json]:
        """The one object of `--json`, bounded."""
        header = self.bundle.header
        return {
            "verdict": self.verdict.value,
            "exit_code": int(self.exit_code),
            "reason": self.reason,
            "fix": self.fix,
            "bundle": {
                "path": str(self.bundle.origin),
                "identity": self.bundle.identity,
                **header.to_json(),
            },
            "executions": self.executions,
            "reached": self.reached,
            "same_code": self.same_code,
            "not_reached": [
                {**again.to_json(), "cause": self._word(again), "reproduce": reproduce}
                for again, reproduce in self.again[:_REPORTED_MAX]
            ],
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The lines for a person."""
        lines = [f"snapshot replay: {self.verdict.upper()}: {self.reason}"]
        for again, reproduce in self.again[:_SHOWN_MAX]:
            lines.append(f"  {again.execution.text()}: {self._word(again)}: {again.reason}")
            lines.append(f"    reproduce: {reproduce}")
        if len(self.again) > _SHOWN_MAX:
            lines.append(f"  and {len(self.again) - _SHOWN_MAX} more; --json names them")
        lines += [f"  note: {note}" for note in self.notes]
        if self.fix:
            lines.append(f"  next: {self.fix}")
        return "\n".join(lines)


def replay(
    bundle: Bundle,
    replayer: Replayer,
    chosen: Chosen,
    *,
    masks: Masks = NO_MASKS,
    any_engine: bool = False,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Replay:
    """Execute what is chosen of `bundle` again.

    BadInput for another engine minor (unless `any_engine`), for a choice that the bundle does not
    hold, and for kernels that are not here.
    """
    header = bundle.header
    _require_engine(bundle, replayer, any_engine=any_engine)
    paths = execution_paths(bundle)
    wanted = [identity for identity in paths if chosen.has(identity)]
    if not wanted:
        raise _nothing_chosen(bundle, list(paths), chosen)
    # All executions of a kernel stand at one place, so its first one answers for them.
    for identity in {one.kernel: one for one in reversed(wanted)}.values():
        if missing := replayer.missing(header, read_execution(bundle, identity)):
            raise BadInput(
                f"kernel {identity.kernel} of the bundle cannot be executed: {missing}",
                where=str(bundle.origin),
                fix="run in the project that recorded it, or choose another with --kernel",
            )
    left: list[tuple[Again, str]] = []
    done = hidden = 0
    for start in range(0, len(wanted), _AT_ONCE):
        part = [read_execution(bundle, one) for one in wanted[start : start + _AT_ONCE]]
        by_id: Mapping[ExecutionId, ExecutionRecord] = {record.id: record for record in part}
        found = execute_again(part, header, replayer, masks)
        left += [
            (again, reproduce_command(by_id[again.execution], header))
            for again in found
            if again.reached is not Reached.YES
        ]
        hidden += sum(again.is_trace_hidden for again in found)
        done += len(part)
        told(done, len(wanted))
    return Replay(
        bundle=bundle,
        executions=len(wanted),
        again=left,
        same_code=replayer.is_same_code(bundle.identity) if left else None,
        notes=_notes(header, replayer, hidden),
    )


def _require_engine(bundle: Bundle, replayer: Replayer, *, any_engine: bool) -> None:
    made_by, here = bundle.header.engine_version, replayer.engine_version
    if made_by != here and not any_engine:
        raise BadInput(
            f"was made by engine {made_by}, and here is {here}: their digests are not comparable",
            where=str(bundle.origin),
            fix=f"install the ryuzen-testops that brings {made_by} (VERSIONING_AND_RELEASE_NOTES.md"
            " has the matrix), or pass --any-engine to hold only outputs and properties",
        )


def _nothing_chosen(bundle: Bundle, executions: Sequence[ExecutionId], chosen: Chosen) -> BadInput:
    if not executions:
        return BadInput("holds no execution", where=str(bundle.origin), fix="name another bundle")
    kernels = list(dict.fromkeys(one.kernel for one in executions))
    if chosen.kernel is not None and chosen.kernel not in kernels:
        named = ", ".join(kernels[:_NAMED_MAX]) + (" …" if len(kernels) > _NAMED_MAX else "")
        return BadInput(
            f"the bundle has no kernel {chosen.kernel!r}", where="--kernel", fix=f"it has: {named}"
        )
    seeds = [
        f"{one.sim_seed}/{one.chaos_seed}"
        for one in executions
        if chosen.kernel in (None, one.kernel)
    ]
    named = ", ".join(list(dict.fromkeys(seeds))[:_NAMED_MAX])
    return BadInput(
        "the bundle has no execution under these seeds",
        where="--seed" if chosen.sim_seed is not None else "--chaos-seed",
        fix=f"it has (seed/chaos seed): {named}{' …' if len(set(seeds)) > _NAMED_MAX else ''}",
    )


def _notes(header: BundleHeader, replayer: Replayer, hidden: int) -> list[str]:
    notes = [hidden_traces_note(hidden)] if hidden else []
    differing = [
        f"{what} {theirs} and here is {ours}"
        for what, theirs, ours in (
            ("engine", header.engine_version, replayer.engine_version),
            ("Python", header.python, replayer.python),
        )
        if theirs != ours
    ]
    if not differing:
        return notes
    return [
        *notes,
        f"the bundle was made by {', '.join(differing)}: outputs, properties, verdicts and "
        "failures were held against it; trace digests, steps and virtual time were not",
    ]
