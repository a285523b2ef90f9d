"""`testops snapshot capture … gc` as a person and a script use them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.s3 import S3Server
from tests.unit.snapshots.building import Recipe

from testops.cli import main
from testops.snapshots import read_bundle, unpack_bundle

RUN = "0123456789abcdef"
Answer = tuple[int, str, str]
Ask = Callable[..., Answer]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one run, whose bundle is also unpacked, and where we stand."""
    root = tmp_path / "project"
    (root / "suites").mkdir(parents=True)
    run = Recipe(seeds=(1, 2)).write(root / "snapshots" / f"run-{RUN}.tar.gz")
    unpack_bundle(run, root / "snapshots" / "dev")
    monkeypatch.chdir(root)
    for name in list(os.environ):
        if name.startswith(("TESTOPS_", "AWS_")):
            monkeypatch.delenv(name)
    return root


@pytest.fixture
def ask(project: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The exit code and both outputs of a command in the project."""
    assert Path.cwd() == project

    def asked(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(["snapshot", *arguments])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return asked


def body_of(answer: Answer) -> dict[str, Any]:
    code, out, err = answer
    assert (code, err) == (0, "")
    body = json.loads(out)
    assert isinstance(body, dict)
    return body


def test_from_capture_to_collection(ask: Ask, project: Path) -> None:
    identity = read_bundle(Path("snapshots") / f"run-{RUN}.tar.gz").identity

    captured = body_of(ask("capture", RUN[:6], "--who", "ada", "--json"))
    assert [one["identity"] for one in captured["bundles"]] == [identity]
    assert captured["store"] == str(project / "snapshots" / ".store")
    assert captured["bytes_new"] == captured["bundles"][0]["size"]
    again = body_of(ask("capture", "snapshots/dev", "--json"))
    assert (again["bytes_new"], again["bytes_shared"]) == (0, captured["bytes_new"])

    assert [one["identity"] for one in body_of(ask("list", "--json"))["bundles"]] == [identity]
    shown = body_of(ask("show", identity[:8], "--json"))
    assert [(one["run_id"], one["source"]) for one in shown["holds"]] == [
        (RUN, str(project / "snapshots" / "dev"))
    ]
    assert shown["suite"] == "regression_core"

    done = body_of(ask("materialise", identity[:8], "back.tar.gz", "--json"))
    assert done["is_same_file"] is True
    assert Path("back.tar.gz").read_bytes() == Path(f"snapshots/run-{RUN}.tar.gz").read_bytes()

    assert body_of(ask("pin", identity, "--why", "the release", "--json"))["pinned"] is True
    for path in [Path(f"snapshots/run-{RUN}.tar.gz"), *Path("snapshots/dev").rglob("*.json")]:
        path.unlink()
    kept = body_of(ask("gc", "--grace-hours", "0", "--json"))
    assert (kept["bundles_removed"], kept["bytes_freed"]) == ([], 0)
    assert "the release" in kept["bundles_kept"][0]["reasons"][0]
    assert body_of(ask("unpin", identity, "--why", "released", "--json"))["pinned"] is False

    dry = body_of(ask("gc", "--grace-hours", "0", "--dry-run", "--json"))
    assert dry["bundles_removed"] == [identity]
    freed = body_of(ask("gc", "--grace-hours", "0", "--json"))
    assert freed["bytes_freed"] == captured["bytes_new"] == dry["bytes_freed"]
    assert body_of(ask("list", "--json"))["bundles"] == []


def test_what_a_person_reads(ask: Ask) -> None:
    identity = read_bundle(Path("snapshots") / f"run-{RUN}.tar.gz").identity
    assert "keeps no bundle; add one: testops snapshot capture RUN" in ask("list")[1]
    assert f"{identity}  captured: " in ask("capture", RUN, "--who", "ada")[1]
    ask("pin", identity[:6], "--who", "ada", "--why", "the release")
    assert f"{identity[:12]}  regression_core offline" in ask("list")[1]
    shown = ask("show", identity[:6])[1]
    assert "by ada" in shown
    assert "pinned" in shown
    assert "the very file that was captured" in ask("materialise", identity[:6], "b.tar.gz")[1]
    assert ", 0 damages" in ask("verify")[1]
    assert "0 bytes freed; 1 bundle and" in ask("gc")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["capture"], "Missing argument"),
        (["capture", "nothing-like-it"], "there is no run or bundle"),
        (["capture", "suites"], "holds no bundle"),
        (["show", "zz"], "is not the identity of a bundle"),
        (["show", "0000"], "keeps no bundle 0000"),
        (["pin", "0000"], "Missing option '--why'"),
        (["pin", "0000", "--why", "x"], "keeps no bundle 0000"),
        (["gc", "--grace-hours", "-1"], "--grace-hours"),
        (["gc", "--grace-hours", "nan"], "--grace-hours"),
        (["gc", "--lapse-days", "-1"], "--lapse-days"),
        (["verify", "nowhere"], "there is no such bundle or folder"),
    ],
)
def test_bad_input_is_exit_2_in_one_line(ask: Ask, arguments: Sequence[str], says: str) -> None:
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_damage_is_exit_1_and_is_named(ask: Ask) -> None:
    ask("capture", RUN, "--who", "ada")
    victim = max(Path("snapshots/.store/objects").rglob("*"))
    victim.write_bytes(b"damaged")
    code, out, _ = ask("verify", "--json")
    body = json.loads(out)
    assert (code, body["exit_code"]) == (1, 1)
    assert victim.name in json.dumps(body["damages"])
    assert ask("capture", RUN, "--rewrite", "--who", "ada")[0] == 0
    assert ask("verify")[0] == 0


def test_an_edit_in_an_unpacked_bundle_is_exit_1(ask: Ask) -> None:
    assert ask("verify", "snapshots/dev")[0] == 0
    victim = min(Path("snapshots/dev/kernels").rglob("*.json"))
    times = victim.stat()
    victim.write_bytes(victim.read_bytes().replace(b"alice", b"malic"))
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))
    code, out, _ = ask("verify", "snapshots/dev")
    assert code == 1
    assert victim.relative_to("snapshots/dev").as_posix() in out


def test_a_record_that_cannot_be_read_stops_a_collection_with_its_name(ask: Ask) -> None:
    ask("capture", RUN, "--who", "ada")
    Path("snapshots/reviews").mkdir()
    Path("snapshots/reviews/torn.json").write_bytes(b'{"target": "')
    code, _, err = ask("gc", "--grace-hours", "0")
    assert code == 2
    assert "snapshots/reviews/torn.json: cannot be read, so what it refers to is unknown" in err


def test_a_store_in_s3_by_two_variables(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server, s3_bucket: str
) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TESTOPS_SNAPSHOT_STORE", f"s3://{s3_bucket}/team")
    assert body_of(ask("list", "--json"))["bundles"] == []
    assert not Path("snapshots/.holder").exists(), "who only looks leaves nothing behind"
    captured = body_of(ask("capture", RUN, "--who", "ada", "--json"))
    assert captured["store"] == f"s3://{s3_bucket}/team"
    assert not Path("snapshots/.store").exists()
    assert ask("verify")[0] == 0
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, _, err = ask("list")
    assert code == 2
    assert "AWS_SECRET_ACCESS_KEY" in err
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert ask("list")[0] == 4


@pytest.mark.parametrize("place", ["s3:/bucket/x", "gs://bucket/x", "file:///srv/store"])
def test_a_place_that_is_neither_a_folder_nor_s3_is_refused(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("TESTOPS_SNAPSHOT_STORE", place)
    code, _, err = ask("list")
    assert code == 2
    assert "TESTOPS_SNAPSHOT_STORE" in err


def test_a_copied_project_does_not_let_go_of_what_the_first_one_holds(
    ask: Ask, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TESTOPS_SNAPSHOT_STORE", str(tmp_path / "shared"))
    captured = body_of(ask("capture", RUN, "--who", "ada", "--json"))
    copy = tmp_path / "copy"
    (copy / "suites").mkdir(parents=True)
    (copy / "snapshots").mkdir()
    (copy / "snapshots" / ".holder").write_bytes((project / "snapshots/.holder").read_bytes())
    monkeypatch.chdir(copy)
    done = body_of(ask("gc", "--grace-hours", "0", "--json"))
    assert done["bundles_removed"] == []
    assert str(project) in done["bundles_kept"][0]["reasons"][0]
    identity = captured["bundles"][0]["identity"]
    assert done["bundles_kept"][0]["identity"] == identity
    gone = body_of(ask("gc", "--grace-hours", "0", "--lapse-days", "0", "--json"))
    assert (gone["bundles_removed"], gone["holds_released"]) == ([identity], [identity])


def test_the_real_command_in_a_real_process(project: Path) -> None:
    """One way through the real door, where a lazy import or an entry point could be missing."""
    testops = Path(sys.executable).with_name("testops")
    done = subprocess.run(
        [testops, "snapshot", "capture", RUN, "--json"],
        cwd=project,
        env={**os.environ, "USER": "ada"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["bundles"][0]["is_new"] is True
