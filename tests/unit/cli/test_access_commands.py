"""`testops keys`, `audit` and `login-link` on a real store in a folder."""

import json
import re
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testops.access.tokens import presented_key
from testops.cli import main
from testops.wiring.access import server_url

Command = Callable[..., int]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suites").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("DATA", "DATABASE_URL", "API_KEY", "AUDIT_KEY", "PUBLIC_URL", "HOST", "PORT"):
        monkeypatch.delenv(f"TESTOPS_{name}", raising=False)
    return tmp_path


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code))


Output = pytest.CaptureFixture[str]


def printed(capsys: Output, *arguments: str) -> str:
    capsys.readouterr()
    assert command(*arguments) == 0
    return capsys.readouterr().out


def keys(capsys: Output) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed(capsys, "keys", "list", "--json"))["keys"]
    return found


def tamper(project: Path, statement: str) -> None:
    with sqlite3.connect(project / ".testops" / "testops.db") as connection:
        connection.execute(statement)


def test_a_key_is_printed_once_and_listed_without_its_secret(capsys: Output) -> None:
    token = printed(capsys, "keys", "create", "ci", "--role", "viewer", "--workspace", "shop")
    presented = presented_key(token.strip())
    assert presented is not None
    listed = printed(capsys, "keys", "list")
    assert presented.key_id in listed
    assert token.strip() not in listed
    assert "shop" in listed
    assert "never used" in listed
    [key] = keys(capsys)
    assert (key["role"], key["workspaces"], key["state"]) == ("viewer", ["shop"], "usable")


def test_a_key_ends_after_ninety_days_unless_it_is_told_otherwise(capsys: Output) -> None:
    printed(capsys, "keys", "create", "a")
    printed(capsys, "keys", "create", "b", "--expires", "never")
    assert [one["expires_at"] is None for one in keys(capsys)] == [False, True]


def test_a_key_is_rotated_and_revoked(capsys: Output) -> None:
    made = json.loads(printed(capsys, "keys", "create", "ci", "--json"))
    new = json.loads(printed(capsys, "keys", "rotate", made["id"], "--overlap", "0s", "--json"))
    assert new["replaces"] == made["id"]
    assert new["key"] != made["key"]
    printed(capsys, "keys", "revoke", new["id"])
    assert {one["state"] for one in keys(capsys)} == {"expired", "revoked"}
    assert command("keys", "revoke", new["id"]) == 2
    assert command("keys", "rotate", new["id"]) == 2
    assert "revoked" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "create", ""),
        ("keys", "create", "x", "--role", "root"),
        ("keys", "create", "x", "--expires", "soon"),
        ("keys", "create", "x", "--expires", "0s"),
        ("keys", "rotate", "0" * 16, "--overlap", "never"),
        ("keys", "revoke", "../../etc"),
        ("login-link", "--lasts", "9d"),
        ("login-link", "--lasts", "never"),
        ("audit", "verify", "--expect", "5"),
    ],
)
def test_what_makes_no_sense_is_exit_2_and_one_line(
    capsys: Output, arguments: tuple[str, ...]
) -> None:
    assert command(*arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_login_link_is_a_link_to_this_machines_server(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = printed(capsys, "login-link").strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8080/login\?token=[A-Za-z0-9_-]{43}", link)
    monkeypatch.setenv("TESTOPS_PUBLIC_URL", "https://ci.example.org/")
    assert printed(capsys, "login-link").startswith("https://ci.example.org/login?token=")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
        ("ci.example.org", "http://ci.example.org:8080"),
    ],
)
def test_a_server_is_reached_at_an_address_that_a_browser_can_open(host: str, url: str) -> None:
    assert server_url({"TESTOPS_HOST": host}) == url


def test_the_log_says_who_did_what_and_holds(capsys: Output) -> None:
    printed(capsys, "keys", "create", "ci")
    printed(capsys, "login-link", "--name", "ada", "--role", "viewer")
    text = printed(capsys, "audit", "list")
    assert [line.split()[0] for line in text.splitlines()] == ["2", "1"]
    assert "key.create" in text
    assert "name=ada" in text
    assert "2 rows: the chain holds" in printed(capsys, "audit", "verify")
    told = json.loads(printed(capsys, "audit", "verify", "--json"))
    assert (told["holds"], told["signed"]) == (True, True)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("update audit set actor_name = 'nobody' where seq = 2", "row 2 was changed"),
        ("delete from audit where seq = 2", "row 2 is missing"),
        ("delete from audit where seq = 3", "missing at the end"),
        ("update audit_head set seq = 2", "added behind the head"),
    ],
)
def test_tampering_is_exit_1_with_its_place(
    project: Path, capsys: Output, statement: str, finding: str
) -> None:
    for name in "abc":
        printed(capsys, "keys", "create", name)
    tamper(project, statement)
    assert command("audit", "verify") == 1
    out = capsys.readouterr().out
    assert finding in out
    assert "TAMPERED WITH" in out


def test_a_store_that_was_put_back_is_found_by_a_noted_head(project: Path, capsys: Output) -> None:
    printed(capsys, "keys", "create", "a")
    database = project / ".testops" / "testops.db"
    before = database.read_bytes()
    printed(capsys, "keys", "create", "b")
    head = json.loads(printed(capsys, "audit", "verify", "--json"))["head"]
    assert "holds" in printed(capsys, "audit", "verify", "--expect", head)
    for file in database.parent.glob("testops.db-*"):
        file.unlink()
    database.write_bytes(before)
    # Consistent in itself, so without the note nothing can be seen.
    assert command("audit", "verify") == 0
    assert command("audit", "verify", "--expect", head) == 1
    assert "put back" in capsys.readouterr().out


def test_the_signing_key_is_for_its_owner_and_is_not_made_twice(
    project: Path, capsys: Output
) -> None:
    printed(capsys, "keys", "create", "a")
    path = project / ".testops" / "audit.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    kept = path.read_bytes()
    printed(capsys, "keys", "create", "b")
    assert path.read_bytes() == kept
    path.write_bytes(b"cut")
    assert command("keys", "list") == 2
    assert "audit.key" in capsys.readouterr().err


def test_a_lost_signing_key_is_said_until_somebody_confirms_the_head(
    project: Path, capsys: Output
) -> None:
    printed(capsys, "keys", "create", "a")
    (project / ".testops" / "audit.key").unlink()
    assert command("audit", "verify") == 1
    assert "not with ours" in capsys.readouterr().out
    printed(capsys, "keys", "create", "b")
    assert command("audit", "verify") == 1
    out = capsys.readouterr().out
    assert "rows may be missing before row 2" in out
    head = re.findall(r"^head: (\S+)$", out, re.MULTILINE)[0]
    assert "the chain holds" in printed(capsys, "audit", "verify", "--expect", head)
