"""Checks that this machine and this project can run everything, and says what to do where not."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from testops import wiring
from testops.cli.checks import Check
from testops.cli.doctor_platform import platform_checks
from testops.cli.places import places
from testops.domain.errors import TestOpsError
from testops.domain.verdict import ExitCode
from testops.runner.projects import Project, project_around
from testops.runner.suites import known_names

FREE_BYTES_MIN = 200_000_000
_SUPPORTED = ((3, 11), (3, 13))


def check(
    folder: Path, environment: Mapping[str, str], *, data: Path | None, echo: Callable[[str], None]
) -> ExitCode:
    """Print every check; `HOLDS` when what is needed is there. Changes nothing."""
    project = project_around(folder)
    at = places(folder, environment, data=data)
    checks = [*_machine(project), *_project(project), *platform_checks(at, environment)]
    for one in checks:
        sign = "ok  " if one.ok else ("FAIL" if one.needed else "note")
        echo(f"{sign}  {one.what}: {one.found}" + ("" if one.ok else f"; {one.fix}"))
    broken = [one for one in checks if one.needed and not one.ok]
    echo("everything needed is there" if not broken else f"{len(broken)} to mend, see FAIL above")
    return ExitCode.INCONCLUSIVE if broken else ExitCode.HOLDS


def _machine(project: Project) -> Iterator[Check]:
    version = sys.version_info[:2]
    yield Check(
        "Python",
        _SUPPORTED[0] <= version <= _SUPPORTED[1],
        f"{sys.version.split()[0]} at {sys.executable}",
        "use 3.11, 3.12 or 3.13",
    )
    for name, version_text in wiring.installed_versions().items():
        if name in ("ryuzen-testops", "toron", "engine", "deflate"):
            yield Check(name, ok=True, found=version_text)
    git = shutil.which("git")
    yield Check(
        "git", git is not None, git or "not found", "a run then has no commit", needed=False
    )
    free = shutil.disk_usage(_existing(project.root)).free
    yield Check("disk", free >= FREE_BYTES_MIN, f"{free // 1_000_000} MB free", "make room")
    for folder in (project.snapshots, project.reports):
        why = _why_not_writable(folder)
        yield Check(f"{folder.name}/", not why, why or "can be written", "permit writing there")
    for tool in ("pytest", "coverage", "ruff", "mypy"):
        has = importlib.util.find_spec(tool) is not None
        yield Check(
            tool, has, "installed" if has else "not installed", f"pip install {tool}", needed=False
        )


def _project(project: Project) -> Iterator[Check]:
    names = known_names(project.suites)
    if not names:
        found = f"none in {project.suites}"
        yield Check("suites", ok=False, found=found, fix="testops init writes one", needed=False)
    for name in names:
        try:
            suite = wiring.check_suite(name, working_folder=project.root)
        except TestOpsError as error:
            yield Check(f"suite {name}", ok=False, found=str(error), fix="correct the suite")
        else:
            yield Check(f"suite {name}", ok=True, found=", ".join(suite.stages.named()))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _why_not_writable(folder: Path) -> str:
    place = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return ""
