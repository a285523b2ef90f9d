"""`reports/snapshot_diff.txt`: a comparison for a terminal or a log, without a browser."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDTH = 100
_SUMMARY_MAX = 50


def render_text(comparison: Mapping[str, Any]) -> str:
    """The whole report: what was compared, the judgement, what moved, and how to see it again."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Mapping[str, Any]) -> Iterator[str]:
    executions = comparison["executions"]
    yield f"verdict     {comparison['verdict']}"
    yield f"reason      {comparison['reason']}"
    if comparison["fix"]:
        yield f"next        {comparison['fix']}"
    if comparison["delta_count"]:
        yield f"cause       {comparison['cause']}: {comparison['why']}"
    for name, key in (("base", "base"), ("target", "target")):
        yield f"{name:12}{_side(comparison[key])}"
        for line in origin_lines(comparison[key]):
            yield f"{'':12}{line}"
    yield (
        f"executions  {executions['compared']} compared, {executions['equal']} equal, "
        f"{executions['differing']} differing"
    )
    for note in comparison["notes"]:
        yield f"note        {note}"
    for finding in comparison["findings"]:
        yield f"finding     {finding['message']}"
    yield from _missing(comparison, "only_in_target", "only in the target (no baseline)")
    yield from _missing(comparison, "only_in_base", "only in the baseline (not run)")
    yield from _summary(comparison["summary"])
    yield from _again(comparison["again"])
    yield from _deltas(comparison["deltas"], comparison["delta_count"])
    yield from _divergences(comparison["divergences"])
    yield from _masks(comparison["masks"])


def _heading(text: str) -> tuple[str, str]:
    return "", f"-- {text} ".ljust(_WIDTH, "-")


def _side(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "none"
    return (
        f"{side['path']}  ({side['suite']}, profile {side['profile']}, {side['engine_version']}, "
        f"Python {side['python']}, identity {side['identity'][:12]})"
    )


def origin_lines(side: Mapping[str, Any] | None) -> Iterator[str]:
    """Who approved a side, and where it was made; nothing where nobody knows."""
    if side is None:
        return
    approved, made = side.get("approved"), side.get("provenance")
    if approved:
        yield f"approved by {approved.get('who')} at {approved.get('at')}: {approved.get('why')}"
    if made:
        yield f"recorded by {', '.join(_made(made))}"


def _made(made: Mapping[str, Any]) -> Iterator[str]:
    if made.get("run_id"):
        attempt = f" attempt {made['attempt']}" if made.get("attempt") else ""
        yield f"run {made['run_id']}{attempt}"
    if made.get("commit"):
        yield f"commit {str(made['commit'])[:12]}{' with changes' if made.get('dirty') else ''}"
    elif made.get("dirty"):
        yield f"sources {str(made['dirty'])[:12]} (no commit)"
    for name, program in (("python", "CPython"), ("sqlite", "SQLite")):
        yield f"{program} {made.get(name) or 'of an unknown version'}"
    if made.get("determinism_percent") is not None:
        yield f"{made['determinism_percent']:g} % deterministic"


def again_text(item: Mapping[str, Any]) -> str:
    """What executing one execution again has shown."""
    return f"{execution_text(item)}: {item['outcome']}: {item['reason']}"


def drift_text(delta: Mapping[str, Any]) -> str:
    """By how much a number moved: per cent, doubles in between, and exactly between integers."""
    percent, ulps, difference = (delta.get(name) for name in ("percent", "ulps", "difference"))
    parts = [] if percent is None else [f"{percent:+.4g} %"]
    parts += [] if ulps is None else [f"{ulps} ULP"]
    if difference is not None:
        parts.append(f"{int(difference):+d}")
    return ", ".join(parts)


def masks_line(masks: Mapping[str, Any]) -> str:
    """How much the masks hid altogether."""
    fields = "1 field" if masks["hidden"] == 1 else f"{masks['hidden']} fields"
    return f"hid {fields}, {masks['changed']} of them changed"


def execution_text(item: Mapping[str, Any]) -> str:
    """How every report names an execution."""
    return f"{item['kernel']}, seed {item['sim_seed']}, chaos seed {item['chaos_seed']}"


def _missing(comparison: Mapping[str, Any], name: str, title: str) -> Iterator[str]:
    listed, count = comparison[name], comparison[f"{name}_count"]
    if not count:
        return
    yield from _heading(f"{count} {title}")
    yield from (execution_text(item) for item in listed)
    if count > len(listed):
        yield f"and {count - len(listed)} more"


def _summary(summary: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not summary:
        return
    yield from _heading("what moved")
    for line in summary[:_SUMMARY_MAX]:
        yield (
            f"{line['kernel']}: {line['field']} {line['kind']} "
            f"in {line['executions']} execution{'' if line['executions'] == 1 else 's'}"
        )
    if len(summary) > _SUMMARY_MAX:
        yield f"and {len(summary) - _SUMMARY_MAX} more fields"


def _again(again: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if again:
        yield from _heading(f"{len(again)} executed twice again")
        yield from (again_text(item) for item in again)


def _deltas(deltas: Sequence[Mapping[str, Any]], count: int) -> Iterator[str]:
    if not count:
        return
    yield from _heading(f"{count} delta{'' if count == 1 else 's'}")
    yield from (f"{delta['kind']:8}  {delta['text']}" for delta in deltas)
    if count > len(deltas):
        yield f"and {count - len(deltas)} more, which no report holds"


def _divergences(divergences: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for item in divergences:
        yield from _heading(f"traces part at event {item['event']}: {execution_text(item)}")
        for sign, side in (("  ", "before"), ("- ", "old"), ("+ ", "new")):
            yield from (f"{sign}{event['number']:>8}  {event['text']}" for event in item[side])
            if side != "before" and not item[side]:
                yield f"{sign}          (the trace has ended)"


def _masks(masks: Mapping[str, Any]) -> Iterator[str]:
    if not masks["rules"]:
        return
    yield from _heading(f"masks of {masks['file']}")
    yield f"all together {masks_line(masks)}"
    for rule in masks["rules"]:
        yield (
            f"{rule['files']} {rule['pointer']}: {rule['hits']} hits, {rule['hid']} hid a change "
            f"({rule['reason']})"
        )
