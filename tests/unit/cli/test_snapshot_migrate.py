"""`testops snapshot migrate` says what it would do, what it did, and what it cannot."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.snapshots.schema2 import schema_2

from testops.cli import main

Say = Callable[..., tuple[int, str]]
FIXTURE = Path(__file__).parents[1] / "snapshots" / "fixtures" / "schema1"
NAME = "snapshots/golden/shop/offline/toron-v2.5H+.2-py3.11.tar.gz"


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    (tmp_path / "suites").mkdir()
    shutil.copytree(FIXTURE, tmp_path / "snapshots" / "golden")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TESTOPS_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["snapshot", *arguments])
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    return run


def test_the_baselines_of_a_project_are_migrated_and_say_so(say: Say) -> None:
    assert say("migrate") == (0, "1 bundle: 0 migrated, 1 in the newest schema\n")
    with schema_2():
        code, said = say("migrate", "--dry-run")
        assert code == 0
        assert f"would migrate {NAME}: schema 1 to 2, identity 449354abf3d89e84 to " in said
        assert said.endswith("1 bundle: 1 to migrate, 0 in the newest schema\n")
        body = json.loads(say("migrate", "--json")[1])
        assert [one["former_schema"] for one in body["bundles"]] == [1]
        assert say("migrate") == (0, "1 bundle: 0 migrated, 1 in the newest schema\n")
    code, said = say("migrate")
    assert code == 2
    assert "its schema_version is 2, and this program reads 1; update ryuzen-testops" in said


def test_the_store_of_a_project_is_migrated_beside_the_originals(say: Say) -> None:
    assert say("capture", NAME, "--who", "ada")[0] == 0
    assert say("migrate", "--store")[1] == "1 bundle: 0 migrated, 1 in the newest schema\n"
    with schema_2():
        assert "1 bundle: 1 migrated" in say("migrate", "--store")[1]
        assert say("migrate", "--store")[1] == "1 bundle: 0 migrated, 1 in the newest schema\n"
    code, said = say("migrate", "--store", NAME)
    assert code == 2
    assert "--store: goes without a path" in said
