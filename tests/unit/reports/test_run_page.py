"""The page of a run says what decided, first; it needs nothing else, and no run makes it large."""

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.support.report_pages import checked, contrast

from testops.domain.errors import OutputNotWritable
from testops.reports.run_beside import beside_run
from testops.reports.run_model import Beside, Left
from testops.reports.run_page import render_run, write_run
from testops.reports.run_text import MARKDOWN_LENGTH_MAX, run_json, run_markdown

RECORD = Beside(record="snapshots/runs/0123456789abcdef/attempt-1.json")


def gate(verdict: str = "pass", **changes: Any) -> dict[str, Any]:
    return {
        "stage": "unit",
        "metric": "failed",
        "op": "==",
        "threshold": 0,
        "severity": "block",
        "verdict": verdict,
        "value": 0 if verdict == "pass" else 3,
        "reason": f"failed is {0 if verdict == 'pass' else 3}, == 0 (reports/junit.xml)",
        **changes,
    }


def stage(name: str = "unit", verdict: str | None = "pass", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "ran",
        "verdict": verdict,
        "attempts": 1,
        "attempt_log": [{"number": 1, "outcome": "ran", "wall_s": 12.5, "message": ""}],
        "metrics": {},
        "findings": [],
        "artifacts": [],
        "notes": [],
        "reason": "",
        **changes,
    }


def finding(message: str, where: str = "a.py:1", rule: str = "", again: str = "") -> dict[str, str]:
    return {"where": where, "message": message, "rule": rule, "reproduce": again}


def a_run(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "0123456789abcdef",
        "state": "finished",
        "verdict": "pass",
        "attempt": 1,
        "suite": "core",
        "profile": "offline",
        "seeds": {"sim": 42, "chaos": 7},
        "stages": [stage()],
        "gates": [gate()],
        "reproduce": "testops run core --profile offline --seed 42 --chaos-seed 7",
        "exit_code": 0,
        "bundle": None,
        "bundle_identity": None,
        "build": {"commit": "c" * 40, "dirty": None},
        "engine_version": "toron-v2.5H+.2",
        "started_at": "2026-11-25T19:33:21.953721+00:00",
        "finished_at": "2026-11-25T19:35:23.699687+00:00",
        "reason": "",
        **changes,
    }


def words(run: Mapping[str, Any], beside: Beside = RECORD) -> str:
    return checked(render_run(run, beside)).words


def test_the_verdict_its_reason_the_seeds_and_the_command_come_before_all_else() -> None:
    said = words(a_run(verdict="fail", exit_code=1, gates=[gate(), gate("fail")]))
    told = [
        said.index(text)
        for text in (
            "Fail · no-go",
            "1 gate of 2 fails: unit: failed is 3, == 0 (reports/junit.xml).",
            "42 / 7",
            "testops run core --profile offline --seed 42 --chaos-seed 7",
            "Gates",
            "Stages",
            "Evidence",
            "Measured" if "Measured every" in said else "What was qualified",
        )
    ]
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (a_run(), "Pass · go Its one gate holds."),
        (a_run(gates=[gate(), gate()]), "Pass · go All 2 gates hold."),
        (
            a_run(verdict="warn", gates=[gate(), gate("warn")]),
            "Warn · go, with warnings 1 gate of 2 only warns: unit: failed is 3, == 0",
        ),
        (
            a_run(verdict="inconclusive", exit_code=4, gates=[gate("inconclusive", value=None)]),
            "Inconclusive · no-go, evidence is missing 1 gate of 1 cannot be judged: unit:",
        ),
        (
            a_run(verdict="fail", exit_code=3, gates=[gate("fail")]),
            "Fail, nondeterminism · no-go",
        ),
        (
            a_run(
                state="errored", verdict="inconclusive", reason="RuntimeError: no disk", gates=[]
            ),
            "Errored · no-go, evidence is missing RuntimeError: no disk",
        ),
        (
            a_run(state="cancelled", verdict="inconclusive", reason="interrupted", stages=[]),
            "Cancelled · no-go, evidence is missing interrupted",
        ),
        (
            a_run(state="running", verdict=None, gates=[], stages=[], finished_at=None),
            "Running It has not ended: there is no verdict yet",
        ),
        (
            a_run(
                verdict="inconclusive",
                gates=[],
                stages=[stage(verdict="inconclusive", state="tool_error", reason="mypy is absent")],
            ),
            "Inconclusive · no-go, evidence is missing unit: mypy is absent.",
        ),
    ],
)
def test_every_outcome_has_its_decision_and_its_one_sentence(
    run: dict[str, Any], says: str
) -> None:
    assert says in words(run)


def test_a_gate_shows_value_threshold_margin_source_weight_and_waiver() -> None:
    waiver = {"owner": "Ada", "reason": "known", "expires": "2026-12-01", "ticket": "OPS-4"}
    shown = gate(
        "fail",
        name="unit tests",
        metric="line_percent",
        op=">=",
        threshold=90,
        value=84.25,
        margin=-5.75,
        unit="%",
        source="reports/coverage.xml",
        weight=3,
        key=True,
        kind="relative",
        baseline_runs=["a", "b"],
        waiver=waiver,
    )
    run = a_run(
        verdict="fail",
        gates=[shown],
        policy={"name": "release", "version": 3, "digest": "9f" * 32},
        score={"value": 71.5, "pass": 90, "warn": 75},
    )
    said = words(run)
    for text in (
        "unit tests key relative to 2 runs weight 3",
        "84.25%",
        "≥ 90%",
        "\N{MINUS SIGN}5.75%",
        "reports/coverage.xml",
        "Waived by Ada until 2026-12-01, OPS-4: known",
        "policy release, version 3 (9f9f9f9f9f9f)",
        "71.5 of 90 wanted",
    ):
        assert text in said


@pytest.mark.parametrize(
    ("op", "threshold", "value", "margin"),
    [
        (">=", 98, 100, "+2"),
        ("<=", 250, 300, "\N{MINUS SIGN}50"),
        ("<", 250, 200, "+50"),
        ("==", 0, 0, "none"),
        ("==", 0, 3, "\N{MINUS SIGN}3"),
        ("!=", 0, 3, "+3"),
        (">=", 98, None, "–"),
    ],
)
def test_a_record_without_margins_gets_them_from_value_and_threshold(
    op: str, threshold: float, value: float | None, margin: str
) -> None:
    run = a_run(gates=[gate(metric="m", op=op, threshold=threshold, value=value)])
    page = render_run(run, RECORD)
    assert f'data-label="Margin">{margin}</td>' in page


def test_what_decides_stands_before_what_holds_and_a_waived_gate_no_longer_decides() -> None:
    waived = gate("fail", metric="waived", waiver={"owner": "Ada", "reason": "x", "expires": "y"})
    gates = [
        waived,
        gate(metric="holds"),
        gate("warn", metric="warns"),
        gate("fail", metric="fails"),
    ]
    said = words(a_run(verdict="fail", gates=gates))
    places = [said.index(f"unit · {name}") for name in ("fails", "warns", "holds", "waived")]
    assert places == sorted(places)
    assert "1 gate of 4 fails" in said
    assert "2 of 3 gates" not in said


def test_a_stage_tried_again_shows_every_try_and_what_did_not_run_is_named() -> None:
    log = [
        {"number": 1, "outcome": "tool_error", "wall_s": 22.4, "message": "killed by signal 9"},
        {"number": 2, "outcome": "ran", "wall_s": 141.7, "message": ""},
    ]
    run = a_run(
        stages=[
            stage("lint", wall_s=5),
            stage("unit", attempts=2, attempt_log=log),
            stage("load", None, state="not in this suite", attempt_log=[]),
            stage("chaos", None, state="not asked for", attempt_log=[]),
        ]
    )
    page = checked(render_run(run, RECORD))
    assert "2 min 44 s" in page.words
    assert "Try 1: killed by signal 9" in page.words
    assert "Not in this suite: load" in page.words
    assert "Not asked for: chaos" in page.words
    bars = re.findall(r'class="bar (\w*)" x="([\d.]+)%" width="([\d.]+)%"', page.text)
    assert [css for css, _, _ in bars] == ["pass", "inconclusive", "pass"]
    ends = [float(x) + float(width) for _, x, width in bars]
    starts = [float(x) for _, x, _ in bars]
    assert starts[1:] == pytest.approx(ends[:-1], abs=0.02)
    assert ends[-1] == pytest.approx(100, abs=0.02)


def test_findings_of_one_cause_are_told_once_with_their_count_and_command() -> None:
    same = [
        finding(f"assert {n} == 0", f"test_a.py::t[{n}]", again="pytest -k t") for n in range(20)
    ]
    other = finding("`os` imported but unused", "b.py:3", "F401")
    alike = finding("`sys` imported but unused", "c.py:9", "F401")
    run = a_run(verdict="fail", stages=[stage(verdict="fail", findings=[*same, other, alike])])
    page = checked(render_run(run, RECORD))
    assert "22, of 2 causes" in page.words
    assert "and 19 more like it: test_a.py::t[1], test_a.py::t[2]" in page.words
    assert page.text.count("pytest -k t</pre>") == 1


def test_the_cause_that_a_stage_gives_decides_what_belongs_together() -> None:
    found = [finding("one thing"), finding("another thing"), finding("a third")]
    exact = {"metrics": [], "causes": [["c1", "seed 1"], ["c1", "seed 2"], ["", ""]], "wall_s": [1]}
    run = a_run(verdict="fail", stages=[stage(verdict="fail", findings=found, exact=exact)])
    assert "and 1 more like it: seed 2" in words(run)


def test_metrics_have_unit_and_source_where_they_were_kept() -> None:
    exact = {
        "metrics": [["p95", 12.5, "load/summary.json", "ms"], ["bad", float("nan"), "x", ""]],
        "causes": [],
        "wall_s": [1],
    }
    run = a_run(stages=[stage("load", metrics={"p95": 12.5}, exact=exact)])
    assert "load · p95 12.5 ms load/summary.json" in words(run)
    assert "load · bad –" in words(run)


def test_what_was_not_measured_is_said_and_never_a_number() -> None:
    said = words(a_run())
    assert said.count("not measured") == 4
    metrics = {"kernels": 1, "executions": 10, "identical": 9, "determinism_percent": 90}
    said = words(a_run(stages=[stage("sim", metrics=metrics)]))
    assert "90% 9 of 10 executions repeated" in said
    assert said.count("not measured") == 3


def comparison(identity: str) -> dict[str, Any]:
    return {
        "verdict": "fail",
        "reason": "2 deltas; first: x",
        "target": {"identity": identity},
        "cause": "regression",
        "why": "executed again, it agrees with itself",
        "fix": "review it",
        "masks": {"hidden": 41, "changed": 3},
        "findings": [{"message": "a mask hits nothing"}],
        "delta_count": 2,
        "executions": {"compared": 130, "equal": 129, "differing": 1},
        "summary": [{"kernel": "bank", "field": "/o/*", "kind": "changed", "executions": 1}],
        "deltas": [
            {
                "kernel": "bank",
                "sim_seed": 44,
                "chaos_seed": 7,
                "field": "/outputs/balance",
                "text": "changed 100 to 101",
                "cause": "regression",
                "reproduce": "testops run core --seed 44",
            }
        ],
    }


def left_by_the_run(root: Path, identity: str) -> dict[str, Any]:
    """A run whose stages left two reports just now, in `root`."""
    (root / "reports").mkdir()
    (root / "reports" / "snapshot_diff.json").write_text(json.dumps(comparison(identity)))
    kernels = [{"kernel": "bank", "executions": 10, "identical": 10, "determinism_percent": 100.0}]
    (root / "reports" / "determinism.json").write_text(json.dumps({"kernels": kernels}))
    written = (root / "reports" / "determinism.json").stat().st_mtime
    from datetime import UTC, datetime, timedelta

    at = datetime.fromtimestamp(written, UTC)
    return a_run(
        bundle_identity="a" * 64,
        started_at=(at - timedelta(seconds=9)).isoformat(),
        finished_at=(at + timedelta(seconds=9)).isoformat(),
        stages=[
            stage("sim", artifacts=["reports/determinism.json"]),
            stage("snapshot-compare", artifacts=["reports/snapshot_diff.json"]),
        ],
    )


def test_deltas_and_kernels_come_from_the_reports_of_this_very_run(tmp_path: Path) -> None:
    run = left_by_the_run(tmp_path, "a" * 64)
    said = words(run, beside_run(run, tmp_path, record="r"))
    assert "2 deltas in 1 of 130 executions, by field." in said
    assert "/outputs/balance bank, seeds 44/7" in said
    assert "regression" in said
    assert "testops run core --seed 44" in said
    assert "bank 10 10 100%" in said
    assert "regression executed again, it agrees with itself Next: review it" in said
    assert "Masks hid 41 fields, 3 of them changed. a mask hits nothing" in said


def test_a_comparison_of_another_bundle_is_no_evidence_of_this_run(tmp_path: Path) -> None:
    run = left_by_the_run(tmp_path, "b" * 64)
    beside = beside_run(run, tmp_path, record="r")
    assert beside.comparison is None
    assert beside.determinism is not None


def test_reports_of_an_earlier_or_later_run_are_no_evidence_of_this_one(tmp_path: Path) -> None:
    run = left_by_the_run(tmp_path, "a" * 64)
    for moved in (
        {"started_at": "2199-01-01T00:00:00+00:00", "finished_at": None},
        {"started_at": "2001-01-01T00:00:00+00:00", "finished_at": "2001-01-01T00:01:00+00:00"},
        {"started_at": None},
    ):
        beside = beside_run(run | moved, tmp_path, record="r")
        assert (beside.comparison, beside.determinism) == (None, None)
        # They are named, and nothing is claimed of them.
        assert [one.size for one in beside.artifacts] == [None, None]


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000])
def test_a_broken_report_beside_the_run_is_left_out(tmp_path: Path, content: str) -> None:
    run = left_by_the_run(tmp_path, "a" * 64)
    (tmp_path / "reports" / "snapshot_diff.json").write_text(content)
    assert beside_run(run, tmp_path, record="r").comparison is None


HOSTILE = (
    "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    "{{ 7*7 }}{% include 'page.css' %} '\"` \u202e txt.exe \ud800 \x1b[31m <!-- ]]>"
)


def hostile_run() -> dict[str, Any]:
    return a_run(
        verdict="fail",
        suite=HOSTILE,
        profile=HOSTILE,
        reason="",
        reproduce=HOSTILE,
        engine_version=HOSTILE,
        bundle=HOSTILE,
        bundle_identity=HOSTILE,
        build={"commit": HOSTILE, "dirty": HOSTILE, "version": HOSTILE, "stated": True},
        policy={"name": HOSTILE, "version": HOSTILE, "digest": HOSTILE},
        gates=[
            gate(
                "fail",
                name=HOSTILE,
                metric=HOSTILE,
                reason=HOSTILE,
                source=HOSTILE,
                unit=HOSTILE,
                waiver={"owner": HOSTILE, "reason": HOSTILE, "expires": HOSTILE, "ticket": HOSTILE},
            )
        ],
        stages=[
            stage(
                HOSTILE,
                "fail",
                reason=HOSTILE,
                metrics={HOSTILE: 1},
                notes=[HOSTILE],
                artifacts=[HOSTILE, "javascript:alert(1)", "//evil.example/x"],
                findings=[finding(HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
            )
        ],
    )


def test_what_a_test_printed_is_text_on_the_page_whatever_it_says() -> None:
    beside = Beside(
        comparison={**comparison("x"), "reason": HOSTILE},
        versions={HOSTILE: HOSTILE},
        record=HOSTILE,
    )
    page = checked(render_run(hostile_run(), beside))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.words
    # Not a template either, and nothing that reorders or hides what is said.
    assert "{{ 7*7 }}" in page.words
    assert "\\u202e txt.exe \\ud800 \\u001b[31m" in page.words
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\ud800-\udfff]", page.text)


def test_an_artifact_leads_nowhere_but_beside_the_page(tmp_path: Path) -> None:
    names = ["reports/a.html", "snapshots/b.gz", "../up", "javascript:x", "//evil", "/etc/passwd"]
    (tmp_path / "reports").mkdir()
    (tmp_path / "snapshots").mkdir()
    for name in names[:2]:
        (tmp_path / name).write_text("x")
    run = a_run(
        started_at="2001-01-01T00:00:00+00:00",
        finished_at=None,
        stages=[stage(artifacts=names)],
    )
    left = beside_run(run, tmp_path, record="r", link=True).artifacts
    assert [one.href for one in left] == ["a.html", "../snapshots/b.gz", "", "", "", ""]
    checked(render_run(run, Beside(artifacts=left)))


def monster() -> dict[str, Any]:
    """100,000 findings of as many causes, some of a megabyte, and far too much of all else."""
    long = "é<&\"'\u202e" * 170_000
    letters = str.maketrans("0123456789", "abcdefghij")
    found = []
    for n in range(100_000):
        # Digits do not tell two causes apart.
        name, tail = str(n).translate(letters), long if n < 40 else ""
        found.append(finding(f"{name} {tail}", f"w {tail}", f"r {tail}", f"again {tail}"))
    return a_run(
        verdict="fail",
        reason=long,
        reproduce=long,
        gates=[gate("fail", metric=f"m{n}", reason=long, source=long) for n in range(1000)],
        stages=[
            stage(
                "unit",
                "fail",
                reason=long,
                findings=found,
                metrics={f"m{n}": n for n in range(5000)},
                notes=[long] * 500,
                artifacts=[f"reports/{n}-{long[:5000]}" for n in range(3000)],
                attempt_log=[
                    {"number": n, "outcome": "x", "wall_s": 0.1, "message": long}
                    for n in range(300)
                ],
            )
        ],
    )


def test_a_monstrous_run_is_a_small_page_that_says_what_it_leaves_out() -> None:
    run = monster()
    page = checked(render_run(run, RECORD))
    assert len(page.text.encode()) < 2 * 1024 * 1024
    for text in ("99,940 more causes", "800 more gates", "4,940 more metrics", "440 more notes"):
        assert f"and {text}" in page.words
    assert "attempt-1.json" in page.words
    unit = run["stages"][0]
    run["stages"] = [unit | {"findings": unit["findings"][:2000]}]
    assert len(run_markdown(run, RECORD)) < MARKDOWN_LENGTH_MAX + 1000
    assert len(json.dumps(run_json(run, RECORD)["causes"])) > 0


def test_a_record_of_another_version_is_shown_with_what_it_has() -> None:
    assert "no verdict" in words({"run_id": "x", "state": "running", "attempt": 1})
    sparse = {"run_id": "x", "verdict": "fail", "gates": [{"verdict": "fail"}], "stages": [{}]}
    assert "no-go" in words(sparse)


def test_markdown_holds_no_markup_of_a_test_and_names_what_decided() -> None:
    text = run_markdown(hostile_run(), RECORD)
    assert "\\<script\\>" in text
    table = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(table) == 1
    assert "Reproduce: `" in text
    said = run_markdown(a_run(verdict="fail", gates=[gate("fail")]), RECORD)
    assert said.startswith("## ❌ Fail · no-go\n\n1 gate of 1 fails: unit: failed is 3")


def test_the_json_says_what_the_page_says() -> None:
    run = a_run(
        verdict="fail",
        gates=[gate("fail")],
        stages=[
            stage(verdict="fail", findings=[finding("assert 1 == 2"), finding("assert 2 == 3")])
        ],
    )
    said = run_json(run, RECORD)
    assert (said["verdict"], said["decision"], said["findings"]) == ("fail", "no-go", 2)
    assert said["why"] in words(run)
    assert [cause["count"] for cause in said["causes"]] == [2]
    assert json.loads(json.dumps(said)) == said


def test_every_colour_that_carries_text_is_readable_in_light_and_dark() -> None:
    style = (resources.files("testops.reports") / "templates" / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,8})", block))
        full = {
            k: v if len(v) != 4 else "#" + "".join(c * 2 for c in v[1:]) for k, v in colours.items()
        }
        for text in ("ink", "soft", "link", "pass", "warn", "fail", "inconclusive", "none"):
            for ground in ("paper", "card", "code"):
                assert contrast(full[text], full[ground]) >= 4.5, (text, ground)
        for line in ("a", "b", "c", "fail", "warn"):
            assert contrast(full[line], full["card"]) >= 3, line


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(OutputNotWritable, match="reports"):
        write_run(a_run(), RECORD, tmp_path / "reports")


def test_the_page_of_the_same_run_is_the_same_bytes() -> None:
    beside = Beside(artifacts=[Left("a", 1, "f" * 64)], versions={"toron": "1"})
    assert render_run(a_run(), beside) == render_run(a_run(), beside)
