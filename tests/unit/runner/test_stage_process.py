"""One stage in its process: what it says comes back, whatever it does ends with it."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from testops.runner.sandbox import Sandbox, sandbox
from testops.runner.stage_process import (
    Limits,
    Result,
    StageCrashed,
    StageDone,
    StageJob,
    StageStopped,
    run_stage,
)
from testops.telemetry.clock import SystemClock

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel of Linux")
BARE = Sandbox(())
SUITE = {
    "schema": 1,
    "name": "core",
    "seeds": {"sim": 42, "chaos": 7},
    "stages": {"lint": {"ruff": {"paths": ["."]}}},
}
# What every program below begins with: `tell` speaks as the stage does.
HEAD = """
import json, os, signal, subprocess, sys, threading, time
job = json.load(sys.stdin)
def tell(**body):
    os.write(int(sys.argv[1]), json.dumps(body).encode() + b"\\n")
def done(**report):
    tell(type="result", error="", report=report, artifacts=[], bundle=None,
         bundle_identity=None, chunk=None)
"""

Start = Callable[..., Result]


def every_wall() -> list[Any]:
    walls = [pytest.param(BARE, id="bare")]
    if sys.platform == "linux":
        walls.append(pytest.param(None, id="best"))
        walls.append(pytest.param(Sandbox(("user", "processes", "network")), id="user"))
    return walls


@pytest.fixture
def heard() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def start(tmp_path: Path, heard: list[dict[str, Any]]) -> Start:
    """Runs a program as if it were a stage."""

    def run(
        code: str,
        *,
        walls: Sandbox | None = None,
        limits: Limits | None = None,
        stop: Callable[[], str | None] = lambda: None,
        on_event: Callable[[dict[str, Any]], None] = heard.append,
        hidden: Sequence[Path] = (),
        **changes: Any,
    ) -> Result:
        if walls is not None and "user" in walls.namespaces and not may_have(walls):
            pytest.skip("not run: this system has no user namespaces")
        return run_stage(
            job_in(tmp_path, limits or Limits(wall_s=30), **changes),
            on_event=on_event,
            stop=stop,
            clock=SystemClock(),
            entry=(sys.executable, "-c", HEAD + textwrap.dedent(code)),
            walls=walls,
            hidden=hidden,
        )

    return run


def may_have(walls: Sandbox) -> bool:
    from testops.runner.sandbox import _why_not

    return not _why_not(walls.namespaces)


def job_in(folder: Path, limits: Limits, **changes: Any) -> StageJob:
    output = folder / "output"
    output.mkdir(exist_ok=True)
    plain: dict[str, Any] = {
        "run_id": "ab" * 8,
        "attempt": 1,
        "stage": "lint",
        "project_root": folder,
        "output": output,
        "suite": SUITE,
        "suite_shown": "core",
        "profile": {"schema": 1, "name": "offline"},
        "sim_seed": 2**64 - 1,
        "chaos_seed": 7,
        "sim_seeds": (2**64 - 1, 0),
        "only": ("lint",),
        "limits": limits,
    }
    return StageJob(**{**plain, **changes})


def processes_with(marker: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker.encode() in command and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def crashed(result: Result) -> StageCrashed:
    assert isinstance(result, StageCrashed), result
    return result


# --- what comes back ----------------------------------------------------------------------------


def test_a_job_reads_back_as_it_was_written(tmp_path: Path) -> None:
    job = job_in(tmp_path, Limits())
    assert StageJob.from_json(json.loads(job.encode())) == job


@pytest.mark.parametrize("walls", every_wall())
def test_events_come_in_order_and_the_result_last(
    start: Start, heard: list[dict[str, Any]], walls: Sandbox | None
) -> None:
    result = start(
        """
        for number in range(500):
            tell(type="stage.log", stage="lint", text=str(number))
        done(seed=job["sim_seed"])
        """,
        walls=walls,
    )
    assert isinstance(result, StageDone)
    assert result.report == {"seed": 2**64 - 1}
    assert [event["text"] for event in heard] == [str(number) for number in range(500)]


def test_an_error_of_ours_is_named_and_bad_input_is_not_tried_again(start: Start) -> None:
    bad = crashed(start("tell(type='result', error='BadInput', message='no such kernel')"))
    assert (bad.error, bad.may_go_away, bad.message) == ("BadInput", False, "no such kernel")
    bug = crashed(start("tell(type='result', error='InternalError', message='oops')"))
    assert bug.may_go_away


def test_an_exit_without_a_result_is_a_crash_with_its_last_words(start: Start) -> None:
    result = crashed(start("print('line one'); sys.exit('the licence server is down')"))
    assert result.cause == "exit"
    assert "exited with 1" in result.message
    assert "the licence server is down" in result.message


@pytest.mark.parametrize("walls", every_wall())
def test_a_signal_is_a_crash_that_names_it(start: Start, walls: Sandbox | None) -> None:
    result = crashed(start("os.kill(os.getpid(), signal.SIGSEGV); time.sleep(9)", walls=walls))
    assert result.cause == "signal"
    assert "SIGSEGV" in result.message


def test_what_is_no_event_ends_the_stage(start: Start) -> None:
    result = crashed(start("os.write(int(sys.argv[1]), b'hello\\n'); time.sleep(60)"))
    assert result.cause == "output"


def test_a_line_without_an_end_is_not_kept_for_ever(start: Start) -> None:
    result = crashed(start("while True: os.write(int(sys.argv[1]), b'x' * 65536)"))
    assert result.cause == "output"


def test_a_stage_that_has_answered_may_not_linger(start: Start) -> None:
    began = time.monotonic()
    result = start("done(); time.sleep(60)")
    assert isinstance(result, StageDone)
    assert time.monotonic() - began < 20


# --- what ends it -------------------------------------------------------------------------------


@pytest.mark.parametrize("walls", every_wall())
def test_a_stop_ends_a_whole_tree_that_ignores_sigterm(
    start: Start, tmp_path: Path, heard: list[dict[str, Any]], walls: Sandbox | None
) -> None:
    marker = f"marker-{tmp_path.name}"
    began = time.monotonic()
    result = start(
        f"""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", sleep, {marker!r}], start_new_session=True)
        time.sleep(0.5)
        tell(type="stage.log", stage="lint", text="ready")
        time.sleep(99)
        """,
        walls=walls,
        stop=lambda: "cancelled" if heard else None,
    )
    assert result == StageStopped("cancelled")
    assert 2 < time.monotonic() - began < 12
    assert processes_with(marker) == []


def test_a_stage_that_tidies_up_when_asked_is_given_the_time(
    start: Start, tmp_path: Path, heard: list[dict[str, Any]]
) -> None:
    result = start(
        """
        def tidy(*_):
            time.sleep(0.5)
            open("tidied", "w").close()
            os._exit(0)
        signal.signal(signal.SIGTERM, tidy)
        tell(type="stage.log", stage="lint", text="ready")
        time.sleep(60)
        """,
        stop=lambda: "fenced" if heard else None,
    )
    assert result == StageStopped("fenced")
    assert (tmp_path / "tidied").exists()


def test_the_wall_limit_is_kept(start: Start) -> None:
    began = time.monotonic()
    result = crashed(start("time.sleep(60)", limits=Limits(wall_s=0.5)))
    assert result.cause == "time"
    assert time.monotonic() - began < 8


def test_the_wall_limit_is_the_stages_own_time_for_each_try(tmp_path: Path) -> None:
    suite = {**SUITE, "stages": {"lint": {"ruff": {}, "timeout_s": 10.0, "attempts_max": 3}}}
    assert job_in(tmp_path, Limits(), suite=suite).wall_s == 90
    assert job_in(tmp_path, Limits(wall_s=5), suite=suite).wall_s == 5


def test_what_a_listener_raises_ends_the_stage_and_goes_on_upwards(
    start: Start, tmp_path: Path
) -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise RuntimeError("the fence is another's")

    marker = f"marker-{tmp_path.name}"
    with pytest.raises(RuntimeError, match="fence"):
        start(
            f"""
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)", {marker!r}])
            tell(type="stage.log", stage="lint", text="x")
            time.sleep(99)
            """,
            on_event=refuse,
        )
    assert processes_with(marker) == []


@linux
@pytest.mark.parametrize("walls", every_wall())
def test_a_daemon_that_left_its_session_twice_dies_with_the_stage(
    start: Start, tmp_path: Path, walls: Sandbox | None
) -> None:
    marker = f"marker-{tmp_path.name}"
    result = start(
        f"""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                os.execv(sys.executable, [sys.executable, "-c", '''
        import signal, time
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        open("alive", "w").close()
        time.sleep(99)
        ''', {marker!r}])
            os._exit(0)
        while not os.path.exists("alive"):
            time.sleep(0.02)
        done()
        """,
        walls=walls,
    )
    assert isinstance(result, StageDone), result
    assert (tmp_path / "alive").exists()
    assert processes_with(marker) == []


@linux
@pytest.mark.parametrize("walls", every_wall())
def test_a_memory_hog_is_a_crash_and_never_a_verdict(start: Start, walls: Sandbox | None) -> None:
    result = crashed(
        start(
            """
            hog = "import time; a = [bytearray(b'x' * 10**7) for _ in range(30)]; time.sleep(60)"
            children = [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(2)]
            children[0].wait()
            done()
            """,
            walls=walls,
            limits=Limits(wall_s=40, memory_mb=400),
        )
    )
    assert result.cause == "memory"
    assert "400 MB" in result.message


@linux
@pytest.mark.parametrize("walls", every_wall())
def test_a_hog_that_takes_all_at_once_is_one_as_well(start: Start, walls: Sandbox | None) -> None:
    result = crashed(
        start(
            "held = bytearray(b'x') * 900_000_000; time.sleep(60)",
            walls=walls,
            limits=Limits(wall_s=40, memory_mb=400),
        )
    )
    assert result.cause == "memory"


@linux
@pytest.mark.parametrize("walls", every_wall()[1:])
def test_memory_that_no_process_shows_is_bounded_and_goes_with_the_stage(
    start: Start, tmp_path: Path, walls: Sandbox | None
) -> None:
    if "processes" not in (walls or sandbox()).namespaces:
        pytest.skip("not run: this system has no mount namespaces")
    name = f"/dev/shm/{tmp_path.name}"
    result = start(
        f"""
        said = ""
        try:
            with open({name!r}, "wb") as file:
                for _ in range(100):
                    file.write(bytes(1_000_000))
        except OSError as error:
            said = os.strerror(error.errno)
        os.truncate({name!r}, 0)
        from multiprocessing import Lock
        with Lock():
            done(said=said)
        """,
        walls=walls,
        limits=Limits(wall_s=40, memory_mb=64),
    )
    assert isinstance(result, StageDone), result
    assert result.report == {"said": "No space left on device"}
    assert not Path(name).exists()


@linux
@pytest.mark.parametrize("walls", every_wall())
def test_a_fork_bomb_is_a_crash_and_nothing_of_it_is_left(
    start: Start, tmp_path: Path, walls: Sandbox | None
) -> None:
    marker = f"marker-{tmp_path.name}"
    result = crashed(
        start(
            f"""
            assert {marker!r}
            while True:
                try:
                    os.fork()
                except OSError:
                    pass
                # On two cores: fast enough to be a bomb, slow enough for those beside us.
                time.sleep(0.2)
            """,
            walls=walls,
            limits=Limits(wall_s=40, processes=40),
        )
    )
    assert result.cause == "processes"
    assert processes_with(marker) == []


@linux
@pytest.mark.parametrize("walls", every_wall())
def test_a_killed_runner_leaves_no_descendant(tmp_path: Path, walls: Sandbox | None) -> None:
    marker = f"marker-{tmp_path.name}"
    stage = HEAD + textwrap.dedent(
        f"""
        sleep = "import time; time.sleep(99)"
        subprocess.Popen([sys.executable, "-c", sleep, {marker!r}], start_new_session=True)
        time.sleep(99)
        """
    )
    runner = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_stage_process import job_in
        from testops.runner.sandbox import Sandbox
        from testops.runner.stage_process import Limits, run_stage
        from testops.telemetry.clock import SystemClock
        run_stage(job_in(Path({str(tmp_path)!r}), Limits(wall_s=60)), on_event=print,
                  stop=lambda: None, clock=SystemClock(), walls={walls!r},
                  entry=(sys.executable, "-c", {stage!r}))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", runner], cwd=tmp_path)
    try:
        assert wait_until(lambda: len(processes_with(marker)) >= 2)
        time.sleep(0.3)
    finally:
        process.kill()
        process.wait()
    assert wait_until(lambda: processes_with(marker) == [])


def test_what_a_killed_runner_left_is_removed_by_the_next_stage(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "testops-stage-left"
    left.mkdir()
    (left / ".lock").touch()
    live = tmp_path / "testops-stage-live"
    live.mkdir()
    with (live / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert isinstance(start("done()"), StageDone)
    assert live.exists()
    assert not left.exists()


# --- what it sees -------------------------------------------------------------------------------


def test_secrets_of_the_server_do_not_reach_a_stage(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTOPS_API_KEY", "key")
    monkeypatch.setenv("TESTOPS_DATABASE_URL", "postgresql://user:word@127.0.0.1/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("LC_TIME", "C")
    result = start("done(**dict(os.environ))")
    assert isinstance(result, StageDone)
    assert {"PATH", "TMPDIR", "LC_TIME"} <= set(result.report)
    kept = {"TESTOPS_REFUSED"}
    assert not {n for n in result.report if n.startswith(("TESTOPS", "AWS", "PG"))} - kept


def test_a_stage_has_a_temporary_folder_of_its_own_that_goes_with_it(start: Start) -> None:
    code = """
    import tempfile
    folder = tempfile.mkdtemp()
    os.mkdir(folder + "/deep")
    open(folder + "/deep/file", "w").close()
    os.chmod(folder + "/deep", 0)
    done(folder=folder)
    """
    first, second = start(code), start(code)
    assert isinstance(first, StageDone)
    assert isinstance(second, StageDone)
    folders = [Path(one.report["folder"]) for one in (first, second)]
    assert folders[0].parent != folders[1].parent
    assert not any(folder.parent.parent.exists() for folder in folders)


CONNECT = """
    import socket
    said = ""
    with socket.socket() as one:
        one.settimeout(2)
        try:
            one.connect(("192.0.2.1", 80))
        except OSError as error:
            said = type(error).__name__
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    done(said=said)
"""


@pytest.mark.parametrize("walls", every_wall())
def test_an_outside_connection_is_refused_counted_and_told(
    start: Start, heard: list[dict[str, Any]], walls: Sandbox | None
) -> None:
    result = start(CONNECT, walls=walls)
    assert isinstance(result, StageDone)
    assert result.report["said"] == "PermissionError"
    assert result.refused_count == 1
    assert "192.0.2.1" in heard[-1]["text"]


@linux
def test_the_network_namespace_refuses_programs_that_no_hook_reaches(start: Start) -> None:
    if "network" not in sandbox().namespaces:
        pytest.skip("not run: this system has no network namespaces")
    code = f"""
        inner = {textwrap.dedent(CONNECT).replace("done(said=said)", "print(said)")!r}
        said = subprocess.run([sys.executable, "-I", "-S", "-c", inner], capture_output=True)
        done(said=said.stdout.decode().strip())
        """
    result = start(code)
    assert isinstance(result, StageDone)
    # The kernel's own answer: there is no way to there.
    assert result.report["said"] == "OSError"
    assert result.refused_count == 0


@linux
@pytest.mark.parametrize("walls", every_wall()[1:])
@pytest.mark.parametrize("where", ["around the project", "in the project"])
def test_the_data_of_the_server_is_out_of_sight(
    start: Start, tmp_path: Path, walls: Sandbox | None, where: str
) -> None:
    if "processes" not in (walls or sandbox()).namespaces:
        pytest.skip("not run: this system has no mount namespaces")
    data = tmp_path / "data"
    project = data / "copies" / "one" if where == "around the project" else tmp_path
    output = data / "runs" / "one"
    for folder in (project, output):
        folder.mkdir(parents=True, exist_ok=True)
    (data / "testops.db").write_text("secret")
    (data / "runs" / "two").mkdir()
    (project / "own.py").write_text("mine")
    result = start(
        """
        folder = job["output"] + "/../.."
        open(job["output"] + "/left", "w").write("left")
        open("made here", "w").close()
        done(
            seen=sorted(os.listdir(folder)),
            runs=os.listdir(folder + "/runs"),
            own=open(job["project_root"] + "/own.py").read(),
            here=os.getcwd() == job["project_root"],
        )
        """,
        walls=walls,
        project_root=project,
        output=output,
        hidden=(data, tmp_path / "none"),
    )
    assert isinstance(result, StageDone), result
    assert "testops.db" not in result.report["seen"]
    assert result.report["runs"] == ["one"]
    assert (result.report["own"], result.report["here"]) == ("mine", True)
    assert (output / "left").read_text() == "left"
    assert (project / "made here").exists()
    assert (data / "testops.db").read_text() == "secret"


@linux
@pytest.mark.parametrize("walls", every_wall()[1:])
def test_the_baselines_of_a_server_can_be_read_and_not_changed(
    start: Start, tmp_path: Path, walls: Sandbox | None
) -> None:
    if walls is None and "processes" not in sandbox().namespaces:
        pytest.skip("not run: this system has no process namespaces")
    data = tmp_path / "data"
    golden, output = data / "golden", data / "output"
    for folder in (golden / "core", output):
        folder.mkdir(parents=True)
    approved = golden / "core" / "approved"
    approved.write_text("as it was")
    result = start(
        """
        refused = []
        for write in (
            lambda: open(job["golden"] + "/core/approved", "w"),
            lambda: open(job["golden"] + "/core/another", "w"),
            lambda: os.unlink(job["golden"] + "/core/approved"),
            lambda: os.chmod(job["golden"] + "/core/approved", 0o777),
        ):
            try:
                write()
            except OSError as error:
                refused.append(error.strerror)
        done(read=open(job["golden"] + "/core/approved").read(), refused=refused)
        """,
        walls=walls,
        golden=golden,
        output=output,
        hidden=(data,),
    )
    assert isinstance(result, StageDone), result
    assert result.report == {"read": "as it was", "refused": ["Read-only file system"] * 4}
    assert [path.name for path in (golden / "core").iterdir()] == ["approved"]


def test_an_open_profile_refuses_nothing(start: Start) -> None:
    result = start("done(hidden=os.environ.get('TESTOPS_REFUSED'))", network="open")
    assert isinstance(result, StageDone)
    assert result.report == {"hidden": None}


def test_a_sandbox_that_cannot_be_had_is_a_crash_and_no_bare_run(start: Start) -> None:
    result = crashed(start("done()", walls=Sandbox(("processes", "nonsense-but-harmless"))))
    assert result.cause == "sandbox"


def test_what_is_enforced_here_can_be_said() -> None:
    said = sandbox().enforced
    assert "environment" in said
    assert len(set(said)) == len(said)
    assert any("loopback" in wall for wall in said)


@linux
def test_signals_to_the_runner_group_do_not_reach_a_stage(start: Start) -> None:
    result = start("done(group=os.getpgid(0) == os.getpid(), session=os.getsid(0) == os.getpid())")
    assert isinstance(result, StageDone)
    assert result.report == {"group": True, "session": True}
    assert signal.getsignal(signal.SIGTERM) is not None
