import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from testops.telemetry.logs import HIDDEN, bound, configure, redacted

KEY = "tops_0123456789abcdef_" + "a" * 43


class StillClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 25, 16, 0, 0, 123456, tzinfo=UTC)

    def elapsed_s(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The loggers of the process, given back as they were."""
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access", "dbos", "alembic", "httpx")
    loggers = [logging.getLogger(name) for name in names]
    kept = [(one.handlers[:], one.level, one.propagate) for one in loggers]
    yield
    for one, (handlers, level, propagate) in zip(loggers, kept, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def set_up(**environment: str) -> io.StringIO:
    stream = io.StringIO()
    configure(environment=environment, stream=stream, clock=StillClock())
    return stream


def test_a_line_is_json_with_the_time_in_utc_and_what_was_bound() -> None:
    stream = set_up()
    with bound(run_id="7f3a", attempt=2, stage="sim", executor="host-1"):
        logging.getLogger("testops.runner").info("stage %s ended", "sim", extra={"seconds": 1.5})
    logging.getLogger("testops.runner").warning("later")
    first, second = lines(stream)
    assert first == {
        "at": "2026-11-25T16:00:00.123Z",
        "level": "info",
        "logger": "testops.runner",
        "message": "stage sim ended",
        "run_id": "7f3a",
        "attempt": 2,
        "stage": "sim",
        "executor": "host-1",
        "seconds": 1.5,
    }
    assert list(first)[:4] == ["at", "level", "logger", "message"]
    assert "run_id" not in second


def test_a_message_with_newlines_is_still_one_line() -> None:
    stream = set_up()
    logging.getLogger("x").error('first\n{"level":"info","message":"forged"}')
    (only,) = lines(stream)
    assert only["level"] == "error"


def test_an_exception_is_in_the_line_without_the_password_of_its_address() -> None:
    stream = set_up()
    try:
        raise OSError("no route to postgresql://me:hush-hush@db/testops")
    except OSError:
        logging.getLogger("x").exception("cannot connect")
    (only,) = lines(stream)
    assert "OSError: no route to postgresql://me:" in only["exception"]
    assert "hush-hush" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} refused",
        "Authorization: Bearer abcdefghijkl",
        "GET /auth/callback?code=abcdefghijkl&state=xyzxyzxyz HTTP/1.1",
        "GET /v1/test-runs?access_token=abcdefghijkl",
        "postgresql://me:abcdefghijkl@127.0.0.1/db",
        "open http://127.0.0.1:8080/login/" + "abcdefghijkl" * 3,
    ],
)
def test_a_secret_in_a_message_is_hidden(text: str) -> None:
    stream = set_up()
    logging.getLogger("uvicorn.error").warning("%s", text)
    said = stream.getvalue()
    assert HIDDEN in said
    assert "abcdefghijkl" not in said
    assert KEY not in said


def test_a_secret_is_hidden_by_its_name_however_deep_it_lies() -> None:
    stream = set_up()
    extra = {"headers": {"Authorization": "x1y2", "accept": "*/*"}, "api_key": "x1y2", "n": 1}
    logging.getLogger("x").warning("refused", extra=extra)
    assert "x1y2" not in stream.getvalue()
    (only,) = lines(stream)
    assert only["headers"]["accept"] == "*/*"
    assert only["n"] == 1
    assert redacted({"a": [{"password": "p"}]}) == {"a": [{"password": HIDDEN}]}


def test_uvicorn_and_dbos_join_and_write_each_line_once() -> None:
    """In a process of its own: both keep what they configured."""
    program = """
import logging, os
from testops.telemetry.clock import SystemClock
from testops.telemetry.logs import configure
configure(environment=os.environ, clock=SystemClock())
import uvicorn, dbos
from dbos._logger import init_logger
init_logger()
uvicorn.Config(lambda: None, log_config=None)
logging.getLogger("uvicorn.error").warning("from uvicorn")
logging.getLogger("dbos").warning("from dbos")
logging.getLogger("dbos").info("chatter")
logging.getLogger("testops").info("ours")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    said = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert said == ["from uvicorn", "from dbos", "ours"]
    assert done.stdout == ""


def test_text_for_a_person_is_one_line_that_cannot_move_the_cursor() -> None:
    stream = set_up(TESTOPS_LOG="text")
    with bound(run_id="7f3a"):
        logging.getLogger("x").warning("bad \x1b[2J name\nand more")
    assert stream.getvalue() == "16:00:00 warning: bad ?[2J name and more (run_id=7f3a)\n"


def test_the_level_is_the_environments_and_a_wrong_one_is_info() -> None:
    stream = set_up(TESTOPS_LOG_LEVEL="error")
    logging.getLogger("x").warning("unheard")
    assert stream.getvalue() == ""
    stream = set_up(TESTOPS_LOG_LEVEL="louder")
    logging.getLogger("x").info("heard")
    assert len(lines(stream)) == 1


def test_a_value_that_is_no_json_does_not_lose_the_line() -> None:
    stream = set_up()
    logging.getLogger("x").warning("odd", extra={"thing": object(), "many": {1, 2}})
    (only,) = lines(stream)
    assert only["thing"].startswith("<object")


def test_what_dbos_repeats_while_the_database_is_away_is_told_seldom() -> None:
    stream = set_up()
    logger = logging.getLogger("dbos")
    for number in range(200):
        logger.warning(
            "Exception polling schedules: Traceback (most recent call last):\n  File\nRefused %d",
            number,
        )
        logger.warning("Exception in queue: refused")
    logger.error("an error is always told")
    logger.error("an error is always told")
    logging.getLogger("testops.runner").warning("ours")
    logging.getLogger("testops.runner").warning("ours")
    assert [line["message"] for line in lines(stream)] == [
        "Exception polling schedules: Traceback (most recent call last): … Refused 0",
        "Exception in queue: refused",
        *["an error is always told"] * 2,
        *["ours"] * 2,
    ]
