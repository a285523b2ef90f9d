"""What runs here is in the matrix that comes with it; when it is not, nothing runs or serves."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.finished import write_run_bundle

from testops.cli.entry import main
from testops.domain.versions import DOCUMENT, Combination, Unqualified, matrix_of
from testops.wiring import versions
from testops.wiring.roles import open_store, settings_for

ROOT = Path(__file__).parents[3]
Testops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def testops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Testops:
    monkeypatch.delenv("TESTOPS_URL", raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.fixture
def unqualified(monkeypatch: pytest.MonkeyPatch) -> Combination:
    """As if somebody had installed an engine that no row has."""
    strange = replace(versions.running(), engine="toron-v2.5H+.99")
    monkeypatch.setattr(versions, "running", lambda: strange)
    return strange


def test_what_runs_here_is_in_the_last_row() -> None:
    row = versions.require_qualified()
    assert row is versions.matrix().rows[-1]


def test_the_versions_are_printed_with_the_matrix(testops: Testops) -> None:
    code, said, _ = testops("versions")
    assert code == 0
    assert f"* testops 0.1 × UI none × runner 0.1 × engine {versions.running().engine}" in said
    code, said, _ = testops("versions", "--json")
    body = json.loads(said)
    assert (code, body["qualified"], body["missing"]) == (0, True, None)
    assert body["active"]["engine"] == body["row"]["engine"]


def test_an_engine_of_no_row_neither_runs_nor_compares_nor_serves(
    unqualified: Combination, testops: Testops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites").mkdir()
    monkeypatch.chdir(tmp_path)
    write_run_bundle(tmp_path / "one.tar.gz")
    for arguments in (
        ("run", "core"),
        ("snapshot", "compare", "--base", "one.tar.gz", "--target", "one.tar.gz"),
        ("snapshot", "replay", "one.tar.gz"),
        ("snapshot", "review", "one.tar.gz"),
        ("serve", "--port", "0"),
        ("api", "--port", "0"),
        ("gateway", "--port", "0"),
        ("runner",),
    ):
        code, _, said = testops(*arguments)
        assert code == 2, arguments
        assert "no row of the compatibility matrix has testops 0.1 × runner 0.1" in said, arguments
        assert "engine toron-v2.5H+.99" in said, arguments
    assert not (tmp_path / ".testops").exists()
    assert not (tmp_path / "snapshots").exists()


def test_versions_still_says_what_is_wrong(unqualified: Combination, testops: Testops) -> None:
    code, said, _ = testops("versions")
    assert code == 2
    assert "what runs here is in no row: testops 0.1" in said
    code, said, _ = testops("versions", "--json")
    assert (code, json.loads(said)["missing"]) == (2, unqualified.text())


def test_a_store_is_not_even_migrated_by_an_unqualified_version(
    unqualified: Combination, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, {}, data=tmp_path / "data")
    with pytest.raises(Unqualified), open_store(settings, may_migrate=True):
        raise AssertionError
    assert not (tmp_path / "data").exists()


def test_bundles_of_two_engines_are_not_held_together(
    testops: Testops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run_bundle(tmp_path / "one.tar.gz")
    write_run_bundle(tmp_path / "two.tar.gz", engine="toron-v2.5H+.99")
    code, _, said = testops("snapshot", "review", "two.tar.gz")
    assert code == 2
    assert "engine toron-v2.5H+.99 × bundle schema 1" in said
    compare = ("snapshot", "compare", "--base", "one.tar.gz", "--target")
    assert testops(*compare, "one.tar.gz")[0] == 0
    code, _, said = testops(*compare, "two.tar.gz")
    assert code == 2
    assert "engine toron-v2.5H+.99 × bundle schema 1" in said


def test_no_variable_of_the_environment_changes_the_matrix() -> None:
    """A wish is no qualification: who wants another combination writes a row."""
    code = (
        "import os; reads = []\n"
        "class Environment(dict):\n"
        "    def get(self, name, *rest): reads.append(name); return super().get(name, *rest)\n"
        "    def __getitem__(self, name): reads.append(name); return super().__getitem__(name)\n"
        "    def __contains__(self, name): reads.append(name); return super().__contains__(name)\n"
        "from testops.wiring import versions\n"
        "os.environ = Environment(os.environ)\n"
        "versions.require_qualified(); print([n for n in reads if 'TESTOPS' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_document_is_the_one_at_the_root_of_the_checkout() -> None:
    assert versions.matrix() == matrix_of((ROOT / DOCUMENT).read_text())
