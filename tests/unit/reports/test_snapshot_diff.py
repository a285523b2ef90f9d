"""The three reports of a comparison say the same, escape everything, and stay within bounds."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from testops.domain.errors import OutputNotWritable
from testops.reports import write_snapshot_diff

HOSTILE = "<script>alert(1)</script>\"'&"


def side(path: str = "snapshots/dev") -> dict[str, Any]:
    return {
        "path": path,
        "identity": "1f" * 32,
        "suite": "regression_core",
        "profile": "offline",
        "sim_seed": 7,
        "chaos_seed": "18446744073709551615",
        "engine_version": "toron-v2.5H+.1",
        "python": "3.11",
        "masks_version": "0" * 64,
    }


def delta(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "drifted",
        "kernel": "ledger",
        "sim_seed": 7,
        "chaos_seed": 3,
        "field": "/outputs/balances/alice",
        "old_field": "/outputs/balances/alice",
        "old": 100,
        "new": 90,
        "has_old": True,
        "has_new": True,
        "percent": -10.0,
        "ulps": None,
        "difference": -10,
        "cause": "regression",
        "note": "",
        "reproduce": "toron run a.py::ledger --seed 7 --chaos-seed 3",
        "text": "kernel ledger, seed 7, chaos seed 3: /outputs/balances/alice was 100, is 90",
        **changes,
    }


def comparison(**changes: Any) -> dict[str, Any]:
    return {
        "verdict": "fail",
        "reason": "1 delta in 1 execution; first: kernel ledger",
        "fix": "mend the change; if it is meant, `testops snapshot approve run.tar.gz`",
        "cause": "regression",
        "why": "executed twice again, and both reach the target's record",
        "again": [
            {
                "kernel": "ledger",
                "sim_seed": 7,
                "chaos_seed": 3,
                "outcome": "reached",
                "reason": "both executions reach the record",
            }
        ],
        "base": side("snapshots/golden/x.tar.gz"),
        "target": side(),
        "executions": {"compared": 5, "equal": 4, "differing": 1},
        "only_in_base": [],
        "only_in_base_count": 0,
        "only_in_target": [{"kernel": "ledger", "sim_seed": 9, "chaos_seed": 3}],
        "only_in_target_count": 51,
        "delta_count": 1,
        "deltas": [delta()],
        "summary": [
            {
                "kernel": "ledger",
                "field": "/outputs/balances/alice",
                "kind": "drifted",
                "executions": 1,
            }
        ],
        "divergences": [
            {
                "kernel": "ledger",
                "sim_seed": 7,
                "chaos_seed": 3,
                "event": 5,
                "before": [{"number": 4, "text": "same"}],
                "old": [{"number": 5, "text": "left"}],
                "new": [],
            }
        ],
        "masks": {
            "file": "masks.yaml",
            "version": "0" * 64,
            "hidden": 3,
            "changed": 2,
            "rules": [
                {"files": "kernels/*", "pointer": "/a", "reason": "hour", "hits": 3, "hid": 2}
            ],
        },
        "findings": [{"kind": "mask_unused", "message": "the mask hits nothing"}],
        "notes": ["recorded under different masks"],
        **changes,
    }


def test_the_three_reports_are_written_and_the_text_comes_first(tmp_path: Path) -> None:
    paths = write_snapshot_diff(comparison(), tmp_path / "reports")
    assert [path.name for path in paths] == [
        "snapshot_diff.txt",
        "snapshot_diff.json",
        "snapshot_diff.html",
    ]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == sorted(
        path.name for path in paths
    )
    assert json.loads(paths[1].read_text()) == comparison()


def test_every_fact_is_in_the_text_and_in_the_page(tmp_path: Path) -> None:
    text, _, page = (path.read_text() for path in write_snapshot_diff(comparison(), tmp_path))
    shown = re.sub(r"<[^>]+>", "", page)
    for report in (text, shown):
        for fact in (
            "ledger, seed 7, chaos seed 3",
            "/outputs/balances/alice",
            "toron-v2.5H+.1",
            "recorded under different masks",
            "the mask hits nothing",
            "testops snapshot approve run.tar.gz",
            "left",
            "(the trace has ended)",
            "ledger, seed 9, chaos seed 3",
            "and 50 more",
            "kernels/*",
        ):
            assert fact in report, fact


def test_the_page_says_how_to_see_each_execution_again(tmp_path: Path) -> None:
    page = write_snapshot_diff(comparison(), tmp_path)[2].read_text()
    assert "<code>toron run a.py::ledger --seed 7 --chaos-seed 3</code>" in page


def test_a_passing_comparison_without_a_baseline_side_renders(tmp_path: Path) -> None:
    quiet = comparison(
        verdict="inconclusive",
        base=None,
        deltas=[],
        delta_count=0,
        summary=[],
        divergences=[],
        findings=[],
        notes=[],
        only_in_target=[],
        only_in_target_count=0,
        masks={"file": None, "version": "0" * 64, "rules": []},
    )
    text, _, page = (path.read_text() for path in write_snapshot_diff(quiet, tmp_path))
    assert "base        none" in text
    assert "could not be judged" in page


def _hostile(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: item if name in ("verdict", "chaos_seed") else _hostile(item)
                for name, item in value.items()
            }
        case list():
            return [_hostile(item) for item in value]
        case str():
            return value + HOSTILE
        case _:
            return value


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_escapes_every_value_and_refers_to_nothing_outside(
    tmp_path: Path,
) -> None:
    hostile = _hostile(comparison())
    page = write_snapshot_diff(hostile, tmp_path)[2].read_text()
    parsed = _Page()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    assert not {"script", "link", "img", "iframe", "a", "object"} & set(parsed.tags)
    assert not {"src", "href", "onclick", "style"} & {name for name, _ in parsed.attributes}
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_the_page_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    wide = delta(old={"truncated": "&" * 2000, "length": 10**7}, new="&" * 2000, text="&" * 800)
    many = comparison(deltas=[wide] * 1000, delta_count=123_456)
    page = write_snapshot_diff(many, tmp_path)[2].read_text()
    assert len(page) < 4_000_000
    assert "and 123156 more" in page
    assert "10000000 characters" in page


def test_equal_comparisons_are_equal_bytes(tmp_path: Path) -> None:
    first = write_snapshot_diff(comparison(), tmp_path / "a")
    second = write_snapshot_diff(dict(reversed(comparison().items())), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_comparison_may_be_given_as_an_object_that_says_itself(tmp_path: Path) -> None:
    class Said:
        def to_json(self) -> dict[str, Any]:
            return comparison()

    assert write_snapshot_diff(Said(), tmp_path)[0].exists()


def test_a_full_disk_leaves_the_former_report_whole(tmp_path: Path) -> None:
    before = write_snapshot_diff(comparison(), tmp_path)[2].read_bytes()
    program = (
        "import json, resource, sys; from pathlib import Path\n"
        "from testops.domain.errors import OutputNotWritable\n"
        "from testops.reports import write_snapshot_diff\n"
        "given = json.load(sys.stdin)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: write_snapshot_diff(given, Path(sys.argv[1]))\n"
        "except OutputNotWritable as error: sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        input=json.dumps(comparison(verdict="pass")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "snapshot_diff.html: cannot be written (File too large)" in done.stderr
    assert (tmp_path / "snapshot_diff.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(OutputNotWritable, match="free space or permit"):
        write_snapshot_diff(comparison(), tmp_path / "reports")


def rendered(tmp_path: Path, **changes: Any) -> tuple[str, str]:
    paths = write_snapshot_diff(comparison(**changes), tmp_path)
    return paths[0].read_text(), paths[2].read_text()


def test_the_cause_and_what_was_executed_again_stand_in_every_report(tmp_path: Path) -> None:
    why = "ledger, seed 7, chaos seed 3: two executions part at a.py:4"
    text, html = rendered(tmp_path, cause="nondeterminism", why=why)
    assert f"cause       nondeterminism: {why}" in text
    assert "ledger, seed 7, chaos seed 3: reached: both executions reach the record" in text
    assert 'class="word nondeterminism"' in html
    assert why in html
    assert "Executed twice again" in html
    text, html = rendered(tmp_path, delta_count=0, deltas=[], again=[])
    assert "cause " not in text
    assert "Executed twice again" not in html


def test_drifts_say_ulp_and_masks_say_what_they_hid(tmp_path: Path) -> None:
    drifted = delta(percent=-1.85e-14, ulps=1, difference=None)
    text, html = rendered(tmp_path, deltas=[drifted])
    assert "-1.85e-14 %, 1 ULP" in html
    assert "hid 3 fields, 2 of them changed" in text
    assert "hid 3 fields, 2 of them changed" in html


def test_who_approved_and_what_it_was_made_with_is_named_and_escaped(tmp_path: Path) -> None:
    approved = {"who": HOSTILE, "why": "first release", "at": "2026-11-24T00:00:00Z"}
    made = {"commit": "c" * 40, "dirty": None, "run_id": "ab", "attempt": 2, "python": "3.11.7"}
    base = side() | {"approved": approved, "provenance": made}
    text, html = rendered(tmp_path, base=base)
    assert "at 2026-11-24T00:00:00Z: first release" in text
    made_with = (
        "run ab attempt 2, commit cccccccccccc, CPython 3.11.7, SQLite of an unknown version"
    )
    assert f"recorded by {made_with}" in text
    assert made_with in html
    assert "<script>" not in html
