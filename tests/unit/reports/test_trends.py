"""Trends: the runs in their order, what is usual for those that passed, and what changed where."""

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from tests.support.report_pages import checked

from testops.domain.errors import BadInput
from testops.domain.gate import Op
from testops.domain.history import PastRun
from testops.domain.run import RunState
from testops.domain.stage import StageName
from testops.domain.verdict import Verdict
from testops.reports.trends import Limit, Trends, limits_of, trends_of
from testops.reports.trends_page import render_trends

P95 = (StageName.LOAD, "p95_ms")


class InMemory:
    """A history that a test wrote; the oldest run first."""

    def __init__(self, runs: Sequence[PastRun]) -> None:
        self._runs = runs

    def runs(
        self, *, suite: str, profile: str | None, verdicts: frozenset[Verdict], limit: int
    ) -> Sequence[PastRun]:
        found = [
            run
            for run in reversed(self._runs)
            if run.suite == suite and profile in (None, run.profile) and run.verdict in verdicts
        ]
        return found[:limit]

    def attempts(self, run_id: str) -> Sequence[PastRun]:
        return [run for run in reversed(self._runs) if run.run_id == run_id]


def past(
    place: int, verdict: Verdict = Verdict.PASS, metrics: Mapping[str, float] | None = None
) -> PastRun:
    return PastRun(
        run_id=f"{place:016x}",
        attempt=1,
        suite="core",
        profile="offline",
        state=RunState.FINISHED,
        verdict=verdict,
        finished_at=f"2026-11-{1 + place % 28:02d}T10:00:00+00:00",
        commit=f"{place:04d}{'c' * 36}",
        engine_version="toron-v2.5H+.2",
        metrics={} if metrics is None else {StageName.LOAD: metrics},
    )


def stepped(count: int = 30, at: int = 18) -> list[PastRun]:
    return [
        past(n, metrics={"p95_ms": 100.0 + n % 3 + (40 if n >= at else 0), "kernels": 13.0})
        for n in range(count)
    ]


def trends(runs: Sequence[PastRun], **options: object) -> Trends:
    return trends_of(InMemory(runs), suite="core", **options)  # type: ignore[arg-type]


def page(found: Trends) -> str:
    return checked(render_trends(found, lambda run: f"../r/{run.run_id}.json")).words


def test_a_change_names_the_runs_and_commits_between_which_it_happened() -> None:
    found = trends(stepped(), limits={P95: Limit(Op.AT_MOST, 120)})
    series = next(one for one in found.series if one.metric == "p95_ms")
    (change,) = series.changes
    assert (change.before.run_id, change.after.run_id) == (f"{17:016x}", f"{18:016x}")
    assert change.sense == "worse"
    said = page(found)
    assert "1 of 2 metrics changed level" in said
    assert "worse: 101 ms to 141 ms (+39.6%)" in said
    assert "0017cccc..0018cccc" in said


def test_runs_that_did_not_measure_leave_a_gap_and_move_no_change() -> None:
    runs = stepped()
    for place in (3, 17, 18):
        runs[place] = past(place)
    found = trends(runs, metrics=["load.p95_ms"])
    (series,) = found.series
    assert [n for n, value in enumerate(series.values) if value is None] == [3, 17, 18]
    (change,) = series.changes
    assert change.point.index == 19
    # What happened in between is part of the range: nobody measured there.
    assert (change.before.run_id, change.after.run_id) == (f"{16:016x}", f"{19:016x}")
    drawn = render_trends(found, lambda _: "")
    path = drawn.partition('class="stroke" d="')[2].partition('"')[0]
    assert path.count("M") == 3


def test_the_band_is_of_the_last_passed_runs_and_a_wild_one_does_not_move_it() -> None:
    runs = [past(n, metrics={"p95_ms": 100.0 + n % 3}) for n in range(30)]
    usual = trends(runs).series[0].band
    assert usual is not None
    assert (usual.middle, usual.runs) == (101, 20)
    assert usual.low == pytest.approx(101 - 3 * 1.4826)
    wild = [*runs, past(30, metrics={"p95_ms": 9e9})]
    assert trends(wild).series[0].band == pytest.approx(usual, abs=1) or (
        trends(wild).series[0].band.middle == 101  # type: ignore[union-attr]
    )
    failed = [*runs, *(past(31 + n, Verdict.FAIL, {"p95_ms": 500.0}) for n in range(25))]
    assert trends(failed).series[0].band == usual


def test_fewer_than_five_passed_runs_are_not_usual() -> None:
    runs = [past(n, metrics={"p95_ms": 100.0 + n}) for n in range(4)]
    assert trends(runs).series[0].band is None
    assert "usual" not in page(trends(runs)).partition("Legend")[0].partition("Metrics that")[0]
    assert trends([*runs, past(9, metrics={"p95_ms": 1.0})]).series[0].band is not None


def test_a_band_of_what_is_never_negative_does_not_reach_below_zero() -> None:
    runs = [past(n, metrics={"errors": float(n % 2)}) for n in range(10)]
    band = trends(runs).series[0].band
    assert band is not None
    assert band.low == 0


def test_only_absolute_gates_draw_a_line() -> None:
    gates: list[dict[str, object]] = [
        {"stage": "load", "metric": "p95_ms", "op": "<=", "threshold": 250},
        {"stage": "load", "metric": "p99_ms", "op": "<=", "threshold": 9, "kind": "relative"},
        {"stage": "load", "metric": "p50_ms", "op": "<=", "threshold": None},
        {"stage": "load", "metric": "p95_ms", "op": "<=", "threshold": 300},
    ]
    assert limits_of(gates) == {P95: Limit(Op.AT_MOST, 250)}
    drawn = render_trends(trends(stepped(), limits=limits_of(gates)), lambda _: "")
    assert drawn.count('class="threshold" x1="46"') == 1
    assert "gate ≤ 250 ms" in drawn


def test_a_gate_says_which_way_is_better() -> None:
    for op, sense in ((Op.AT_LEAST, "better"), (Op.AT_MOST, "worse"), (Op.EQUAL, "")):
        found = trends(stepped(), limits={P95: Limit(op, 120)}, metrics=["load.p95_ms"])
        assert [change.sense for change in found.series[0].changes] == [sense]


def test_every_point_leads_to_its_run_and_says_what_it_is() -> None:
    runs = [past(n, metrics={"p95_ms": 100.0 + n}) for n in range(3)]
    runs[1] = replace(runs[1], verdict=Verdict.FAIL)
    drawn = render_trends(trends(runs), lambda run: f"../r/{run.run_id}.json")
    parts = drawn.partition('<div class="multiples">')[2].partition("</figure>")[0].split("<a ")
    assert [part.partition('"')[2].partition('"')[0] for part in parts[1:]] == [
        f"../r/{n:016x}.json" for n in range(3)
    ]
    assert [("hollow" in part) for part in parts[1:]] == [False, True, False]
    assert "101 ms, fail" in parts[2]
    # Nobody can follow a link inside of an image, and who sees no chart reads its values.
    assert 'role="group"' in drawn
    assert f"{1:016x}"[:12] + " 101 ms fail" in checked(drawn).words


def test_runs_stand_evenly_whatever_the_time_between_them() -> None:
    runs = [past(n, metrics={"p95_ms": float(n % 2)}) for n in range(5)]
    runs[4] = replace(runs[4], finished_at="2027-12-31T00:00:00+00:00")
    drawn = render_trends(trends(runs), lambda _: "")
    figure = drawn.partition('<div class="multiples">')[2]
    places = [float(part.partition('"')[0]) for part in figure.split('class="dot" cx="')[1:]]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert max(steps) - min(steps) < 0.2


def test_metrics_that_do_not_move_are_a_table_and_no_chart() -> None:
    drawn = checked(render_trends(trends(stepped()), lambda _: ""))
    assert drawn.tags.count("figure") == 1
    assert "load.kernels 13 30" in drawn.words


def test_a_metric_that_nobody_measured_is_refused_with_those_that_were() -> None:
    with pytest.raises(BadInput, match=r"load\.nope.*name one of load\.kernels, load\.p95_ms"):
        trends(stepped(), metrics=["load.nope"])
    with pytest.raises(BadInput, match="there is no run"):
        trends([], metrics=["load.p95_ms"])


def test_no_run_is_a_page_that_says_how_to_get_one() -> None:
    assert "No run yet Run the suite: testops run core" in page(trends([]))


def test_values_that_are_no_numbers_are_gaps() -> None:
    runs = [past(n, metrics={"p95_ms": float("nan") if n == 1 else float(n)}) for n in range(3)]
    found = trends(runs)
    assert list(found.series[0].values) == [0, None, 2]
    assert (
        json.loads(json.dumps(found.to_json(), allow_nan=False))["series"][0]["values"][1] is None
    )


def test_the_csv_has_a_line_for_each_value_and_no_formula() -> None:
    runs = [replace(past(0, metrics={"p95_ms": 1.5}), commit="=cmd()", profile="@x")]
    runs.append(past(1, metrics={"=evil": 2.0}))
    rows = list(csv.reader(io.StringIO(trends(runs).to_csv())))
    assert rows[0][0] == "run_id"
    assert len(rows) == 3
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")]
    assert "1.5" in rows[2] or "1.5" in rows[1]


def test_a_history_of_far_too_much_is_a_small_page() -> None:
    hostile = "<script>alert(1)</script>\u202e"
    names = [f"m{n} {hostile}" for n in range(60)]
    runs = [
        replace(
            past(n, metrics={name: float(n % 7) for name in names}),
            commit=hostile,
            profile=hostile,
            engine_version=hostile,
        )
        for n in range(500)
    ]
    found = replace(trends(runs[:40]), runs=runs)
    series = [replace(one, values=[1.0, 2.0] * 250) for one in found.series]
    found = replace(found, series=series)
    drawn = checked(render_trends(found, lambda run: f"../r/{run.run_id}.json" + "x" * 80))
    assert "and 48 more metrics that move" in drawn.words
    assert drawn.tags.count("script") == 1
