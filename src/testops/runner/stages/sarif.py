"""Lint findings as one SARIF 2.1.0 file, with paths relative to the project."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class LintResult:
    """One place that a tool objects to."""

    path: str
    line: int
    column: int
    rule: str
    message: str


def sarif_of(by_tool: Mapping[str, Sequence[LintResult]]) -> bytes:
    """The file; equal findings are equal bytes, whatever folder they were found in."""
    runs = [_run(tool, results) for tool, results in by_tool.items()]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(log, indent=2, ensure_ascii=False).encode() + b"\n"


def relative(path: str, root: Path) -> str:
    """`path` as the project spells it; one outside stays as it is."""
    absolute = root / path
    inside = absolute.is_relative_to(root)
    return absolute.relative_to(root).as_posix() if inside else absolute.as_posix()


def _run(tool: str, results: Sequence[LintResult]) -> dict[str, Any]:
    ordered = sorted(results, key=lambda r: (r.path, r.line, r.column, r.rule, r.message))
    rules = [{"id": rule} for rule in sorted({result.rule for result in results})]
    return {
        "tool": {"driver": {"name": tool, "rules": rules}},
        "originalUriBaseIds": {"PROJECT": {"description": {"text": "The project's folder."}}},
        "results": [_result(result) for result in ordered],
    }


def _result(result: LintResult) -> dict[str, Any]:
    location = {"uri": quote(result.path), "uriBaseId": "PROJECT"}
    region = {"startLine": max(1, result.line), "startColumn": max(1, result.column)}
    return {
        "ruleId": result.rule,
        "level": "error",
        "message": {"text": result.message},
        "locations": [{"physicalLocation": {"artifactLocation": location, "region": region}}],
    }
