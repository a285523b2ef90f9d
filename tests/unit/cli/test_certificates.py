"""`testops certificate` and `verify-certificate`, as a stranger uses them."""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.finished import RUN_ID, Finished, finished_project

from testops.cli.entry import main

Testops = Callable[..., tuple[int, str, str]]


@pytest.fixture
def testops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Testops:
    for name in ("TESTOPS_DATA", "TESTOPS_SIGNING_KEY", "TESTOPS_URL"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    made = finished_project(tmp_path / "shop")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def public(finished: Finished, testops: Testops) -> str:
    code, pem, _ = testops("certificate", "key")
    assert code == 0
    (finished.root / "public.pem").write_text(pem)
    return "public.pem"


def test_the_key_is_drawn_once_and_is_nobody_elses(
    tmp_path: Path, testops: Testops, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites").mkdir()
    monkeypatch.chdir(tmp_path)
    code, first, said = testops("certificate", "key")
    key = tmp_path / ".testops/certificate.key"

    assert (code, first.splitlines()[0]) == (0, "-----BEGIN PUBLIC KEY-----")
    assert "drawn now" in said
    assert "PRIVATE" not in first + said.replace("private", "")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    # It lies in a project, and must never be committed by `git add .`.
    assert (key.parent / ".gitignore").read_text() == "*\n"
    assert not list(key.parent.glob(".tmp-*"))
    before = key.read_bytes()
    code, second, said = testops("certificate", "key", "--json")
    assert (code, json.loads(second)["public_key"], json.loads(second)["drawn"]) == (
        0,
        first,
        False,
    )
    assert key.read_bytes() == before


def test_five_at_once_draw_one_key(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    code = (
        "import pathlib; from testops.wiring.certificates import kept_key; "
        "print(kept_key(pathlib.Path('.testops'), {}, may_draw=True).key.public.key_id)"
    )
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(5)
    ]
    assert len({process.communicate(timeout=60)[0] for process in many}) == 1


def test_a_key_that_others_can_read_signs_nothing(finished: Finished, testops: Testops) -> None:
    (finished.data / "certificate.key").chmod(0o640)
    code, _, said = testops("certificate", "create", RUN_ID)
    assert code == 2
    assert "chmod 600" in said


def test_without_a_key_it_is_said_how_to_make_one(finished: Finished, testops: Testops) -> None:
    (finished.data / "certificate.key").unlink()
    code, _, said = testops("certificate", "create", RUN_ID)
    assert code == 2
    assert "testops certificate key" in said


def test_a_key_from_elsewhere_signs(
    finished: Finished, testops: Testops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(finished.data / "certificate.key", tmp_path / "mounted.pem")
    monkeypatch.setenv("TESTOPS_SIGNING_KEY", str(tmp_path / "mounted.pem"))
    assert testops("certificate", "create", RUN_ID)[0] == 0
    assert not (finished.data / "certificate.key").exists()
    (tmp_path / "mounted.pem").write_text("nothing of the kind")
    code, _, said = testops("certificate", "create", RUN_ID)
    assert code == 2
    assert "openssl genpkey -algorithm ed25519" in said


def test_a_run_is_certified_and_verified_with_the_public_key_alone(
    finished: Finished,
    public: str,
    testops: Testops,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, said, _ = testops("certificate", "create", RUN_ID[:6])
    assert code == 0
    assert "PASS" in said
    elsewhere = tmp_path / "another machine"
    elsewhere.mkdir()
    for name in (f"reports/certificate-{RUN_ID}.json", public):
        shutil.copy(finished.root / name, elsewhere)
    shutil.copy(finished.bundle, elsewhere)
    shutil.copy(finished.record_file, elsewhere)
    shutil.rmtree(finished.root)
    monkeypatch.chdir(elsewhere)

    verify = ("verify-certificate", f"certificate-{RUN_ID}.json", "--key", public)
    code, said, _ = testops(*verify, "--require", "pass")
    assert code == 0
    assert "genuine" in said
    assert "verdict PASS (exit 0)" in said
    assert "was not looked at here" in said
    code, said, _ = testops(
        *verify, "--bundle", finished.bundle.name, "--results", "attempt-1.json", "--json"
    )
    assert code == 0
    body = json.loads(said)
    assert (body["valid"], body["verdict"], body["run_id"]) == (True, "pass", RUN_ID)
    assert body["checked"] == {"bundle": True, "results": True}


def test_verifying_imports_neither_the_database_nor_a_web_server(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("certificate", "create", RUN_ID)[0] == 0
    code = (
        "import sys; from testops.cli.entry import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({'sqlalchemy', 'fastapi', 'dbos'} & set(sys.modules)))"
    )
    arguments = ["verify-certificate", f"reports/certificate-{RUN_ID}.json", "--key", public]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_changed_byte_of_the_envelope_fails_with_a_reason(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    raw = bytearray(Path("c.json").read_bytes())
    raw[200] ^= 1
    Path("c.json").write_bytes(raw)
    code, said, error = testops("verify-certificate", "c.json", "--key", public)
    assert (code, said) == (1, "")
    assert "signature is wrong" in error or "not" in error
    code, said, error = testops("verify-certificate", "c.json", "--key", public, "--json")
    assert (code, error) == (1, "")
    assert json.loads(said)["valid"] is False


def test_a_changed_byte_of_the_bundle_fails(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    verify = ("verify-certificate", "c.json", "--key", public, "--bundle", str(finished.bundle))
    whole = finished.bundle.read_bytes()
    # The fourth to eighth byte is a time that gzip would ignore: the content stays the same.
    for place in (4, 9, 40, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        finished.bundle.write_bytes(changed)
        code, _, said = testops(*verify)
        assert code == 1, place
        assert "not the bundle that it certifies" in said
    finished.bundle.write_bytes(whole)
    assert testops(*verify)[0] == 0


def test_an_unpacked_bundle_is_verified_by_its_content(
    finished: Finished, public: str, testops: Testops
) -> None:
    from testops.snapshots import unpack_bundle

    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    unpack_bundle(finished.bundle, finished.root / "snapshots/dev")
    verify = ("verify-certificate", "c.json", "--key", public, "--bundle", "snapshots/dev")
    assert testops(*verify)[0] == 0
    file = next((finished.root / "snapshots/dev/kernels").rglob("*.json"))
    file.write_bytes(file.read_bytes() + b" ")
    assert testops(*verify)[0] == 1


def test_changed_results_fail(finished: Finished, public: str, testops: Testops) -> None:
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    gates = finished.record["gates"]
    gates[0]["value"] = 99.9
    finished.change(gates=gates)
    verify = ("verify-certificate", "c.json", "--key", public)
    code, _, said = testops(*verify, "--results", str(finished.record_file))
    assert code == 1
    assert "does not hold the results" in said
    finished.record_file.write_text("{}")
    assert testops(*verify, "--results", str(finished.record_file))[0] == 1


def fails(record: dict[str, Any]) -> dict[str, Any]:
    stages = record["stages"]
    stages[0]["verdict"] = "fail"
    return {"stages": stages, "verdict": "fail", "exit_code": 1, "reason": "lint: 3 errors"}


def test_a_genuine_certificate_of_a_failed_run_is_no_pass(
    finished: Finished, public: str, testops: Testops
) -> None:
    finished.change(**fails(finished.record))
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    code, said, _ = testops("verify-certificate", "c.json", "--key", public)
    assert code == 0
    assert "verdict FAIL (exit 1) (lint: 3 errors)" in said
    for required in ("pass", "warn"):
        code, _, said = testops(
            "verify-certificate", "c.json", "--key", public, "--require", required
        )
        assert code == 1
        assert f"its verdict is fail, not {required} (lint: 3 errors)" in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda one: one.change(state="running"), "it is running"),
        (lambda one: one.bundle.unlink(), "is missing"),
        (lambda one: one.bundle.write_bytes(b"\x1f\x8b"), "is damaged"),
        (lambda one: one.record_file.write_text("{"), "is damaged"),
        (lambda one: one.record_file.write_text("{}"), "is of another run"),
        (lambda one: one.change(run_id="f" * 16), "is of another run"),
    ],
)
def test_what_is_not_proven_gets_no_certificate(
    finished: Finished, testops: Testops, damage: Callable[[Finished], object], said: str
) -> None:
    damage(finished)
    code, out, error = testops("certificate", "create", RUN_ID, "--out", "c.json")
    assert (code, out) == (4, "")
    assert said in error
    assert not Path("c.json").exists()


def test_a_run_that_nobody_knows_is_bad_input(finished: Finished, testops: Testops) -> None:
    for name in ("beef", "", "../..", "run-"):
        code, _, said = testops("certificate", "create", name)
        assert code == 2, name
        assert "there is no run" in said


def test_without_a_key_nothing_is_believed(testops: Testops, tmp_path: Path) -> None:
    code, _, said = testops("verify-certificate", str(tmp_path / "c.json"))
    assert code == 2
    assert "--key" in said
    assert "testops certificate key" in said


def test_what_is_given_instead_of_a_key_is_named(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    for key, said in (
        (".testops/certificate.key", "is a private key"),
        ("c.json", "not a public key"),
        ("nowhere.pem", "there is no file"),
        ("suites", "is a directory"),
        # Without an end; it is read no further than a key can be.
        ("/dev/zero", "not a public key"),
    ):
        code, _, error = testops("verify-certificate", "c.json", "--key", key)
        assert code == 2, key
        assert said in error


def test_a_file_that_is_not_there_is_bad_input_and_one_that_is_none_fails(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("verify-certificate", "nowhere.json", "--key", public)[0] == 2
    assert testops("verify-certificate", "suites", "--key", public)[0] == 2
    Path("large.json").write_bytes(b" " * (5 * 2**20))
    code, _, said = testops("verify-certificate", "large.json", "--key", public)
    assert code == 1
    assert "more than 4 MiB" in said


def test_a_certificate_comes_through_a_pipe_too(
    finished: Finished, public: str, testops: Testops
) -> None:
    assert testops("certificate", "create", RUN_ID, "--out", "c.json")[0] == 0
    with Path("c.json").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "testops", "verify-certificate", "-", "--key", public],
            stdin=file,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "genuine" in done.stdout
    command = f"{sys.executable} -m testops verify-certificate <(cat c.json) --key <(cat {public})"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
