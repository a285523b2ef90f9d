"""`testops watch` shows a run of a server as if it ran here, and answers with its exit code."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from tests.unit.sse_gateway.memory import ABSENT, RUN, MemoryLog
from tests.unit.sse_gateway.serving import run, serving

from testops.cli import commands
from testops.domain.errors import BadInput


def story_of(log: MemoryLog, *, verdict: str = "fail", exit_code: int = 1) -> None:
    log.create()
    log.append("run.queued", suite="core", workspace="home", priority=5)
    seeds = {"sim": 42, "chaos": 7}
    log.append("run.started", suite="core", profile="offline", seeds=seeds, stages=["sim"])
    log.append("stage.started", stage="sim")
    for done in range(1, 4):
        log.append(
            "stage.progress",
            key="sim/echo",
            stage="sim",
            done=done,
            total=3,
            part="echo",
            part_done=done,
            part_total=3,
            part_ok=True,
        )
    log.append("stage.log", stage="sim", text="a line")
    finding = {"where": "sim/echo.py:3", "message": "echo was lost", "reproduce": "toron run X"}
    log.append("stage.log", stage="sim", text="-", finding=finding)
    log.append("gate.evaluated", gate={"stage": "sim"})
    log.append(
        "stage.finished",
        stage="sim",
        state="ran",
        verdict=verdict,
        attempts=1,
        wall_s=2.5,
        metrics={
            "executions": 3,
            "kernels": 1,
            "identical": 3,
            "determinism_percent": 100,
            "kernels_failed": 1,
        },
        findings=1,
        reason="",
    )
    log.append(
        "run.finished",
        state="finished",
        verdict=verdict,
        exit_code=exit_code,
        reason="kernels_failed is 1",
        bundle_identity=None,
    )


@contextlib.contextmanager
def served(log: MemoryLog) -> Iterator[str]:
    """A server in a thread of its own; its address."""
    ready = threading.Event()
    address: list[str] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with serving(log) as up:
            done = asyncio.Event()
            address.append(up.url)
            stop.append((asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        loop, done = stop[0]
        loop.call_soon_threadsafe(done.set)
        thread.join(20)
        assert not thread.is_alive()


def watched(url: str, *arguments: str, key: str = "good") -> Result:
    environment = {"TESTOPS_URL": url, "TESTOPS_API_KEY": key}
    return CliRunner().invoke(
        commands.testops, ["watch", *arguments], env=environment, standalone_mode=False
    )


def test_a_run_is_shown_as_one_of_here_and_its_exit_code_is_ours() -> None:
    log = MemoryLog()
    story_of(log)
    with served(log) as url:
        result = watched(url, RUN)
    assert (result.exception, result.return_value) == (None, 1)
    assert result.stdout == f"✗ FAIL  core · run {RUN} attempt 1, finished: kernels_failed is 1\n"
    assert result.stderr.splitlines() == [
        f"run {RUN} attempt 1: suite core, seeds 42/7",
        "[sim] started",
        "[sim] echo: 3 executions",
        "[sim] a line",
        "[sim] sim/echo.py:3: echo was lost",
        "[sim]   reproduce: toron run X",
        "[sim] fail in 2.5 s: 3 executions of 1 kernel, 3 identical in a second process"
        " (100% deterministic), 1 kernel failed",
    ]


def test_json_is_the_events_and_nothing_else() -> None:
    log = MemoryLog()
    story_of(log, verdict="pass", exit_code=0)
    with served(log) as url:
        result = watched(url, RUN, "--json")
    assert (result.exception, result.return_value) == (None, 0)
    *events, end = result.stdout.splitlines()
    assert "\n".join(events) + "\n" == log.lines().decode()
    assert json.loads(end)["type"] == "end"
    assert result.stderr == ""


def test_a_run_that_goes_on_is_watched_to_its_end() -> None:
    log = MemoryLog()
    log.create()
    results: list[Result] = []
    with served(log) as url:
        watching = threading.Thread(target=lambda: results.append(watched(url, RUN)))
        watching.start()
        log.append("stage.log", stage="", text="not of a stage")
        log.append("stage.started", stage="not-a-stage-that-we-know")
        log.append(
            "run.finished", state="cancelled", verdict="inconclusive", exit_code=4, reason=""
        )
        watching.join(20)
    assert results[0].return_value == 4
    assert "event 2 (stage.started) is of a newer server" in results[0].stderr
    assert results[0].stdout == f"? INCONCLUSIVE  run {RUN} attempt 1, cancelled\n"


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        ((ABSENT,), "good", f"there is no run {ABSENT}"),
        ((RUN,), "bad", "TESTOPS_API_KEY"),
        (("short",), "good", "not a run id"),
        ((RUN,), "kéy", "TESTOPS_API_KEY"),
        ((RUN,), "a\nkey", "TESTOPS_API_KEY"),
        ((RUN, "--url", "nowhere"), "good", "no address"),
    ],
)
def test_what_cannot_be_watched_is_bad_input(
    arguments: tuple[str, ...], key: str, said: str
) -> None:
    log = MemoryLog()
    story_of(log)
    with served(log) as url:
        result = watched(url, *arguments, key=key)
    assert isinstance(result.exception, BadInput)
    assert said in str(result.exception)


def test_a_log_that_lost_its_end_is_not_guessed() -> None:
    log = MemoryLog()
    story_of(log)
    log.prune(log.head(RUN).last_seq + 1)  # type: ignore[union-attr]
    with served(log) as url:
        result = watched(url, RUN)
    assert isinstance(result.exception, BadInput)
    assert "do not say how it ended" in str(result.exception)
