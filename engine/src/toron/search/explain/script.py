"""Writes a program that fails on stock asyncio as a run failed here.

It imports the user's kernel from its file and runs it on asyncio's own event loop; a stand-in
takes the place of `toron` in it. All that is forced are moments at which the whole process sleeps,
as any busy machine may: between two iterations of the loop, until a timer is due. Nothing else of a
run can be forced legally, so only a run whose deviations are stalls becomes a script.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from toron.core.choices import substream
from toron.core.clock import SECOND_NS
from toron.core.tape import Deviation as TapeDeviation
from toron.core.wakes import Stall
from toron.search.explain.deviations import met_in
from toron.search.explain.steps import Account

_TEMPLATE = Path(__file__).with_name("stock_template.txt")
_REAL_LIMIT_S = 20.0
"""A run of more virtual seconds is not waited for: its script has a virtual clock."""
_GRACE_S = 10.0

Sleep = tuple[str, int, int, str, float]


def is_scriptable(tape: Sequence[TapeDeviation]) -> bool:
    """Whether all deviations of a tape are stalls."""
    return all(key.startswith("stall ") for key, _ in tape)


def obstacle(account: Account) -> str:
    """Why a kernel cannot run without a simulated world; empty when it can."""
    hosts = [host for host in account.story.hosts if host != "main"]
    if hosts:
        return f"not possible: simulated hosts ({', '.join(hosts[:4])})"
    if account.execution.outcome.faults:
        return "not possible: simulated faults"
    return ""


def sleeps_of(account: Account) -> Iterator[Sleep]:
    """For each stall after which step it comes, and until which timer it lasts."""
    for stall in account.execution.stalls:
        before = [step for step in account.steps if step.wake.tick < stall.tick]
        tasks = [at for at, step in enumerate(before) if step.is_task]
        if tasks:
            last, after = before[tasks[-1]], len(before) - 1 - tasks[-1]
            until = _last_timer(account, stall)
            lasted_s = stall.lasted_ns / SECOND_NS
            yield last.name, last.ordinal, after, until, lasted_s


def _last_timer(account: Account, stall: Stall) -> str:
    timers = [step for step in met_in(account, stall) if step.wake.way == "timer"]
    if not timers:
        return ""
    last = max(timers, key=lambda step: step.wake.due_ns)
    return f"{last.wake.name} {last.event.detail}"


def is_too_long(account: Account) -> bool:
    """Whether nobody wants to wait for a run in real time."""
    return account.execution.outcome.virtual_ns > _REAL_LIMIT_S * SECOND_NS


def script_of(account: Account, path: Path, *, clock: str) -> str:
    """The program's text; its ``clock`` is ``real`` or ``virtual``."""
    outcome = account.execution.outcome
    failure = outcome.failure
    assert failure is not None
    virtual_s = outcome.virtual_ns / SECOND_NS
    sleeps = list(sleeps_of(account))
    told = textwrap.fill(_header(failure.kind, sleeps, clock), 100)
    parts = {
        "$TITLE": f"{outcome.kernel} fails on stock asyncio: {failure.kind}.",
        "$HEADER": told,
        "$PATH": repr(str(path)),
        "$NAME": repr(outcome.kernel),
        "$RANDOM_SEED": str(substream(outcome.sim_seed, "entropy.random")),
        "$STALLS": _listed(sleeps),
        "$CLOCK": repr(clock),
        "$LIMIT_S": str(round(virtual_s + _GRACE_S, 1) if clock == "real" else _GRACE_S),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for mark, value in parts.items():
        text = text.replace(mark, value, 1)
    return text


def _listed(sleeps: Sequence[Sleep]) -> str:
    if not sleeps:
        return "[]"
    return "[\n" + "".join(f"    {sleep!r},\n" for sleep in sleeps) + "]"


def _header(kind: str, sleeps: Sequence[Sleep], clock: str) -> str:
    moments = f"{len(sleeps)} time{'s' if len(sleeps) != 1 else ''}"
    forced = f"the process sleeps {moments} between two iterations of the loop" if sleeps else ""
    what = forced or "nothing is forced: the order is asyncio's own"
    ends = "It ends with exit code 1 and the line FAILED when it fails, with 0 when it passes."
    time = "Time is real." if clock == "real" else "Nothing is waited for: its clock is virtual."
    needs = "Written by `toron explain`; it needs Python and the program, not Toron."
    return f"{needs} In it {what}. {time} {ends}"
