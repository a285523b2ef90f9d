"""How fast two bundles are compared: ratios against `git diff --no-index` and deepdiff, one run.

Trees: two unpacked bundles of 10,000 executions, about 120 MB each, of which one in a hundred
changed. Cold means that nothing is remembered of either; warm, that both were compared before. git
writes its whole diff to a pipe that is read. A process of our own, with its imports, is measured
beside the call, because a person waits for a process.

Records: a snapshot of 100,000 records that shifted by one, and deltas are counted: one came, one
went. deepdiff takes minutes for that, so it is measured at 10,000 unless `--whole` is given, and
the line says at which size. A peer that is not here is `not run`, and no ratio is made up.

    python benchmarks/snapshots/bench_compare.py [--whole] [--files 10000] [--records 100000]
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".venv-bench-3.12"
SETTLED_S = 0.3
REPEATS = 3
CHANGED_EACH = 100
ROWS = 185
DEEPDIFF_RECORDS = 10_000

COMPARE = """\
import json, resource, sys, time
from pathlib import Path
from testops.snapshots import compare_paths
from testops.snapshots.memory import Memory
base, target, home = map(Path, sys.argv[1:])
began, used = time.perf_counter(), time.process_time()
found = compare_paths(base, target, memory=Memory(home))
print(json.dumps([
    time.perf_counter() - began,
    time.process_time() - used,
    found.delta_count,
    found.compared_count,
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
]))
"""
DIFF = """\
import json, resource, sys, time
from testops.snapshots.differ import diff
old, new = (json.load(open(path)) for path in sys.argv[1:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
began = time.perf_counter()
found = diff(old, new)
print(json.dumps([
    time.perf_counter() - began,
    sorted(change.kind.value for change in found),
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
]))
"""
DEEPDIFF = """\
import json, resource, sys, time
from deepdiff import DeepDiff
old, new = (json.load(open(path)) for path in sys.argv[1:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
began = time.perf_counter()
found = DeepDiff(old, new)
print(json.dumps([
    time.perf_counter() - began,
    {kind: len(items) for kind, items in found.items()},
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
]))
"""


class Took(NamedTuple):
    """Seconds by the clock, and seconds of a processor: on a busy machine the steadier figure."""

    wall_s: float
    processor_s: float


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--whole", action="store_true", help="deepdiff at every size: minutes")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="testops-bench-") as name:
        folder = Path(name)
        _trees(folder, asked.files)
        _records(folder, asked.records, whole=asked.whole)


def _trees(folder: Path, count: int) -> None:
    base, target, home = folder / "base", folder / "target", folder / "home"
    mb = _write_tree(base, count, changed=False)
    _write_tree(target, count, changed=True)
    print(f"two trees of {count} files, {mb:.0f} MB, one file in {CHANGED_EACH} changed")
    time.sleep(SETTLED_S)  # what was written just now would be read again
    _compared(base, target, home)  # the disk's own cache is warm for everybody from here on
    runs: dict[str, list[Took]] = {"git": [], "cold": [], "warm": [], "process": []}
    memory = 0.0
    for _ in range(REPEATS):
        # In turns, so that what else the machine does hits all of them.
        runs["git"].append(_git(base, target))
        shutil.rmtree(home)
        runs["cold"].append(_compared(base, target, home)[0])
        began, used = time.perf_counter(), _processor_s()
        took, memory = _compared(base, target, home)
        runs["process"].append(Took(time.perf_counter() - began, _processor_s() - used))
        runs["warm"].append(took)
    best = {name: Took(*map(min, zip(*all_of, strict=True))) for name, all_of in runs.items()}
    git = best["git"]
    for name, what in (
        ("git", "git diff --no-index"),
        ("cold", "compare, cold"),
        ("warm", "compare, manifests kept"),
        ("process", "  as a whole process"),
    ):
        one = best[name]
        print(
            f"  {what:<24} {one.wall_s:6.2f} s, {one.processor_s:6.2f} s of processor;"
            f" git took {git.wall_s / one.wall_s:.2f} and {git.processor_s / one.processor_s:.2f}"
            " times that"
        )
    print(f"  memory of the compare    {memory:6.0f} MB at most")


def _write_tree(folder: Path, count: int, *, changed: bool) -> float:
    from testops.snapshots import BundleHeader
    from testops.snapshots.canonical import canonical
    from testops.snapshots.manifest import FileDigest, digest_of, spell_manifest

    digests: dict[str, FileDigest] = {}
    for number in range(count):
        path = f"kernels/kernel_{number % 20}/{number // 20}-3.json"
        is_moved = changed and number % CHANGED_EACH == 0
        content = canonical(_execution(number, moved=is_moved))
        digests[path] = digest_of(content)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    header = BundleHeader(
        suite="bench",
        profile="offline",
        sim_seed=0,
        chaos_seed=3,
        engine_version="toron-v2.5H+.1",
        python="3.11",
        masks_version="0" * 64,
    )
    (folder / "manifest.json").write_bytes(spell_manifest(header, digests))
    return sum(digest.size for digest in digests.values()) / 1e6


def _execution(number: int, *, moved: bool) -> "dict[str, Any]":
    draw = random.Random(number)
    rows: list[dict[str, Any]] = [
        {
            "id": index,
            "name": f"user-{draw.randrange(10**6)}",
            "balance": draw.randrange(10**6) / 100,
            "tags": ["x", str(draw.randrange(9))],
        }
        for index in range(ROWS)
    ]
    if moved:
        rows[7]["balance"] = 0.5
    return {
        "kernel": f"kernel_{number % 20}",
        "sim_seed": number // 20,
        "chaos_seed": 3,
        "verdict": "pass",
        "trace_digest": "a" * 64,
        "outputs": {"rows": rows},
        "properties": {},
        "failure": None,
        "steps": 10,
        "virtual_ns": 1000,
    }


def _compared(base: Path, target: Path, home: Path) -> tuple[Took, float]:
    answer = _asked(sys.executable, COMPARE, base, target, home)
    wall_s, processor_s, deltas, compared, memory = answer
    expected = -(-compared // CHANGED_EACH)
    if deltas != expected:
        raise SystemExit(f"compare found {deltas} deltas where {expected} were made")
    return Took(wall_s, processor_s), memory


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _git(base: Path, target: Path) -> Took:
    began, used = time.perf_counter(), _processor_s()
    command = ["git", "diff", "--no-index", "--no-color", str(base), str(target)]
    done = subprocess.run(command, capture_output=True, check=False)
    took = Took(time.perf_counter() - began, _processor_s() - used)
    if done.returncode != 1 or not done.stdout:
        raise SystemExit(f"git diff answered {done.returncode}: {done.stderr.decode()[:200]}")
    return took


def _records(folder: Path, count: int, *, whole: bool) -> None:
    print(f"a snapshot of {count} records that shifted by one")
    paths = _shifted(folder, count)
    seconds, kinds, memory = min(_asked(sys.executable, DIFF, *paths) for _ in range(REPEATS))
    if kinds != ["added", "removed"]:
        raise SystemExit(f"the deltas are not exact: {kinds[:5]}")
    print(f"  compare                 {seconds:8.2f} s  {len(kinds)} deltas, {memory:.0f} MB more")
    peer = PEERS / "bin" / "python"
    made = subprocess.run(
        [str(ROOT / "tools" / "make_bench_environment.sh"), str(PEERS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        print(f"  deepdiff                not run: {made.stderr.strip().splitlines()[-1]}")
        return
    for size in sorted({min(DEEPDIFF_RECORDS, count), *([count] if whole else [])}):
        some = _shifted(folder, size)
        ours = min(_asked(sys.executable, DIFF, *some)[0] for _ in range(REPEATS))
        theirs, found, more = _asked(str(peer), DEEPDIFF, *some)
        changes = ", ".join(f"{number} {kind}" for kind, number in found.items())
        print(
            f"  deepdiff at {size:<7}     {theirs:8.2f} s  {changes}, {more:.0f} MB more; "
            f"compare {ours:.3f} s: {theirs / ours:.0f} times as fast"
        )
    if not whole and count > DEEPDIFF_RECORDS:
        print(f"  deepdiff at {count:<7}     takes minutes: --whole measures it")


def _shifted(folder: Path, count: int) -> tuple[Path, Path]:
    records = [
        {"id": n, "name": f"user-{n}", "balance": n * 1.5, "tags": ["a", str(n % 7)]}
        for n in range(count + 1)
    ]
    old, new = folder / f"old-{count}.json", folder / f"new-{count}.json"
    old.write_text(json.dumps(records[:-1]))
    new.write_text(json.dumps(records[1:]))
    return old, new


def _asked(python: str, program: str, *arguments: Path) -> Any:
    """What `program` prints, in a process of its own: seconds, what it found, megabytes."""
    done = subprocess.run(
        [python, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip()[-2000:])
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
