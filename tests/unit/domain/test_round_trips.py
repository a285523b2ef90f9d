"""A report and a gate that crossed a process border as JSON are the ones that went in."""

import json

from hypothesis import given
from hypothesis import strategies as st

from testops.domain.gate import GateResult, GateRule, Op, Severity
from testops.domain.stage import (
    Finding,
    Metric,
    StageAttempt,
    StageName,
    StageReport,
    StageState,
)
from testops.domain.verdict import Verdict

texts = st.text(max_size=30)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
metrics = st.builds(Metric, texts, numbers, texts, texts)
reports = st.builds(
    StageReport,
    name=st.sampled_from(StageName),
    state=st.sampled_from(StageState),
    verdict=st.none() | st.sampled_from(Verdict),
    attempts=st.lists(
        st.builds(
            StageAttempt, st.integers(1, 9), texts, st.floats(0, 1e6, allow_nan=False), texts
        ),
        max_size=3,
    ).map(tuple),
    metrics=st.lists(metrics, max_size=4).map(lambda every: {one.name: one for one in every}),
    findings=st.lists(st.builds(Finding, texts, texts, texts, texts, texts, texts), max_size=4).map(
        tuple
    ),
    artifacts=st.lists(texts, max_size=3).map(tuple),
    notes=st.lists(texts, max_size=3).map(tuple),
    reason=texts,
)
gates = st.builds(
    GateResult,
    rule=st.builds(
        GateRule,
        st.sampled_from(StageName),
        texts,
        st.sampled_from(Op),
        st.floats(allow_nan=False),
        st.sampled_from(Severity),
    ),
    verdict=st.sampled_from(Verdict),
    value=st.none() | numbers,
    reason=texts,
    missing=texts,
)


@given(reports)
def test_a_report_comes_back_as_it_was(report: StageReport) -> None:
    body = json.loads(json.dumps(report.to_full_json()))
    back = StageReport.from_json(body)
    assert back == report
    assert list(back.metrics) == list(report.metrics)


@given(reports)
def test_what_people_see_of_a_report_is_in_what_comes_back(report: StageReport) -> None:
    full = report.to_full_json()
    assert {name: full[name] for name in report.to_json()} == report.to_json()


@given(gates)
def test_a_gate_comes_back_as_it_was(gate: GateResult) -> None:
    body = json.loads(json.dumps(gate.to_full_json()))
    assert GateResult.from_json(body) == gate
