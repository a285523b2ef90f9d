"""Writes the notes of a release from fragments and evidence: `make release-notes VERSION=x.y.z`.

The evidence is the newest run of suite `full` at this very commit: it must have passed, whole and
from a clean tree. What it proves goes into the notes with the digest of its certificate, and into
the row of the compatibility matrix, whose `qualified by` this is the only way to fill. Without it
nothing is written (exit 4). `--draft` prints what would be written, and what is in the way.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testops.domain.bundle_key import BundleKey
from testops.domain.errors import BadInput, OutputNotWritable
from testops.domain.verdict import ExitCode
from testops.domain.versions import DOCUMENT, Matrix, Row, matrix_of, row_text
from testops.runner.certifying import Made, NotProven
from testops.runner.files import write_atomically
from testops.snapshots import baseline_path, read_bundle
from testops.snapshots.approve import approval_problem, record_path
from testops.telemetry.clock import SystemClock
from testops.wiring import certificates
from testops.wiring.versions import minor_of, running

SUITE = "full"
DETERMINISM_MIN = 98.0
MARKER = "<!-- release notes start -->\n"
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,3})(?:\.(?:0|[1-9][0-9]{0,3})){2}", re.ASCII)


class NotQualified(Exception):
    """Why this commit cannot be released; `code` is 4 for missing evidence, 1 for a failed one."""

    def __init__(self, why: str, code: ExitCode = ExitCode.INCONCLUSIVE) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Evidence:
    """The run that qualifies, and its certificate."""

    run: Mapping[str, Any]
    made: Made
    file: Path

    @property
    def determinism(self) -> float | None:
        stages = {stage["name"]: stage for stage in self.run["stages"]}
        value = stages.get("sim", {}).get("metrics", {}).get("determinism_percent")
        return float(value) if isinstance(value, int | float) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write them, or say why not; the exit code is as everywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="x.y.z, as in pyproject.toml")
    parser.add_argument("--draft", action="store_true", help="print only")
    asked = parser.parse_args(arguments)
    try:
        return _answer(Path.cwd(), asked.version, draft=asked.draft)
    except BadInput as error:
        code, said = ExitCode.BAD_INPUT, str(error)
    except OutputNotWritable as error:
        code, said = ExitCode.INCONCLUSIVE, str(error)
    except NotQualified as error:
        code, said = error.code, f"{asked.version} is not qualified: {error}"
    sys.stderr.write(f"error: {said}\n")
    return int(code)


def _answer(root: Path, version: str, *, draft: bool) -> int:
    document = (root / DOCUMENT).read_text("utf-8")
    row = _row_to_fill(root, version, document)
    commit = _commit(root, may_be_dirty=draft)
    try:
        evidence = _evidence(root, commit)
        _require_baselines(root, matrix_of(document), row, evidence)
    except (NotQualified, NotProven) as error:
        if draft:
            sys.stdout.write(f"{_towncrier(root, version)}\n")
        raise NotQualified(str(error), getattr(error, "code", ExitCode.INCONCLUSIVE)) from error
    filled = replace(row, qualified_by=f"run {evidence.run['run_id']} ({version})")
    text = _with_evidence(_towncrier(root, version), evidence, filled, commit)
    if draft:
        sys.stdout.write(f"{text}\n")
        return int(ExitCode.HOLDS)
    _write(root, document.replace(row_text(row), row_text(filled)), text, version, evidence)
    return int(ExitCode.HOLDS)


def _row_to_fill(root: Path, version: str, document: str) -> Row:
    project = (root / "pyproject.toml").read_text("utf-8")
    own = re.search(r'^version = "([^"]+)"$', project, re.MULTILINE)
    ours = own[1] if own else "none"
    if not _VERSION.fullmatch(version) or ours != version:
        raise BadInput(
            f"{version[:40]!r} is not the version of this tree, which is {ours}",
            where="VERSION",
            fix="give x.y.z, as pyproject.toml says it",
        )
    if f"\n## {version} (" in document:
        raise BadInput(
            f"{version} has its notes", where=DOCUMENT, fix="raise the version in pyproject.toml"
        )
    if document.count(MARKER) != 1:
        raise BadInput(f"it has not one line {MARKER!r}", where=DOCUMENT, fix="put it back")
    here = replace(running(), testops=minor_of(version), runner=minor_of(version))
    return matrix_of(document).require(here)


def _commit(root: Path, *, may_be_dirty: bool) -> str:
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed and not may_be_dirty:
        raise BadInput(
            f"{len(changed)} files are not as they were committed ({changed[0][3:]}, ...)",
            where=str(root),
            fix="commit or remove them, and qualify that commit; or look first: --draft",
        )
    return _git(root, "rev-parse", "HEAD").strip()


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [shutil.which("git") or "git", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BadInput(
            f"git {arguments[0]} failed ({done.stderr.strip()[:200]})",
            where=str(root),
            fix="release from a git checkout that has a commit",
        )
    return done.stdout


def _towncrier(root: Path, version: str) -> str:
    date = SystemClock().now().date().isoformat()
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", version]
    done = subprocess.run(
        [*command, "--date", date], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BadInput(
            f"towncrier failed: {done.stderr.strip()[-300:]}", where="changes/", fix="mend them"
        )
    return done.stdout[done.stdout.index("## ") :].rstrip()


def _evidence(root: Path, commit: str) -> Evidence:
    run = _newest_run(root, commit)
    run_id = str(run["run_id"])
    made = certificates.create(
        run_id,
        folder=root,
        data=certificates.data_of(root, os.environ, None),
        environment=os.environ,
    )
    return Evidence(run, made, root / "reports" / f"certificate-{run_id}.json")


def _newest_run(root: Path, commit: str) -> Mapping[str, Any]:
    """The newest whole run of the suite at this commit; it must have passed."""
    found = [run for run in _records(root) if _is_of(run, commit)]
    if not found:
        raise NotQualified(
            f"no run of suite {SUITE} at commit {commit[:12]} is recorded here; make one: "
            f"make testops-regression SUITE={SUITE}"
        )
    newest = max(found, key=lambda run: (str(run.get("started_at")), int(run["attempt"])))
    said = f"its newest run {newest['run_id']} attempt {newest['attempt']}"
    if newest["state"] != "finished" or newest["verdict"] != "pass":
        raise NotQualified(
            f"{said} is {newest['state']}, {newest['verdict']}: {newest['reason']}",
            ExitCode.FAILED if newest["verdict"] == "fail" else ExitCode.INCONCLUSIVE,
        )
    left_out = [one["name"] for one in newest["stages"] if one["state"] == "not_asked"]
    if left_out:
        raise NotQualified(f"{said} was not asked for {', '.join(left_out)}")
    return newest


def _records(root: Path) -> list[dict[str, Any]]:
    records = []
    for path in sorted((root / "snapshots/runs").glob("*/attempt-*.json")):
        try:
            record = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise NotQualified(f"{path.relative_to(root)} cannot be read ({error})") from error
        if isinstance(record, dict):
            records.append(record)
    return records


def _is_of(run: Mapping[str, Any], commit: str) -> bool:
    build = run.get("build") or {}
    is_clean = build.get("dirty") is None and not build.get("stated")
    return run.get("suite") == SUITE and build.get("commit") == commit and is_clean


def _require_baselines(root: Path, matrix: Matrix, row: Row, evidence: Evidence) -> None:
    """A new engine minor has moved behaviour: somebody must have looked at it, on every Python."""
    determinism = evidence.determinism
    if determinism is None or determinism < DETERMINISM_MIN:
        raise NotQualified(
            f"determinism is {determinism} %, and {DETERMINISM_MIN:g} % is the least",
            ExitCode.FAILED,
        )
    before = [one for one in matrix.rows if one.is_released and one != row]
    if before and before[-1].engine == row.engine:
        return
    header = read_bundle(root / str(evidence.run["bundle"])).header
    keys = [BundleKey(header.suite, header.profile, row.engine, one) for one in row.pythons]
    for key in keys:
        if problem := _baseline_problem(baseline_path(root / "snapshots/golden", key), key):
            raise NotQualified(
                f"engine {row.engine} is new, and no baseline of it is approved for "
                f"{key.text()} ({problem}); approve one: testops snapshot approve"
            )


def _baseline_problem(path: Path, key: BundleKey) -> str:
    """Why the file at `path` is no baseline that somebody approved for `key`; empty when it is."""
    if not path.is_file():
        return "there is none"
    if not record_path(path).is_file():
        return "nobody has approved what lies there"
    try:
        bundle = read_bundle(path)
        return "it is of another key" if bundle.header.key != key else approval_problem(bundle)
    except BadInput as error:
        return error.problem


def _with_evidence(notes: str, evidence: Evidence, row: Row, commit: str) -> str:
    run, found = evidence.run, evidence.made.certificate
    head, _, rest = notes.partition("\n")
    gates = run["gates"]
    held = sum(gate["verdict"] == "pass" for gate in gates)
    waived = [f"waived: {one['gate']} ({one.get('reason')})" for one in found.predicate["waivers"]]
    digest = hashlib.sha256(evidence.made.raw).hexdigest()
    lines = [
        head,
        "",
        f"Qualified at commit `{commit}` by run `{run['run_id']}` (suite {run['suite']}, attempt "
        f"{run['attempt']}, finished {run['finished_at']}):",
        "",
        f"- bundle `{found.bundle_identity}`",
        f"- certificate `{evidence.file.name}`, sha256 `{digest}`, key `{found.key_id}`",
        f"- determinism {evidence.determinism:g} %, gates {held} of {len(gates)} hold",
        *(f"- {line}" for line in waived),
        f"- versions: {row.text()}",
    ]
    return "\n".join([*lines, rest]).rstrip()


def _write(root: Path, document: str, notes: str, version: str, evidence: Evidence) -> None:
    """The certificate first, and the fragments last: killed between, nothing that is lost."""
    before, after = document.split(MARKER)
    text = f"{before}{MARKER}\n{notes}\n{after}"
    matrix_of(text)
    write_atomically(evidence.file, evidence.made.raw)
    write_atomically(root / DOCUMENT, text.encode())
    fragments = sorted((root / "changes").glob("*.*.md"))
    for fragment in fragments:
        fragment.unlink()
    sys.stdout.write(
        f"wrote {DOCUMENT}: {version}, qualified by run {evidence.run['run_id']}; "
        f"fragments that are in it now and were removed: {len(fragments)}\n"
        f"wrote {evidence.file.relative_to(root)}: attach it to the release\n"
        f"next: git add -A && git commit\n"
    )


if __name__ == "__main__":
    sys.exit(main())
