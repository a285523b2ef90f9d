"""The report of a run in words: Markdown for a comment, and a value for programs.

Markdown is bounded to what a comment on the usual code hosts may hold.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from testops.reports.page_text import duration, moment, one_line
from testops.reports.run_model import Beside, RunReport, run_report

MARKDOWN_LENGTH_MAX = 60_000
_GATES_MAX, _CAUSES_MAX = 40, 15
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@-])")
_SIGNS = {"pass": "✅", "warn": "⚠️", "fail": "❌", "inconclusive": "❔"}


def run_json(run: Mapping[str, Any], beside: Beside) -> dict[str, Any]:
    """The run, and what the page says about it: the decision, why, and findings by cause."""
    report = run_report(run, beside)
    plain = {name: value for name, value in run.items() if name != "stages"}
    plain["stages"] = [
        {name: value for name, value in stage.items() if name not in ("exact", "findings")}
        for stage in run.get("stages") or ()
    ]
    return {
        "run": plain,
        "verdict": report.verdict or None,
        "decision": report.decision,
        "why": report.why,
        "findings": report.findings.findings,
        "causes": [
            {
                "stage": group.stage,
                "count": group.count,
                "message": group.message,
                "rule": group.rule,
                "where": group.where,
                "reproduce": group.reproduce,
                "instances": list(group.instances),
            }
            for group in report.findings.shown
        ],
        "causes_hidden": report.findings.groups_hidden,
    }


def run_markdown(run: Mapping[str, Any], beside: Beside) -> str:
    """The report as Markdown; nothing that a test printed is markup in it."""
    report = run_report(run, beside)
    text = "\n".join(_lines(report)) + "\n"
    if len(text) <= MARKDOWN_LENGTH_MAX:
        return text
    cut = text[:MARKDOWN_LENGTH_MAX].rpartition("\n")[0]
    return f"{cut}\n\n… cut; the rest: {_plain(report.beside.record)}\n"


def _lines(report: RunReport) -> Iterator[str]:
    run = report.run
    decision = f" · {report.decision}" if report.decision else ""
    yield f"## {_SIGNS.get(report.verdict, '⬜')} {_plain(report.title)}{decision}"
    yield ""
    yield _plain(report.why)
    yield ""
    build = run.get("build") or {}
    seeds = run.get("seeds") or {}
    yield (
        f"Suite **{_plain(run.get('suite'))}**, profile {_plain(run.get('profile'))}, seeds "
        f"{seeds.get('sim')}/{seeds.get('chaos')}, build "
        f"`{_code(build.get('commit') or build.get('version') or 'none')[:12]}`"
        f"{' with changes' if build.get('dirty') else ''}, run `{_code(run.get('run_id'))}` "
        f"attempt {run.get('attempt')}, {moment(run.get('finished_at'))}, "
        f"{duration(report.seconds)}."
    )
    yield ""
    yield f"Reproduce: `{_code(run.get('reproduce'))}`"
    yield from _gates(report)
    yield from _stages(report)
    yield from _causes(report)


def _gates(report: RunReport) -> Iterator[str]:
    if not report.gates:
        return
    yield from ("", "| | Gate | Measured | Wanted | Margin |", "|---|---|---:|---:|---:|")
    for row in report.gates[:_GATES_MAX]:
        waived = " (waived)" if row.waiver else ""
        yield (
            f"| {_SIGNS.get(row.verdict, '')} {row.verdict}{waived} | {_plain(row.name)} | "
            f"{_plain(row.value)} | {_plain(row.condition)} | {_plain(row.margin or '–')} |"
        )
    hidden = len(report.gates) - _GATES_MAX + report.gates_hidden
    if hidden > 0:
        yield f"\nand {hidden} more gates: {_plain(report.beside.record)}"


def _stages(report: RunReport) -> Iterator[str]:
    if not report.stages:
        return
    yield from ("", "| Stage | Verdict | Duration | Tries |", "|---|---|---:|---:|")
    for row in report.stages:
        verdict = row.verdict or row.state
        yield f"| {row.name} | {verdict} | {duration(row.seconds)} | {row.tries} |"


def _causes(report: RunReport) -> Iterator[str]:
    found = report.findings
    if not found.findings:
        return
    yield from ("", f"### {found.findings} findings of {found.groups} causes", "")
    for group in found.shown[:_CAUSES_MAX]:
        more = f" (and {group.count - 1} more like it)" if group.count > 1 else ""
        yield f"- **{_plain(group.stage)}** {_plain(group.message)}{more}"
        if group.where:
            yield f"  - where: `{_code(group.where)}`"
        if group.reproduce:
            yield f"  - reproduce: `{_code(group.reproduce)}`"
    if found.groups > _CAUSES_MAX:
        yield f"\nand {found.groups - _CAUSES_MAX} more causes: {_plain(report.beside.record)}"


def _plain(value: object) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(value, 500))


def _code(value: object) -> str:
    # A backtick would end the span, and a bar would end a table's cell.
    return one_line(value, 500).replace("`", "'").replace("|", "¦")
