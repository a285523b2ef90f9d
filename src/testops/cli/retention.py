"""`testops retention`: what a person asks to be removed, and what is said of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.verdict import ExitCode
from testops.snapshots.objects.s3 import S3Shelf
from testops.storage.database import Database
from testops.storage.durable import Submitter
from testops.storage.migrate import require_current
from testops.storage.retention import Chosen, Policy, Retention

_FROM_ENVIRONMENT = {
    "days": "TESTOPS_KEEP_DAYS",
    "count": "TESTOPS_KEEP_COUNT",
    "megabytes": "TESTOPS_KEEP_MB",
    "event_days": "TESTOPS_KEEP_EVENT_DAYS",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be kept, of whose runs, and how to answer."""

    policy: Policy
    workspace: str | None
    dry_run: bool
    as_json: bool


def policy_of(limits: Mapping[str, Any], environment: Mapping[str, str]) -> Policy:
    """What was given, and the environment's where nothing was."""
    given = {
        name: _number(limits.get(name), variable, environment)
        for name, variable in _FROM_ENVIRONMENT.items()
    }
    count, megabytes = given["count"], given["megabytes"]
    return Policy(
        days=given["days"],
        count=None if count is None else int(count),
        size=None if megabytes is None else int(megabytes * 1_000_000),
        event_days=given["event_days"],
    )


def answer(
    database: Database,
    data: Path,
    asked: Asked,
    *,
    shelf: S3Shelf | None,
    echo: Callable[[str], None],
) -> ExitCode:
    """Do one pass, or only say what it would remove."""
    require_current(database)
    retention = Retention(database, data, Submitter(database).forget, shelf=shelf)
    if asked.dry_run:
        _tell_chosen(retention.choose(asked.policy, only=asked.workspace), asked, echo)
        return ExitCode.HOLDS
    freed = retention.collect(asked.policy, tell=lambda _said: None, only=asked.workspace)
    if asked.as_json:
        echo(json.dumps(asdict(freed) | {"bytes_freed": freed.bytes_freed}, indent=2))
        return ExitCode.HOLDS
    echo(
        f"removed {len(freed.runs)} runs, {freed.bundles} bundles, {freed.folders} folders, "
        f"{freed.contents} contents and "
        f"{freed.events} events of kept runs"
    )
    if not freed.is_own_folder:
        echo(f"{data} is not of this database: no file of it was touched")
    echo(
        f"the disk: {freed.bytes_before} bytes before, {freed.bytes_after} after, "
        f"{freed.bytes_freed} given back"
    )
    return ExitCode.HOLDS


def _tell_chosen(chosen: Any, asked: Asked, echo: Callable[[str], None]) -> None:
    runs: list[Chosen] = list(chosen)
    if asked.as_json:
        echo(json.dumps({"runs": [asdict(one) for one in runs]}, indent=2))
        return
    for one in runs:
        echo(f"{one.run_id}  {one.workspace}  {one.size} bytes  {one.why}")
    echo(f"{len(runs)} runs would go; nothing was removed")


def _number(given: float | None, variable: str, environment: Mapping[str, str]) -> float | None:
    text = environment.get(variable, "")
    if given is not None or not text:
        return given
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    # Written so that nan is refused too.
    if not number >= 0:
        raise BadInput(f"{text!r} is no number from 0 up", where=variable, fix="give one")
    return number
