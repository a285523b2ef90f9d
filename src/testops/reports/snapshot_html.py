"""`reports/snapshot_diff.html`: a comparison as one page that needs nothing else.

No script and nothing from outside (the page forbids both to itself); every value is escaped. Its
size is bounded: what is left out is counted and stands in the JSON beside it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from testops.reports.snapshot_style import STYLE
from testops.reports.snapshot_text import drift_text, execution_text, masks_line, origin_lines

_DELTAS_MAX = 300
_SUMMARY_MAX = 100
_MISSING_MAX = 50
_VALUE_LENGTH_MAX = 600
_TEXT_LENGTH_MAX = 1500

_WORDS = {
    "pass": "behaves as its baseline",
    "warn": "behaves as its baseline, with a finding",
    "fail": "does not behave as its baseline",
    "inconclusive": "could not be judged",
}
_SIGNS = {"pass": "✓", "warn": "!", "fail": "✕", "inconclusive": "?"}


def render_html(comparison: Mapping[str, Any]) -> str:
    """The whole page."""
    verdict = comparison["verdict"]
    target = comparison["target"]
    body = "\n".join(
        part
        for part in (
            _banner(comparison),
            _sides(comparison),
            _remarks(comparison),
            _missing(comparison, "only_in_target", "In the target only", "no baseline knows these"),
            _missing(comparison, "only_in_base", "In the baseline only", "the target did not run"),
            _summary(comparison["summary"]),
            _again(comparison["again"]),
            _deltas(comparison["deltas"], comparison["delta_count"]),
            "".join(_divergence(item) for item in comparison["divergences"]),
            _masks(comparison["masks"]),
        )
        if part
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(verdict)}: {_text(target["suite"])} snapshot comparison</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _text(value: object) -> str:
    text = str(value)
    if len(text) > _TEXT_LENGTH_MAX:
        text = f"{text[:_TEXT_LENGTH_MAX]}… ({len(text)} characters)"
    return escape(text)


def _banner(comparison: Mapping[str, Any]) -> str:
    verdict, target, counts = comparison["verdict"], comparison["target"], comparison["executions"]
    # A failure's reason repeats its first delta, which the page shows with its context.
    reason = _text(comparison["reason"].partition("; first: ")[0])
    suite = f"{_text(target['suite'])} · profile {_text(target['profile'])}"
    fix = (
        f'<p class="next"><b>Next</b> {_marked(comparison["fix"])}</p>' if comparison["fix"] else ""
    )
    cause = ""
    if comparison["delta_count"]:
        word = _text(comparison["cause"])
        cause = f'<p class="cause"><b class="word {word}">{word}</b> {_text(comparison["why"])}</p>'
    figures = "".join(
        f"<div><dt>{label}</dt><dd>{value}</dd></div>"
        for label, value in (
            ("deltas", comparison["delta_count"]),
            ("executions compared", counts["compared"]),
            ("equal", counts["equal"]),
            ("differing", counts["differing"]),
        )
    )
    return f"""<header class="banner {_text(verdict)}">
<p class="kicker">Snapshot comparison · {suite}</p>
<h1><span class="sign" aria-hidden="true">{_SIGNS[verdict]}</span>
<span><b>{_text(verdict)}</b>: the target {_WORDS[verdict]}</span></h1>
<p class="reason">{reason}</p>
{cause}{fix}
<dl class="figures">{figures}</dl>
</header>"""


def _marked(text: str) -> str:
    """Text in which `commands` are set as code."""
    parts = _text(text).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )


def _sides(comparison: Mapping[str, Any]) -> str:
    rows = "".join(
        _side(name, comparison[key]) for name, key in (("Baseline", "base"), ("Target", "target"))
    )
    head = "".join(
        f"<th scope='col'>{name}</th>"
        for name in ("", "bundle", "engine", "Python", "seeds", "identity")
    )
    return _table("What was compared", head, rows, css="sides")


def _side(name: str, side: Mapping[str, Any] | None) -> str:
    if side is None:
        return f"<tr><th scope='row'>{name}</th><td colspan='5'>none</td></tr>"
    identity = _text(side["identity"])
    lines = "".join(f"<br><small>{_text(line)}</small>" for line in origin_lines(side))
    return (
        f"<tr><th scope='row'>{name}</th><td class='path'>{_text(side['path'])}{lines}</td>"
        f"<td>{_text(side['engine_version'])}</td><td>{_text(side['python'])}</td>"
        f"<td>{_text(side['sim_seed'])} / {_text(side['chaos_seed'])}</td>"
        f"<td><code title='{identity}'>{identity[:12]}</code></td></tr>"
    )


def _table(title: str, head: str, rows: str, *, css: str = "", lead: str = "") -> str:
    return (
        f"<section><h2>{title}</h2>{lead}<div class='scroll'><table class='{css}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _remarks(comparison: Mapping[str, Any]) -> str:
    items = [("note", note) for note in comparison["notes"]]
    items += [("finding", item["message"]) for item in comparison["findings"]]
    if not items:
        return ""
    listed = "".join(
        f"<li class='{kind}'><b>{kind}</b> {_text(message)}</li>" for kind, message in items[:100]
    )
    return f"<section><h2>To know</h2><ul class='remarks'>{listed}</ul></section>"


def _missing(comparison: Mapping[str, Any], name: str, title: str, lead: str) -> str:
    count = comparison[f"{name}_count"]
    if not count:
        return ""
    shown = comparison[name][:_MISSING_MAX]
    items = "".join(f"<li>{_text(execution_text(item))}</li>" for item in shown)
    more = f"<p class='more'>and {count - len(shown)} more</p>" if count > len(shown) else ""
    return (
        f"<section><h2>{title} <small>{count}, {lead}</small></h2>"
        f"<ul class='columns'>{items}</ul>{more}</section>"
    )


def _summary(summary: Sequence[Mapping[str, Any]]) -> str:
    if not summary:
        return ""
    rows = "".join(
        f"<tr><td>{_text(line['kernel'])}</td><td><code>{_text(line['field'])}</code></td>"
        f"<td>{_kind(line['kind'])}</td><td class='number'>{_text(line['executions'])}</td></tr>"
        for line in summary[:_SUMMARY_MAX]
    )
    left_out = len(summary) - _SUMMARY_MAX
    lead = f"<p class='more'>{left_out} more fields in the JSON report</p>" if left_out > 0 else ""
    head = (
        "<th scope='col'>kernel</th><th scope='col'>field</th><th scope='col'>change</th>"
        "<th scope='col' class='number'>executions</th>"
    )
    return _table("What moved", head, rows, lead=lead)


def _kind(kind: str) -> str:
    return f"<span class='kind {_text(kind)}'>{_text(kind)}</span>"


def _again(again: Sequence[Mapping[str, Any]]) -> str:
    if not again:
        return ""
    rows = "".join(
        f"<tr><td>{_text(execution_text(item))}</td>"
        f"<td><span class='kind'>{_text(item['outcome'])}</span></td>"
        f"<td class='path'>{_text(item['reason'])}</td></tr>"
        for item in again
    )
    head = "<th scope='col'>execution</th><th scope='col'>its record</th><th scope='col'>why</th>"
    return _table("Executed twice again", head, rows)


def _deltas(deltas: Sequence[Mapping[str, Any]], count: int) -> str:
    if not count:
        return ""
    shown = deltas[:_DELTAS_MAX]
    groups = "".join(
        _execution(name, list(group)) for name, group in groupby(shown, key=execution_text)
    )
    left_out = count - len(shown)
    more = f"<p class='more'>and {left_out} more; see the JSON report</p>" if left_out else ""
    return f"<section><h2>Deltas <small>{count}</small></h2>{groups}{more}</section>"


def _execution(name: str, deltas: Sequence[Mapping[str, Any]]) -> str:
    reproduce = _text(deltas[0]["reproduce"])
    cause = _text(deltas[0]["cause"])
    items = "".join(_delta(delta) for delta in deltas)
    return (
        f"<article><h3>{_text(name)} <small class='word {cause}'>{cause}</small></h3>"
        f"<p class='again'><b>Reproduce</b> <code>{reproduce}</code></p>{items}</article>"
    )


def _delta(delta: Mapping[str, Any]) -> str:
    drift = drift_text(delta)
    change = f"<span class='percent'>{_text(drift)}</span>" if drift else ""
    note = f"<span class='note'>{_text(delta['note'])}</span>" if delta["note"] else ""
    before = "index " if delta["kind"] == "moved" else ""
    return (
        f"<div class='delta'><p>{_kind(delta['kind'])} <code class='field'>{_text(delta['field'])}"
        f"</code> {change} {note}</p><dl><div class='old'><dt>was</dt><dd>"
        f"{before}{_value(delta['old'], present=delta['has_old'])}</dd></div><div class='new'>"
        f"<dt>is</dt><dd>{before}{_value(delta['new'], present=delta['has_new'])}</dd></div></dl>"
        "</div>"
    )


def _value(value: object, *, present: bool) -> str:
    if not present:
        return "<i>absent</i>"
    if isinstance(value, dict) and set(value) == {"truncated", "length"}:
        return _shortened(str(value["truncated"]), int(value["length"]))
    spelled = _json(value)
    return _shortened(spelled, len(spelled))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shortened(spelled: str, length: int) -> str:
    shown = escape(spelled[:_VALUE_LENGTH_MAX])
    rest = f" <i>… {length} characters</i>" if length > _VALUE_LENGTH_MAX else ""
    return f"<code>{shown}</code>{rest}"


def _divergence(item: Mapping[str, Any]) -> str:
    rows = "".join(
        line
        for sign, side in ((" ", "before"), ("-", "old"), ("+", "new"))
        for line in _events(sign, item[side], ended=side != "before" and not item[side])
    )
    return (
        f"<section><h2>Traces part at event {_text(item['event'])} "
        f"<small>{_text(execution_text(item))}</small></h2>"
        f"<pre class='trace' tabindex='0'>{rows}</pre></section>"
    )


def _events(sign: str, events: Iterable[Mapping[str, Any]], *, ended: bool) -> Iterator[str]:
    css = {"-": "old", "+": "new"}.get(sign, "")
    for event in events:
        line = f"{sign} {event['number']:>8}  {_text(event['text'])}"
        yield f"<span class='{css}'>{line}</span>\n"
    if ended:
        yield f"<span class='{css}'>{sign}           (the trace has ended)</span>\n"


def _masks(masks: Mapping[str, Any]) -> str:
    if not masks["rules"]:
        return ""
    rows = "".join(
        f"<tr><td><code>{_text(rule['files'])}</code></td>"
        f"<td><code>{_text(rule['pointer'])}</code></td>"
        f"<td class='number'>{_text(rule['hits'])}</td><td class='number'>{_text(rule['hid'])}</td>"
        f"<td>{_text(rule['reason'])}</td></tr>"
        for rule in masks["rules"][:_SUMMARY_MAX]
    )
    head = (
        "<th scope='col'>files</th><th scope='col'>pointer</th><th scope='col' class='number'>hits"
        "</th><th scope='col' class='number'>hid a change</th><th scope='col'>reason</th>"
    )
    lead = f"<p class='more'>{_text(masks['file'])} {masks_line(masks)}</p>"
    return _table("Masks", head, rows, lead=lead)
