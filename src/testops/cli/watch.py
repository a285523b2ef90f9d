"""`testops watch RUN`: shows a run of a server while it goes, through every break of the line.

What arrives becomes the same typed events as those of a run here, so it is shown the same way. The
exit code is that of the run.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import httpx
from rich.console import Console
from rich.text import Text

from testops.cli.display import Display, display_for
from testops.cli.words import SIGNS, STYLES
from testops.client.follow import Interrupted, StreamRefused, follow
from testops.client.reconnect import Reconnect
from testops.client.sse import Message
from testops.domain.errors import BadInput
from testops.domain.event import EventType
from testops.domain.run import RUN_ID_LENGTH, Build, Run, RunState
from testops.domain.seeds import Seeds
from testops.domain.stage import (
    Finding,
    Metric,
    StageAttempt,
    StageName,
    StageReport,
    StageState,
)
from testops.domain.verdict import ExitCode, Verdict
from testops.telemetry import events
from testops.telemetry.events import Event, unharmed

DEFAULT_URL = "http://127.0.0.1:8080"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which run to watch, where, and as whom."""

    run_id: str
    url: str
    key: str | None
    as_json: bool
    # Shows nothing at all: whoever asks prints the answer.
    quiet: bool = False


@dataclass(slots=True)
class _Seen:
    """What of the run is needed at the end: its newest attempt, and how that finished."""

    started: Body = field(default_factory=dict)
    finished: Body | None = None


def watch(asked: Asked, *, draw: Callable[[], float]) -> ExitCode:
    """Show the run until it is over; how it ended."""
    if len(asked.run_id) != RUN_ID_LENGTH or not asked.run_id.isalnum():
        raise BadInput(
            f"{asked.run_id[:40]!r} is not a run id", where="RUN", fix="give its 16 digits"
        )
    if asked.key is not None and not (asked.key.isascii() and asked.key.isprintable()):
        raise BadInput("it is not a key of ours", where="TESTOPS_API_KEY", fix="copy it again")
    seen = _Seen()
    try:
        with display_for(quiet=asked.as_json or asked.quiet) as display:
            asyncio.run(_follow(asked, seen, display, draw))
    except StreamRefused as refused:
        raise BadInput(
            refused.detail, where=asked.url, fix=_FIXES.get(refused.status, "")
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise BadInput(f"it is no address: {error}", where=asked.url) from None
    except KeyboardInterrupt:
        click.echo("not watched any more; the run goes on", err=True)
        return ExitCode.INTERRUPTED
    return _answer(asked, seen)


_FIXES = {
    401: "put a key of that server into TESTOPS_API_KEY",
    403: "use a key that may see this run",
    404: "list the runs of that server, or ask the one that has it with --url",
}


async def _follow(asked: Asked, seen: _Seen, display: Display, draw: Callable[[], float]) -> None:
    hear = unharmed(display.hear)
    authorization = {} if asked.key is None else {"authorization": f"Bearer {asked.key}"}
    url = f"{asked.url.rstrip('/')}/v1/test-runs/{asked.run_id}/events"
    async with httpx.AsyncClient(headers=authorization) as http:
        async for told in follow(http, url, Reconnect(draw)):
            if isinstance(told, Interrupted):
                display.told(f"{told.why}; coming back in {told.wait_s:.1f} s")
                continue
            if asked.as_json:
                click.echo(told.data.decode())
            _hear(told, seen, display, hear)


def _hear(told: Message, seen: _Seen, display: Display, hear: Callable[[Event], None]) -> None:
    body = json.loads(told.data)
    match told.event:
        case EventType.RUN_STARTED:
            seen.started, seen.finished = body, None
        case EventType.RUN_QUEUED:
            seen.finished = None
        case EventType.RUN_FINISHED:
            seen.finished = body
        case "gap" | "coalesced" | "drain" | "auth-expired":
            display.told(_NOTES[told.event].format_map(body))
            return
        case "end":
            return
        case _:
            pass
    try:
        event = event_of(body)
    except (KeyError, TypeError, ValueError):
        display.told(f"event {told.id} ({told.event}) is of a newer server than this program")
        return
    if event is not None:
        hear(event)


_NOTES = {
    "gap": "the server has no events {asked} to {first_available} any more",
    "coalesced": "{coalesced} updates and {sampled} lines were left out: this end is too slow",
    "drain": "the server restarts",
    "auth-expired": "the key is not valid any more",
}


def event_of(body: Body) -> Event | None:
    """The typed event that `body` tells of; None for one that nothing shows."""
    match body["type"]:
        case EventType.RUN_STARTED:
            return _run_started(body)
        case EventType.STAGE_STARTED:
            return events.StageStarted(StageName(body["stage"]), int(body.get("number", 1)))
        case EventType.STAGE_PROGRESS:
            return _progress(body)
        case EventType.STAGE_LOG:
            return _log(body)
        case EventType.STAGE_FINISHED:
            return events.StageFinished(_report(body))
        case _:
            return None


def _run_started(body: Body) -> Event:
    run = Run(
        run_id=body["run_id"],
        attempt=body["attempt"],
        state=RunState.RUNNING,
        suite=body["suite"],
        profile=body["profile"],
        seeds=Seeds(sim=body["seeds"]["sim"], chaos=body["seeds"]["chaos"]),
        build=Build(None, None),
        engine_version="",
        reproduce="",
    )
    asked = set(body["stages"])
    return events.RunStarted(run, [(name, name.value in asked) for name in StageName])


def _progress(body: Body) -> Event:
    return events.StageProgress(
        stage=StageName(body["stage"]),
        done=body["done"],
        total=body["total"],
        part=body.get("part", ""),
        part_done=body.get("part_done", 0),
        part_total=body.get("part_total", 0),
        part_ok=body.get("part_ok", True),
    )


def _log(body: Body) -> Event | None:
    found = body.get("finding")
    if not body["stage"]:
        return None  # about the log itself
    stage = StageName(body["stage"])
    if found is None:
        return events.StageLog(stage, body["text"])
    return events.StageFound(
        stage,
        Finding(
            found["where"], found["message"], found.get("rule", ""), found.get("reproduce", "")
        ),
    )


def _report(body: Body) -> StageReport:
    metrics = body.get("metrics") or {}
    verdict = body.get("verdict")
    wall_s = float(body.get("wall_s", 0.0))
    return StageReport(
        name=StageName(body["stage"]),
        state=StageState(body["state"]),
        verdict=None if verdict is None else Verdict(verdict),
        attempts=(StageAttempt(int(body.get("attempts") or 1), "told", wall_s),),
        metrics={name: Metric(name, value, "") for name, value in metrics.items()},
        reason=body.get("reason", ""),
    )


def _answer(asked: Asked, seen: _Seen) -> ExitCode:
    if seen.finished is None:
        raise BadInput(
            f"the events of run {asked.run_id} do not say how it ended",
            where=asked.url,
            fix=f"ask {asked.url}/v1/test-runs/{asked.run_id}",
        )
    if not (asked.as_json or asked.quiet):
        _print_last(asked, seen.started, seen.finished)
    return ExitCode(int(seen.finished["exit_code"]))


def _print_last(asked: Asked, started: Body, finished: Body) -> None:
    verdict = Verdict(finished["verdict"])
    suite = f"{started['suite']} · " if started else ""
    Console(highlight=False, soft_wrap=True).print(
        Text.assemble(
            (f"{SIGNS[verdict]} {verdict.value.upper()}", f"bold {STYLES[verdict]}"),
            f"  {suite}run {asked.run_id} attempt {finished['attempt']}, {finished['state']}",
            f": {finished['reason']}" if finished.get("reason") else "",
        )
    )
