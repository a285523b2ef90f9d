"""SARIF 2.1.0: findings of any tool, with paths relative to `%SRCROOT%`, the project's folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from testops.reports.findings import LEVELS, CodeFinding
from testops.reports.formats.reading import Fields, Source, json_of
from testops.reports.formats.writing import json_document

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"
_SNIPPET_MAX = 500


@dataclass(frozen=True, slots=True)
class SarifLog:
    """What a file says. `tools` also names those that found nothing.

    `failed` are those that say of themselves that they did not get through: their silence means
    nothing.
    """

    found: tuple[CodeFinding, ...]
    tools: tuple[str, ...]
    suppressed: int = 0
    failed: tuple[str, ...] = ()


def write_sarif(found: Sequence[CodeFinding], *, tools: Sequence[str] = ()) -> str:
    """The file: a run a tool, also for those of `tools` that found nothing."""
    by_tool: dict[str, list[CodeFinding]] = {tool: [] for tool in tools}
    for finding in sorted(found, key=lambda one: one.order):
        by_tool.setdefault(finding.tool, []).append(finding)
    return json_document(
        {
            "$schema": SCHEMA,
            "version": "2.1.0",
            "runs": [_run(tool, findings) for tool, findings in by_tool.items()],
        }
    )


def _run(tool: str, found: Sequence[CodeFinding]) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in found})
    return {
        "tool": {"driver": {"name": tool, "rules": [{"id": rule} for rule in rules]}},
        "originalUriBaseIds": {ROOT: {"description": {"text": "The project's folder."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules.index(finding.rule)) for finding in found],
    }


def _result(finding: CodeFinding, rule_index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.level,
        "message": {"text": finding.message},
    }
    location = _location(finding)
    if location:
        result["locations"] = [location]
    if finding.fingerprints:
        result["partialFingerprints"] = dict(finding.fingerprints)
    if finding.occurrences > 1:
        result["occurrenceCount"] = finding.occurrences
    if finding.reproduce:
        result["properties"] = {"reproduce": finding.reproduce}
    return result


def _location(finding: CodeFinding) -> dict[str, Any]:
    location: dict[str, Any] = {}
    if finding.path:
        inside = not Path(finding.path).is_absolute()
        artifact: dict[str, Any] = {"uri": quote(finding.path)}
        physical = {"artifactLocation": artifact | ({"uriBaseId": ROOT} if inside else {})}
        if finding.line is not None:
            physical["region"] = _region(finding)
        location["physicalLocation"] = physical
    if finding.logical:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.logical}]
    return location


def _region(finding: CodeFinding) -> dict[str, Any]:
    region: dict[str, Any] = {"startLine": max(1, finding.line or 1)}
    if finding.column is not None:
        region["startColumn"] = max(1, finding.column)
    if finding.snippet:
        region["snippet"] = {"text": finding.snippet[:_SNIPPET_MAX]}
    return region


# --- reading ------------------------------------------------------------------------------------


def is_sarif(value: Any) -> bool:
    """Whether it has runs, and the version or the schema of SARIF."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("runs"), list)
        and ("sarif" in str(value.get("$schema", "")).lower() or value.get("version") == "2.1.0")
    )


def read_sarif(source: Source, *, root: Path) -> SarifLog:
    """Every finding that still stands: suppressed ones are counted, passed checks are none."""
    top = Fields.of(source, json_of(source))
    version = top.text("version")
    if version != "2.1.0":
        raise source.bad(
            f"SARIF {version or 'of no version'}", field="/version", fix="write SARIF 2.1.0"
        )
    found: list[CodeFinding] = []
    tools, failed, suppressed = [], [], 0
    for fields in top.objects("runs"):
        run = _Run.of(fields)
        tools.append(run.tool)
        calls = fields.objects("invocations")
        if any(call.truth("executionSuccessful") is False for call in calls):
            failed.append(run.tool)
        for result in fields.objects("results"):
            if _is_no_finding(result):
                continue
            if any(one.text("status") != "rejected" for one in result.objects("suppressions")):
                suppressed += 1
                continue
            found.append(_finding_of(result, run, root))
    return SarifLog(tuple(found), tuple(dict.fromkeys(tools)), suppressed, tuple(failed))


@dataclass(frozen=True, slots=True)
class _Run:
    """What the results of a run point at, read once: there may be very many of each."""

    tool: str
    rules: Sequence[Fields]
    rules_by_id: Mapping[str, Fields]
    artifacts: Sequence[Fields]
    bases: Fields

    @classmethod
    def of(cls, run: Fields) -> "_Run":
        driver = run.object("tool").object("driver")
        tool = driver.text("name")
        if not tool:
            place = driver.place("name")
            raise run.source.bad("a run without a tool", field=place, fix="name the tool")
        rules = list(driver.objects("rules"))
        by_id = {rule.text("id"): rule for rule in reversed(rules)}
        artifacts = list(run.objects("artifacts"))
        return cls(tool, rules, by_id, artifacts, run.object("originalUriBaseIds"))


def _is_no_finding(result: Fields) -> bool:
    kind = result.text("kind", "fail")
    return kind in ("pass", "notApplicable", "informational") or (
        result.text("baselineState") == "absent"
    )


def _finding_of(result: Fields, run: _Run, root: Path) -> CodeFinding:
    rule = _rule_of(result, run)
    first = next(result.objects("locations"), None)
    physical = first.object("physicalLocation") if first is not None else None
    region = physical.object("region") if physical is not None else None
    logical = next(first.objects("logicalLocations"), None) if first is not None else None
    return CodeFinding(
        tool=run.tool,
        rule=result.text("ruleId") or rule.text("id") or "unnamed",
        message=_message_of(result, rule),
        path=_path_of(physical, run, root) if physical is not None else "",
        line=region.count("startLine") if region is not None else None,
        column=region.count("startColumn") if region is not None else None,
        level=_level_of(result, rule),
        logical=_name_of(logical) if logical is not None else "",
        snippet=region.object("snippet").text("text") if region is not None else "",
        reproduce=_text_in(result.object("properties"), "reproduce"),
        occurrences=result.count("occurrenceCount") or 1,
        fingerprints=tuple(_fingerprints_of(result)),
    )


def _rule_of(result: Fields, run: _Run) -> Fields:
    """The rule that a result points at; an empty one where it cannot be found."""
    index = result.number("ruleIndex")
    if index is None:
        index = result.object("rule").number("index")
    if index is not None and 0 <= index < len(run.rules):
        return run.rules[int(index)]
    wanted = result.text("ruleId") or result.object("rule").text("id")
    return run.rules_by_id.get(wanted) or Fields(result.source, {"id": wanted}, result.at)


def _message_of(result: Fields, rule: Fields) -> str:
    message = result.object("message")
    text = message.text("text") or message.text("markdown")
    if not text and message.has("id"):
        text = rule.object("messageStrings").object(message.text("id")).text("text")
        for number, value in enumerate(message.list("arguments")):
            text = text.replace(f"{{{number}}}", str(value))
    return text or rule.object("shortDescription").text("text") or "it says nothing"


def _level_of(result: Fields, rule: Fields) -> str:
    usual = rule.object("defaultConfiguration").text("level", "warning")
    level = result.text("level", usual)
    if level not in LEVELS:
        raise result.source.bad(
            f"{level!r} is no level",
            field=result.place("level"),
            fix=f"write one of {', '.join(LEVELS)}",
        )
    return level


def _path_of(physical: Fields, run: _Run, root: Path) -> str:
    artifact = physical.object("artifactLocation")
    index = artifact.number("index")
    known = index is not None and 0 <= index < len(run.artifacts)
    if not artifact.has("uri") and index is not None and known:
        artifact = run.artifacts[int(index)].object("location")
    uri = artifact.text("uri")
    base = run.bases.object(artifact.text("uriBaseId") or ROOT).text("uri")
    try:
        if base and not urlsplit(uri).scheme and not uri.startswith("/"):
            uri = base.rstrip("/") + "/" + uri
        parts = urlsplit(uri)
    except ValueError as error:
        raise artifact.source.bad(
            f"{uri[:80]!r} is no URI", field=artifact.place("uri"), fix="write a relative one"
        ) from error
    if parts.scheme not in ("", "file"):
        return uri
    path = Path(unquote(parts.path))
    inside = path.is_absolute() and path.is_relative_to(root)
    return (path.relative_to(root) if inside else path).as_posix() if parts.path else ""


def _name_of(logical: Fields) -> str:
    return logical.text("fullyQualifiedName") or logical.text("name")


def _text_in(fields: Fields, name: str) -> str:
    value = fields.body.get(name)
    return value if isinstance(value, str) else ""


def _fingerprints_of(result: Fields) -> Iterator[tuple[str, str]]:
    for name, value in sorted(result.object("partialFingerprints").body.items()):
        if isinstance(value, str):
            yield name, value
