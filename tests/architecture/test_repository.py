"""The repository says what is true of its code, and holds nothing that does not belong there."""

import re
import subprocess
from pathlib import Path

import pytest

from testops.domain.suite import Suite
from testops.snapshots.manifest import SCHEMA_VERSION
from testops.storage.durable import FLOW_VERSION
from testops.storage.migrate import revisions
from toron import ENGINE_VERSION
from toron import __version__ as toron_version
from toron.world.boundary.machine import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1 << 20


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not run: this tree is not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


def texts() -> list[tuple[Path, str]]:
    files = [path for path in tracked_files() if path.is_file()]
    return [
        (path, path.read_text("utf-8", "replace"))
        for path in files
        if b"\0" not in path.read_bytes()[:4096]
    ]


def compatibility_row() -> list[str]:
    text = (ROOT / "VERSIONING_AND_RELEASE_NOTES.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "toron-v" in line]
    return [cell.strip() for cell in rows[-1].strip("|").split("|")]


def test_the_newest_row_of_the_compatibility_matrix_is_this_code() -> None:
    testops, _, runners, api, database, engine, *rest = compatibility_row()
    bundle_schema, suite_schema, pythons, _, _ = rest
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{testops}.' in project
    assert testops in runners.split(", ")
    assert engine == ENGINE_VERSION
    assert f'"/{api}/test-runs"' in (ROOT / "openapi/testops.v1.json").read_text()
    assert database == f"{revisions()[-1]}, {FLOW_VERSION}"
    assert bundle_schema == str(SCHEMA_VERSION)
    assert f"Literal[{suite_schema}]" in str(
        Suite.model_fields["schema_version"].annotation
    ).replace("typing.", "")
    classified = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    assert pythons.split(", ") == classified


def test_both_version_numbers_of_toron_are_one() -> None:
    minor = ENGINE_VERSION.rpartition(".")[2]
    assert toron_version == f"2.5.{minor}"
    assert f'version = "{toron_version}"' in (ROOT / "engine/pyproject.toml").read_text()


def test_the_documented_environment_is_the_one_that_reaches_a_program() -> None:
    page = (ROOT / "docs/explanation/determinism.md").read_text()
    assert f"`{' '.join(ENVIRONMENT)}`" in page


def test_no_tracked_file_is_large() -> None:
    large = [path for path in tracked_files() if path.is_file() and path.stat().st_size > MEGABYTE]
    assert not large


def test_no_lock_file_names_a_registry() -> None:
    named = [path for path, text in texts() if re.search(r'"resolved":\s*"https?:', text)]
    assert not named
    assert not [path for path in tracked_files() if path.name == "uv.lock"]
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_no_tracked_file_names_this_checkout() -> None:
    named = [path for path, text in texts() if f"{ROOT}/" in text]
    assert not named


def test_every_relative_link_of_the_docs_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("engine/*.md")]
    links = [
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    ]
    assert links
    broken = [
        f"{page.name}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken
