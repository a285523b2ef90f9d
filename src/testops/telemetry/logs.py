"""One log line for one thing that happened, on standard error: JSON for machines, text for people.

Every module logs with the standard library; what runs here is configured once, and the loggers of
uvicorn and DBOS join it. A secret that somebody logs by mistake is not in the line: see `redacted`.
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger
from typing_extensions import override

from testops.telemetry.clock import Clock

HIDDEN: Final = "[hidden]"
# Their own handlers would write a second line, in another form.
_JOINING = ("uvicorn", "uvicorn.error", "uvicorn.access", "dbos", "alembic")
# DBOS tells every start and stop, uvicorn every request; their warnings are worth a line.
_QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "dbos", "alembic", "httpx", "httpcore")
_FIRST = ("at", "level", "logger", "message")
_SECRET_NAME = re.compile(
    r"(?i)authorization|cookie|passw|secret|token|api[-_]?key|credential|session|signature"
)
_SECRETS_IN_TEXT = (
    # Our own keys, wherever they stand.
    (re.compile(r"\btops_[0-9a-f]{16}_[A-Za-z0-9_-]{20,}"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    # The password in an address, and everything that a query of one may carry.
    (re.compile(r"(\w+://[^\s/:@]*):[^\s@]+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(r"(?i)([?&](?:[\w-]*token|code|key|[\w-]*secret|state|password)=)[^&\s\"']+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(/login/)[A-Za-z0-9_-]{20,}"), rf"\1{HIDDEN}"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DEPTH_MAX = 6
_SELDOM_S = 30.0
_KINDS_MAX = 100


def configure(
    *, environment: Mapping[str, str], stream: TextIO | None = None, clock: Clock
) -> None:
    """Send every logger of this process to `stream`, standard error without one.

    JSON when that is no terminal or `TESTOPS_LOG=json`, text with `TESTOPS_LOG=text`; the level is
    `TESTOPS_LOG_LEVEL`, INFO without it.
    """
    out = sys.stderr if stream is None else stream
    as_json = environment.get("TESTOPS_LOG", "text" if out.isatty() else "json") != "text"
    level = environment.get("TESTOPS_LOG_LEVEL", "INFO").upper()
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(clock, as_json=as_json))
    handler.addFilter(_Seldom("dbos"))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level if level in logging.getLevelNamesMapping() else "INFO")
    for name in _JOINING:
        joining = logging.getLogger(name)
        # Not empty: DBOS adds its own handler, and stops propagating, where it finds none.
        joining.handlers = [logging.NullHandler()]
        joining.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class _Seldom(logging.Filter):
    """Lets a warning of one logger through twice a minute, and only its first and last line.

    DBOS asks its queues four times a second, and tells each time, with a traceback, that the
    database is away. What that means for runs is told by our own loggers.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._told_at: dict[str, float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != self.name or record.levelno != logging.WARNING:
            return True
        lines = record.getMessage().splitlines() or [""]
        kind = lines[0].partition(":")[0]
        if record.created - self._told_at.get(kind, -_SELDOM_S) < _SELDOM_S:
            return False
        if len(self._told_at) >= _KINDS_MAX:
            self._told_at.clear()
        self._told_at[kind] = record.created
        record.msg, record.args = " … ".join(dict.fromkeys((lines[0], lines[-1]))), ()
        return True


@contextlib.contextmanager
def bound(**facts: str | int) -> Iterator[None]:
    """Everything logged in the block carries `facts`: run_id, attempt, stage, executor."""
    with structlog.contextvars.bound_contextvars(**facts):
        yield


def redacted(value: Any, *, depth: int = 0) -> Any:
    """`value` without secrets: those of a telling name, and those of a telling form."""
    if depth > _DEPTH_MAX:
        return "..."
    match value:
        case str():
            for pattern, instead in _SECRETS_IN_TEXT:
                value = pattern.sub(instead, value)
            return value
        case Mapping():
            return {
                str(name): HIDDEN if _names_a_secret(name) else redacted(one, depth=depth + 1)
                for name, one in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redacted(one, depth=depth + 1) for one in value]
        case None | bool() | int() | float():
            return value
        case _:
            return redacted(str(value), depth=depth + 1)


def _names_a_secret(name: object) -> bool:
    return _SECRET_NAME.search(str(name)) is not None


def _formatter(clock: Clock, *, as_json: bool) -> logging.Formatter:
    def stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["at"] = clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        stamp,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _clean,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _json_line if as_json else _text_line,
        ],
    )


def _clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # `_record` and its like are of the formatter, which removes them itself.
    own = {name: event.pop(name) for name in list(event) if name.startswith("_")}
    # DBOS and uvicorn put these into their records, for formatters of their own.
    for name in ("color_message", "applicationID", "applicationVersion", "executorID"):
        event.pop(name, None)
    cleaned: EventDict = redacted(event)
    cleaned.update(own)
    return cleaned


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered = {name: event.pop(name) for name in _FIRST if name in event} | dict(event)
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), default=str)


def _text_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    trace = event.pop("exception", None)
    head = f"{event.pop('at')[11:19]} {event.pop('level')}: {event.pop('message')}"
    event.pop("logger", None)
    facts = " ".join(f"{name}={value}" for name, value in event.items())
    line = f"{head} ({facts})" if facts else head
    # A message from outside must not move the cursor of whoever reads it.
    return _CONTROL.sub("?", f"{line}\n{trace}" if trace else line.replace("\n", " "))
