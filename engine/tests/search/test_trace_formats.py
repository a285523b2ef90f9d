"""The formats of a run are well formed, alike for equal runs, and hold a program's text safely."""

import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from toron.errors import BadKernel
from toron.search.outcome import Execution
from toron.search.traces import html
from toron.search.traces.events import Story
from toron.search.traces.formats import FORMATS, check_format, lines_of
from toron.search.traces.model import story_of
from toron.search.traces.rows import rows_of

Execute = Callable[..., Execution]
ODD = "</script><script>alert('&\u2028\x1b[31m')</script>"


@pytest.fixture(scope="module")
def cluster(execute_program: Execute) -> Story:
    return story_of(execute_program("traced", "cluster", 1, "events"))


@pytest.fixture(scope="module")
def locks(execute_program: Execute) -> Story:
    return story_of(execute_program("traced", "two_locks", 1, "events"))


def test_equal_runs_are_equal_bytes_in_each_format(execute_program: Execute, locks: Story) -> None:
    again = story_of(execute_program("traced", "two_locks", 1, "events"))
    for form in FORMATS:
        assert list(lines_of(again, form)) == list(lines_of(locks, form))


def test_an_unknown_format_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadKernel, match="no format 'pdf'; formats are text, html, perfetto, nd"):
        check_format("pdf")
    with pytest.raises(BadKernel, match="ndjson cannot show two runs; text and html can"):
        check_format("ndjson", of_two=True)


# NDJSON


def test_each_line_is_an_object_and_the_first_says_what_the_run_came_to(cluster: Story) -> None:
    objects = [json.loads(line) for line in lines_of(cluster, "ndjson")]
    assert objects[0]["type"] == "run"
    assert objects[0]["schema"] == 1
    assert objects[0]["outcome"]["failure"]["kind"] == "exception"
    kinds = Counter(one["type"] for one in objects)
    assert kinds == {
        "run": 1,
        "lane": len(cluster.lanes),
        "event": cluster.count,
        "message": len(cluster.messages),
        "bar": 3,
    }
    events = [one for one in objects if one["type"] == "event"]
    assert [one["number"] for one in events] == list(range(1, cluster.count + 1))
    assert all(one["lane"] < len(cluster.lanes) for one in events)
    assert any(
        ODD in json.loads(one["detail"].partition(" ")[2])
        for one in events
        if one["kind"] == "record"
    )


def test_the_reference_names_every_field_that_a_line_has(cluster: Story, locks: Story) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "traces.md").read_text()
    rows = {
        line.split("`")[1]: set(re.findall(r"`(\w+)`", line))
        for line in page.splitlines()
        if line.startswith("| `")
    }
    for line in [*lines_of(cluster, "ndjson"), *lines_of(locks, "ndjson")]:
        fields = json.loads(line)
        assert set(fields) - {"type"} <= rows[fields["type"]]


# Perfetto: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU


def faults_of(file: dict[str, Any]) -> list[str]:
    """What the trace event format forbids, or Perfetto would drop without a word."""
    timed = [record for record in file["traceEvents"] if record["ph"] != "M"]
    fields = {"ph", "name", "pid", "tid", "ts"}
    found = [
        f"fields are missing in {one}" for one in file["traceEvents"] if not fields <= set(one)
    ]
    found += [f"unknown phase in {one}" for one in timed if one["ph"] not in "Xisf"]
    found += [
        f"unknown scope in {one}" for one in timed if one.get("s", "g") not in ("g", "p", "t")
    ]
    times = [record["ts"] for record in timed]
    found += [f"time goes back to {b}" for a, b in pairwise(times) if b < a]
    slices: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in timed:
        if record["ph"] == "X":
            end = record["ts"] + record["dur"]
            slices[record["pid"], record["tid"]].append((record["ts"], end))
        elif record["ph"] in "sf":
            flows[record["id"]].append(record)
    for track, spans in slices.items():
        found += [f"{track} overlaps at {b[0]}" for a, b in pairwise(spans) if b[0] < a[1] - 1e-6]
    found += [f"flow {ident!r} is no number" for ident in flows if not isinstance(ident, int)]
    for ident, ends in flows.items():
        if [end["ph"] for end in ends] != ["s", "f"]:
            found.append(f"flow {ident} is not a pair")
        for end in ends:
            spans = slices[end["pid"], end["tid"]]
            if not any(begin - 1e-6 < end["ts"] < stop - 1e-6 for begin, stop in spans):
                found.append(f"flow {ident} begins or ends outside of any slice")
    return found


def test_perfetto_gets_a_file_without_a_fault(cluster: Story, locks: Story) -> None:
    for story in (cluster, locks):
        (line,) = lines_of(story, "perfetto")
        file = json.loads(line)
        assert faults_of(file) == []
        records = file["traceEvents"]
        names = [r["args"]["name"] for r in records if r["name"] == "process_name"]
        assert names == [*story.hosts, "world"]
        steps = [r for r in records if r["ph"] == "X" and r["cat"] == "step"]
        assert len(steps) == sum(event.kind == "step" for event in story.events)
    flows = Counter(r["cat"] for r in records if r["ph"] == "s")
    assert flows["wake"] > 0


def test_perfetto_shows_messages_as_arrows_and_faults_as_slices(cluster: Story) -> None:
    (line,) = lines_of(cluster, "perfetto")
    records = json.loads(line)["traceEvents"]
    arrows = [r for r in records if r["ph"] == "s" and r["cat"] == "message"]
    assert len(arrows) == sum(len(message.arrived) for message in cluster.messages)
    bars = {
        r["name"]: r["dur"] for r in records if r["ph"] == "X" and r["cat"] in ("fault", "down")
    }
    assert bars == pytest.approx(
        {"partition app|db": 300_000, "db is down (crash)": 400_000}, abs=10_000
    )


@pytest.mark.parametrize("harm", ["overlap", "lost end", "order", "outside"])
def test_the_check_of_perfettos_file_sees_what_is_wrong_with_it(locks: Story, harm: str) -> None:
    (line,) = lines_of(locks, "perfetto")
    file = json.loads(line)
    records = file["traceEvents"]
    if harm == "overlap":
        next(r for r in records if r["ph"] == "X")["dur"] = 1e9
    elif harm == "lost end":
        records.remove(next(r for r in records if r["ph"] == "f"))
    elif harm == "order":
        records.append(next(r for r in records if r["ph"] == "X"))
    else:
        next(r for r in records if r["ph"] == "f")["tid"] = 77
    assert faults_of(file)


# The page


class Page(HTMLParser):
    """A page as a browser reads it: what is in scripts, what is text, what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.text = ""
        self.fetches: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append("")
            self._in_script = True
        self.fetches += [str(value) for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data


def test_a_page_is_one_file_that_fetches_nothing(cluster: Story, locks: Story) -> None:
    for against in (None, locks):
        text = "\n".join(lines_of(cluster, "html", against=against))
        page = Page(text)
        assert page.fetches == []
        assert "default-src 'none'" in text
        assert not re.search(r"https?://|@import|url\(|\{\{", text)
        assert len(page.scripts) == 2  # the data, and the program


def test_text_of_a_program_is_never_markup(cluster: Story) -> None:
    page = Page("\n".join(lines_of(cluster, "html")))
    payload = json.loads(page.scripts[0])
    assert any("</script><script>alert(" in text for text in payload["runs"][0]["texts"])
    assert "</script><script>alert(" in page.text  # of the summary, as text
    assert "alert(" not in page.scripts[1]


def test_a_page_says_without_a_script_why_the_run_failed_and_how_to_replay_it(
    cluster: Story, locks: Story
) -> None:
    text = Page("\n".join(lines_of(locks, "html"))).text
    assert "deadlock" in text
    assert text.count("held by take (task#") == 2
    assert f"toron replay {locks.outcome.token}" in text
    both = Page("\n".join(lines_of(locks, "html", against=cluster))).text
    assert "Both runs are alike for 0 events. Then A: world: spawn" in both


def test_a_page_holds_the_last_events_of_a_long_run_and_says_so(
    cluster: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "EVENTS_MAX", 50)
    page = Page("\n".join(lines_of(cluster, "html")))
    run = json.loads(page.scripts[0])["runs"][0]
    numbers = run["events"]["number"]
    assert len(numbers) == 50
    assert numbers[0] == cluster.count - 49
    assert sum(numbers) == cluster.count
    assert f"The first {cluster.count - 50} events are not on this page" in page.text


def test_tasks_that_never_overlap_share_a_row_and_others_do_not(cluster: Story) -> None:
    rows, (row_of,) = rows_of([cluster])
    assert len(rows) < len(cluster.lanes)
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for lane in cluster.lanes:
        if lane.kind == "task":
            spans[row_of[lane.index]].append((lane.spawned, lane.ended or cluster.count + 1))
    assert max(len(known) for known in spans.values()) > 1
    for known in spans.values():
        for (_, end), (begin, _) in pairwise(sorted(known)):
            assert end <= begin


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser here")
def test_a_browser_opens_the_page_at_the_failure(
    cluster: Story, locks: Story, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text("\n".join(lines_of(cluster, "html", against=locks)))
    shown = opened(path, "B8")
    assert 'class="badge fail"' in shown
    assert "B · #8 step" in shown
    assert "race" in shown
    assert re.search(r'aria-setsize="\d+"', shown)
    note = re.search(r'id="note" role="status">([^<]*)<', shown)
    assert note is not None
    assert "events in view" in note[1]


def opened(path: Path, event: str) -> str:
    """What a browser makes of the page, with ``event`` chosen."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"]
    command += [f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{path}#{event}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
