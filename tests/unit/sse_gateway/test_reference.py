"""The page about event streams says what the code does."""

import re
from pathlib import Path

from testops.client.reconnect import Waits
from testops.sse_gateway import streams
from testops.sse_gateway.frames import Encoding, drain_note, note
from testops.sse_gateway.ports import Limits
from testops.sse_gateway.requests import _PARAMETERS

PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/event-streams.md").read_text()


def test_every_note_is_on_the_page_and_no_other() -> None:
    source = Path(streams.__file__).read_text()
    made = set(re.findall(r'note\(\s*(?:self\.)?viewer\.encoding,\s*"([a-z-]+)"', source))
    made.add("drain")
    assert b"event: drain\n" in drain_note(Encoding.SSE, 1)
    assert note(Encoding.SSE, "gap").startswith(b"event: gap\n")
    assert made == set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))


def test_every_parameter_is_on_the_page() -> None:
    assert [name for name in sorted(_PARAMETERS) if f"{name}=" not in PAGE] == []


def test_every_bound_on_the_page_is_the_one_in_force() -> None:
    limits, waits = Limits(), Waits()
    for told in (
        f"up to {limits.runs_per_stream_max} runs",
        f"`retry: {limits.retry_ms}`",
        f"when {limits.heartbeat_s:g} seconds were quiet",
        f"{limits.behind_max:,} events behind",
        f"read for {limits.send_timeout_s:g} seconds",
        f"{limits.ring_events:,} events, {limits.ring_bytes >> 20} MiB",
        f"freed {limits.idle_s:g} s after",
        f"{limits.viewers_max:,} in all, {limits.viewers_per_run_max:,} of one run,"
        f" {limits.viewers_per_principal_max:,} of one key",
        f"{limits.tick_s * 1000:g} ms of collecting",
        f"({waits.first_s:g} s)",
        f"up to {waits.most_s:g} s",
        f"silent for {waits.stall_s:g} s",
    ):
        assert told in PAGE, told
    assert (limits.samples_one_in, limits.slow_after_s, waits.jitter, waits.factor) == (
        10,
        1.0,
        0.25,
        2.0,
    )
