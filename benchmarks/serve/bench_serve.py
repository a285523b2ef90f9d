"""What `testops serve` weighs: seconds until it answers, and memory idle and with 500 viewers.

Memory is PSS: pages that processes share are counted once, divided among them. The viewers watch
one real run that takes its time. Nothing here is a test; the goals stand beside the figures.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEY = "a-maintainer-of-the-benchmarks-0123456789"
VIEWERS = 500
SETTLED_S = 5.0
SUITE = "schema: 1\nname: slow\nseeds: {sim: 1, chaos: 2}\nstages:\n  unit: {paths: [tests]}\n"
TEST = "import time\n\n\ndef test_it_takes_its_time():\n    time.sleep(300)\n"


@dataclass(frozen=True)
class Weight:
    """MB of the server process, and of everything that it started."""

    server: float
    tree: float
    processes: int


def main() -> None:
    """Print one line for each figure."""
    with tempfile.TemporaryDirectory(prefix="testops-bench-") as name:
        project = Path(name)
        for path, text in (("suites/slow.yaml", SUITE), ("tests/test_slow.py", TEST)):
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        port = _free_port()
        first, process = _started(project, port)
        _stop(process)
        again, process = _started(project, port)
        try:
            print(f"ready             {again:6.2f} s   (goal 2; {first:.2f} with a new database)")
            time.sleep(SETTLED_S)
            idle = _weight(process.pid)
            _say("idle", idle, 120, 220)
            run_id = _ask(port)
            time.sleep(SETTLED_S)
            asyncio.run(_watch(port, run_id, process.pid))
        finally:
            _stop(process)


def _say(what: str, weight: Weight, server_goal: int, tree_goal: int | None) -> None:
    tree = f", tree {weight.tree:6.1f} MB" + (f" (goal {tree_goal})" if tree_goal else "")
    print(
        f"{what:<16} server {weight.server:6.1f} MB (goal {server_goal}){tree},"
        f" {weight.processes} processes"
    )


def _started(project: Path, port: int) -> tuple[float, "subprocess.Popen[bytes]"]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "testops", "serve", "--port", str(port)],
        cwd=project,
        env={**kept, "TESTOPS_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return time.perf_counter() - began, process
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
        if process.poll() is not None or time.perf_counter() - began > 60:
            raise SystemExit(f"testops serve did not become ready (exit {process.poll()})")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/test-runs", json.dumps({"suite": "slow"}), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return str(answer["run_id"])


async def _watch(port: int, run_id: str, pid: int) -> None:
    request = (
        f"GET /v1/test-runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {KEY}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()
    writers = []
    for _ in range(VIEWERS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        line = await reader.readline()
        if b" 200 " not in line:
            raise SystemExit(f"a viewer was refused: {line!r}")
        writers.append(writer)
    await asyncio.sleep(SETTLED_S)
    _say(f"{VIEWERS} viewers", _weight(pid), 180, None)
    for writer in writers:
        writer.close()


def _weight(pid: int) -> Weight:
    pids = _tree(pid)
    return Weight(_pss_mb(pid), sum(_pss_mb(one) for one in pids), len(pids))


def _tree(pid: int) -> Sequence[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"the system does not say what process {pid} weighs")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
