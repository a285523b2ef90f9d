"""A tool ends with its limit, and nothing that it started outlives the call."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testops.runner.processes import Completed, run_tool
from testops.telemetry.clock import SystemClock


def python(code: str, folder: Path, timeout_s: float = 20) -> Completed:
    return run_tool(
        [sys.executable, "-c", textwrap.dedent(code)],
        folder=folder,
        environment=dict(os.environ),
        timeout_s=timeout_s,
        clock=SystemClock(),
    )


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_output_and_exit_code_come_back(tmp_path: Path) -> None:
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert not done.timed_out


def test_a_limit_ends_the_whole_group_even_one_that_ignores_sigterm(tmp_path: Path) -> None:
    done = python(
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        time.sleep(60)
        """,
        tmp_path,
        timeout_s=1.0,
    )
    assert done.timed_out
    assert wait_until(lambda: is_gone(int(done.stdout)))


def test_what_a_tool_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    done = python(
        """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid)
        """,
        tmp_path,
    )
    assert done.exit_code == 0
    assert wait_until(lambda: is_gone(int(done.stdout)))


def test_a_program_that_does_not_exist_is_said(tmp_path: Path) -> None:
    done = run_tool(
        ["no-such-program"],
        folder=tmp_path,
        environment={},
        timeout_s=10,
        clock=SystemClock(),
    )
    assert done.exit_code == 127
    assert "no-such-program" in done.last_words


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked to do this")
def test_a_tool_dies_with_a_killed_run(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    tool = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"""
    import os, sys
    from pathlib import Path
    from testops.runner.processes import run_tool
    from testops.telemetry.clock import SystemClock
    run_tool([sys.executable, "-c", {tool!r}], folder=Path("."), environment=dict(os.environ),
             timeout_s=60, clock=SystemClock())
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)
    try:
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    finally:
        run.kill()
        run.wait()
    assert wait_until(lambda: is_gone(int(pid_file.read_text())))
