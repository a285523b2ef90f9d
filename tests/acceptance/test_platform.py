"""The platform as a person starts it: one command, a login link, and one run everywhere."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.crash.processes import free_port
from tests.crash.workload import write_project

KEY = "a-maintainer-of-the-acceptance-tests-0123456789"
OURS = (sys.executable, "-m", "testops")
SLOW = """\
import time


def test_it_takes_its_time():
    time.sleep(600)
"""


class Server:
    """`testops serve` in a project, and what it said."""

    def __init__(self, project: Path, port: int, program: Sequence[str] = OURS) -> None:
        self.project, self.port, self.program = project, port, program
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*program, "serve", "--port", str(port)],
            cwd=project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, as a terminal gives it.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "TESTOPS_API_KEY": KEY, "TESTOPS_LOG": "text"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def said(self, pattern: str) -> re.Match[str]:
        found: re.Match[str] = until(
            lambda: next((m for line in self.lines if (m := re.search(pattern, line))), None)
        )
        return found

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def testops(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.program, *words],
            cwd=self.project,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def until(look: Callable[[], Any], limit_s: float = 60.0) -> Any:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"it did not come within {limit_s:g} s")


def processes_in(folder: Path) -> list[str]:
    """Whoever works in `folder` or was started with its name."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            said = (entry / "cmdline").read_bytes() + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(folder) in said and int(entry.name) != os.getpid():
            found.append(f"{entry.name}: {said!r}")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write_project(folder)
    (folder / "slow").mkdir()
    (folder / "slow" / "test_slow.py").write_text(SLOW)
    (folder / "suites" / "slow.yaml").write_text(
        "schema: 1\nname: slow\nseeds: {sim: 1, chaos: 2}\nstages:\n  unit: {paths: [slow]}\n"
    )
    return folder


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    started = Server(project, free_port())
    started.said("^ready at")
    yield started
    started.stop(signal.SIGKILL)


def test_the_link_in_the_terminal_logs_a_browser_in_once(server: Server) -> None:
    link = server.said(r"(http://\S+/login\?token=\S+)").group(1)
    with httpx.Client(follow_redirects=True) as browser:
        assert browser.get(f"{server.url}/").status_code == 401
        page = browser.get(link)
        assert (page.status_code, str(page.url)) == (200, f"{server.url}/")
        assert "Runs" in page.text
    with httpx.Client(follow_redirects=True) as thief:
        assert thief.get(link).status_code == 401


def test_a_run_is_the_same_from_the_command_line_the_api_and_a_watcher(server: Server) -> None:
    here = server.testops("run", "tiny", "--json")
    assert here.returncode == 0, here.stderr
    ran = json.loads(here.stdout)
    with server.client() as http:
        asked = http.post("/v1/test-runs", json={"suite": "tiny"})
        kept = http.get(f"/v1/snapshots/{ran['bundle_identity']}").json()
    watched = server.testops("watch", ran["run_id"], "--url", server.url, "--json")
    there = server.testops("run", "tiny", "--json", TESTOPS_URL=server.url)

    assert asked.status_code == 200
    assert asked.json()["run_id"] == ran["run_id"]
    assert asked.json()["bundle_identity"] == ran["bundle_identity"]
    assert (kept["runs"], kept["provenance"]["run_id"]) == ([ran["run_id"]], ran["run_id"])
    assert watched.returncode == 0, watched.stderr
    types = [json.loads(line)["type"] for line in watched.stdout.splitlines()]
    assert (types[0], types[-2]) == ("run.queued", "run.finished") or types[-1] == "run.finished"
    assert there.returncode == 0, there.stderr
    again = json.loads(there.stdout)
    assert (again["run_id"], again["attempt"]) == (ran["run_id"], 2)
    assert again["bundle_identity"] == ran["bundle_identity"]


def test_what_a_run_left_can_be_fetched(server: Server) -> None:
    with server.client() as http:
        run_id = http.post("/v1/test-runs", json={"suite": "tiny"}).json()["run_id"]
        until(lambda: http.get(f"/v1/test-runs/{run_id}").json()["state"] == "finished")
        run = http.get(f"/v1/test-runs/{run_id}").json()
        left = http.get(f"/v1/test-runs/{run_id}/artifacts").json()["artifacts"]
        bundle = http.get(f"/v1/test-runs/{run_id}/artifacts/{run['bundle']}")

    assert run["verdict"] == "pass", run
    assert run["bundle"] in [one["path"] for one in left]
    assert bundle.content[:2] == b"\x1f\x8b"


def test_cancelling_leaves_no_process_behind(server: Server) -> None:
    with server.client() as http:
        run_id = http.post("/v1/test-runs", json={"suite": "slow"}).json()["run_id"]
        until(lambda: any("testops_unit_plugin" in one for one in processes_in(server.project)))
        assert http.post(f"/v1/test-runs/{run_id}/cancel").status_code in (200, 202)
        until(lambda: http.get(f"/v1/test-runs/{run_id}").json()["state"] == "cancelled", 20)

    until(lambda: not any("testops_unit_plugin" in one for one in processes_in(server.project)), 10)


def test_a_second_runner_on_sqlite_refuses_with_exit_code_2(server: Server) -> None:
    server.said("runner ready")

    second = server.testops("runner")

    assert second.returncode == 2
    assert "PostgreSQL" in second.stderr


def test_a_second_server_on_sqlite_is_refused_at_once(server: Server) -> None:
    server.said("runner ready")

    second = server.testops("serve", "--port", "0")

    assert second.returncode == 2
    assert "another runner works on this SQLite database" in second.stderr
    assert "ready at" not in second.stdout


def test_ctrl_c_ends_a_server_on_a_port_of_the_systems_choice_without_an_error(
    project: Path,
) -> None:
    server = Server(project, 0)
    port = server.said(r"^ready at http://127\.0\.0\.1:(\d+)$").group(1)
    server.said("runner ready")
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["ready"] is True
    link = server.testops("login-link").stdout
    assert link.startswith(f"http://127.0.0.1:{port}/login?token=")

    os.killpg(server.process.pid, signal.SIGINT)

    assert server.stop() == 0
    assert not [line for line in server.lines if "the runner ended" in line]


def test_a_server_whose_database_was_removed_is_not_ready(server: Server) -> None:
    server.said("runner ready")
    with server.client() as http:
        assert http.get("/readyz").status_code == 200
        (server.project / ".testops" / "testops.db").unlink()
        assert http.get("/readyz").status_code == 503


def test_a_server_that_is_asked_to_end_leaves_nothing_and_loses_nothing(project: Path) -> None:
    server = Server(project, free_port())
    server.said("runner ready")
    with server.client() as http:
        run_id = http.post("/v1/test-runs", json={"suite": "slow"}).json()["run_id"]
        until(lambda: any("testops_unit_plugin" in one for one in processes_in(project)))

    assert server.stop() == 0
    until(lambda: processes_in(project) == [], 10)

    (project / "slow" / "test_slow.py").write_text("def test_quick():\n    pass\n")
    again = Server(project, server.port)
    try:
        again.said("^ready at")
        with again.client() as http:
            until(lambda: http.get(f"/v1/test-runs/{run_id}").json()["state"] == "finished")
            assert http.get(f"/v1/test-runs/{run_id}").json()["verdict"] == "pass"
    finally:
        again.stop()


def test_a_server_that_is_killed_takes_its_runner_along(project: Path) -> None:
    server = Server(project, free_port())
    server.said("runner ready")
    with server.client() as http:
        http.post("/v1/test-runs", json={"suite": "slow"})
        until(lambda: any("testops_unit_plugin" in one for one in processes_in(project)))

    server.stop(signal.SIGKILL)

    until(lambda: processes_in(project) == [], 10)


def test_a_port_that_is_taken_is_bad_input(server: Server) -> None:
    second = server.testops("api", "--port", str(server.port))

    assert second.returncode == 2
    assert "TESTOPS_PORT" in second.stderr


def test_a_run_of_the_command_line_goes_on_without_its_store(project: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    (project / ".testops").mkdir()
    (project / ".testops" / "testops.db").write_text("this is no database\n")

    done = subprocess.run(
        [sys.executable, "-m", "testops", "run", "tiny"],
        cwd=project,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "on the disk only" in done.stderr
    assert (project / ".testops" / "testops.db").read_text() == "this is no database\n"
