"""What tools object to, and how one objection is known again after the code around it moved.

The fingerprint of a finding is the hash of tool, rule, file, message and the text of its own line,
and of a number that tells equal ones in a file apart. Its line number is not in it, nor is anything
else of the file: it stays while code above is edited, and changes when the finding itself does. A
renamed file makes new findings. How SARIF spells all this belongs to `reports.formats.sarif`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops.domain.stage import Metric

FINGERPRINT = "testopsFinding/v1"
_SOURCE_BYTES_MAX = 10_000_000
LEVELS = ("error", "warning", "note", "none")
# An address differs between two executions of the same program.
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")
# Messages that count on the place they stand at: "previous definition from line 12".
_NUMBERED_PLACE = re.compile(r"\b(lines?|columns?|col|offset|row)([ :]+)\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CodeFinding:
    """One objection.

    `path` is from the project's folder; `key` stands for message and line where the tool knows
    better what makes two findings one.
    """

    tool: str
    rule: str
    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    level: str = "error"
    logical: str = ""
    snippet: str = ""
    key: str = ""
    reproduce: str = ""
    occurrences: int = 1
    fingerprints: tuple[tuple[str, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Ours, where `fingerprinted` has made it."""
        return dict(self.fingerprints).get(FINGERPRINT, "")

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.tool, self.path, self.line or 0, self.column or 0, self.rule, self.message)

    def to_json(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "rule": self.rule,
            "level": self.level,
            "message": self.message,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "logical": self.logical,
            "occurrences": self.occurrences,
            "fingerprint": self.fingerprint,
        }


def fingerprinted(found: Iterable[CodeFinding]) -> tuple[CodeFinding, ...]:
    """The findings in their order, each once, each with its fingerprint."""
    once: dict[tuple[Any, ...], CodeFinding] = {}
    for finding in sorted(found, key=lambda one: one.order):
        same = _identity(finding)
        seen = once.get(same)
        if seen is not None:
            finding = replace(seen, occurrences=seen.occurrences + finding.occurrences)
        once[same] = finding
    alike: Counter[tuple[str, ...]] = Counter()
    return tuple(_with_fingerprint(finding, alike) for finding in once.values())


def _identity(finding: CodeFinding) -> tuple[Any, ...]:
    """What two tellings of one finding share."""
    if finding.fingerprint:
        # We marked it before, in a file that was read again.
        return finding.tool, finding.fingerprint
    own = (finding.key,) if finding.key else (finding.line, finding.column, finding.message)
    return (finding.tool, finding.rule, finding.path, finding.logical, *own)


def _with_fingerprint(finding: CodeFinding, alike: Counter[tuple[str, ...]]) -> CodeFinding:
    if finding.fingerprint:
        return finding
    told = _ADDRESS.sub("0xN", finding.key or _NUMBERED_PLACE.sub(r"\1\2N", finding.message))
    line = "" if finding.key else " ".join(finding.snippet.split())
    parts = (finding.tool, finding.rule, finding.path, finding.logical, told, line)
    number = alike[parts]
    alike[parts] += 1
    digest = hashlib.sha256("\0".join((*parts, str(number))).encode("utf-8", "replace"))
    ours = (FINGERPRINT, digest.hexdigest()[:32])
    return replace(finding, fingerprints=(*finding.fingerprints, ours))


def lines_of(root: Path) -> Callable[[str, int | None], str]:
    """A function that gives the text of a line of a file of the project; "" where there is none."""
    read: dict[str, Sequence[str]] = {}

    def line_of(path: str, line: int | None) -> str:
        if not path or line is None:
            return ""
        if path not in read:
            read[path] = _read_lines(root / path, root)
        lines = read[path]
        return lines[line - 1] if 0 < line <= len(lines) else ""

    return line_of


def _read_lines(path: Path, root: Path) -> Sequence[str]:
    """The lines of a file of the project. Another's report names any file, and gets none else."""
    try:
        if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
            return ()
        if path.stat().st_size > _SOURCE_BYTES_MAX:
            return ()
        return path.read_text("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return ()


def with_snippets(found: Iterable[CodeFinding], root: Path) -> list[CodeFinding]:
    """The findings with the text of their lines, where the project has it."""
    line_of = lines_of(root)
    return [
        one if one.snippet else replace(one, snippet=line_of(one.path, one.line)) for one in found
    ]


def finding_metrics(found: Sequence[CodeFinding], source: str) -> tuple[Metric, ...]:
    """How many there are, and of each level."""
    counts = Counter(one.level for one in found)
    return (
        Metric("findings", len(found), source),
        *(Metric(f"findings_{level}", counts[level], source) for level in LEVELS[:3]),
    )
