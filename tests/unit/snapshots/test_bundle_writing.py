"""A bundle is written as equal bytes for equal behaviour, and whole or not at all."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from tests.unit.snapshots.building import FakeExecution, Recipe

from testops.domain.errors import BadInput, OutputNotWritable
from testops.snapshots import BundleHeader, execution_files, read_bundle, write_bundle

ROOT = Path(__file__).parents[3]


def test_equal_behaviour_is_equal_bytes_whatever_the_order_of_keys_and_executions(
    tmp_path: Path,
) -> None:
    recipe = Recipe(kernels=("ledger", "election"), seeds=(0, 1, 2))
    executions = recipe.executions()
    random.Random(5).shuffle(executions)
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    one = write_bundle(first, recipe.header(), recipe.files())
    files = execution_files(executions)
    other = write_bundle(second, recipe.header(), dict(reversed(files.items())))
    assert one == other
    assert first.read_bytes() == second.read_bytes()


def test_processes_with_different_hash_seeds_folders_and_umasks_write_equal_bytes(
    tmp_path: Path,
) -> None:
    program = (
        "import sys, os; from pathlib import Path; os.umask(int(sys.argv[2], 8))\n"
        "from tests.unit.snapshots.building import Recipe\n"
        "Recipe(kernels=('a', 'b'), seeds=(1, 2), outputs={k: 1 for k in {'x', 'y', 'zz'}})"
        ".write(Path(sys.argv[1]))"
    )
    digests = set()
    for hash_seed, umask in (("0", "022"), ("1", "077"), ("4242", "002")):
        target = tmp_path / hash_seed / "run.tar.gz"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": f"UTC-{umask[0]}"}
        subprocess.run(
            [sys.executable, "-c", program, str(target), umask],
            check=True,
            env=environment,
            cwd=ROOT,
        )
        digests.add(hashlib.sha256(target.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_bytes_of_a_known_bundle_are_the_ones_that_earlier_releases_wrote(
    tmp_path: Path,
) -> None:
    path = Recipe().write(tmp_path / "run.tar.gz")
    # A change here breaks every baseline that exists: it needs a new schema version.
    assert read_bundle(path).identity == (
        "695091d30d6b455d2198e4f76853d7ebe1f49afcef6e4845f065b6a59abd6050"
    )
    assert hashlib.sha256(path.read_bytes()).hexdigest() == (
        "baf3f75b07744c50b50dad7d2048a04f50668008b604ce3fe2e04ff22959a797"
    )


def test_the_gzip_layer_has_no_time_no_name_and_an_unknown_system(tmp_path: Path) -> None:
    raw = Recipe().write(tmp_path / "run.tar.gz").read_bytes()
    assert raw[:10] == b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"


def test_the_tar_layer_is_what_tarfile_writes_without_times_owners_or_surprises(
    tmp_path: Path,
) -> None:
    recipe = Recipe(kernels=("k" * 99, "ledger"), seeds=(2**64 - 1,))
    path = recipe.write(tmp_path / "run.tar.gz")
    tar = gzip.decompress(path.read_bytes())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as ours:
        names = ours.getnames()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as theirs:
            for info in ours.getmembers():
                assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
                assert info.mode == 0o644
                again = tarfile.TarInfo(info.name)
                again.size = info.size
                theirs.addfile(again, ours.extractfile(info))
    assert names == sorted(names)
    assert buffer.getvalue() == tar
    assert read_bundle(path).identity == hashlib.sha256(tar).hexdigest()


def test_the_manifest_is_canonical_json_with_exactly_the_fields_of_schema_1(
    tmp_path: Path,
) -> None:
    path = Recipe(seeds=(7,)).write(tmp_path / "run.tar.gz")
    with tarfile.open(path) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        raw = file.read()
    manifest = json.loads(raw)
    assert set(manifest) == {
        "schema_version",
        "suite",
        "profile",
        "sim_seed",
        "chaos_seed",
        "engine_version",
        "python",
        "masks_version",
        "files",
    }
    assert [set(item) for item in manifest["files"]] == [{"path", "sha256", "size"}]
    assert raw == json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def test_a_seed_that_a_double_cannot_hold_is_stored_as_its_digits_and_read_back(
    tmp_path: Path,
) -> None:
    path = Recipe(seeds=(2**64 - 1, 2**53 - 1)).write(tmp_path / "run.tar.gz")
    bundle = read_bundle(path)
    assert bundle.header.sim_seed == 2**64 - 1
    large = json.loads(bundle.files[f"kernels/ledger/{2**64 - 1}-3.json"])
    assert large["sim_seed"] == "18446744073709551615"
    safe = json.loads(bundle.files[f"kernels/ledger/{2**53 - 1}-3.json"])
    assert safe["sim_seed"] == 2**53 - 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (2**70, str(2**70)),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ("\ud800", "\\ud800"),
        ((1, 2), [1, 2]),
        (1.0, 1),
        (True, True),
    ],
)
def test_an_output_that_canonical_json_cannot_spell_is_stored_by_one_rule(
    value: object, stored: object
) -> None:
    files = Recipe(outputs={"value": value}).files()
    document = json.loads(files["kernels/ledger/7-3.json"])
    assert document["outputs"] == {"value": stored}


def test_an_output_that_is_no_json_is_refused_with_its_kernel_and_seed() -> None:
    with pytest.raises(BadInput, match=r"ledger, seed 7, chaos seed 3: a set is not a JSON value"):
        Recipe(outputs={"tags": {1}}).files()


def test_tokens_durations_and_python_stay_out_of_a_kernel_file() -> None:
    document = json.loads(Recipe().files()["kernels/ledger/7-3.json"])
    assert not {"token", "python", "wall_s"} & set(document)


def test_a_trace_is_kept_for_failures_only() -> None:
    events = [{"number": 0, "text": "start", "where": ""}]
    assert "traces/ledger/7-3.ndjson" not in Recipe(trace=events).files()
    assert "traces/ledger/7-3.ndjson" in Recipe(trace=events, verdict="fail").files()


def test_one_execution_twice_in_a_run_is_refused() -> None:
    execution = FakeExecution("ledger", 7, 3, Recipe().outcome())
    with pytest.raises(BadInput, match="executed twice"):
        execution_files([execution, execution])


def test_a_malformed_header_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"suite '../x' is malformed"):
        BundleHeader("../x", "offline", 0, 0, "toron-v2.5H+.1", "3.11", "0" * 64)


def test_a_bundle_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "run.tar.gz"
    with pytest.raises(BadInput, match="64 MiB"):
        write_bundle(target, Recipe().header(), {"traces/big/1-1.ndjson": bytes(65 * 1024 * 1024)})
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_reported_as_not_writable(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file")
    with pytest.raises(OutputNotWritable, match=r"run\.tar\.gz: cannot be written"):
        Recipe().write(tmp_path / "snapshots" / "run.tar.gz")


def test_a_full_disk_leaves_the_former_bundle_and_nothing_half_written(tmp_path: Path) -> None:
    target = Recipe().write(tmp_path / "run.tar.gz")
    before = target.read_bytes()
    noise = random.Random(1).randbytes(300_000).hex()
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from testops.domain.errors import OutputNotWritable\n"
        "from tests.unit.snapshots.building import Recipe\n"
        "recipe = Recipe(outputs={'noise': sys.stdin.read()})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: recipe.write(Path(sys.argv[1]))\n"
        "except OutputNotWritable as error: sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        input=noise,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stderr.startswith("refused: ")
    assert "free space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_killed_in_the_middle_leaves_the_old_bundle_and_the_next_write_cleans_up(
    tmp_path: Path,
) -> None:
    target = Recipe().write(tmp_path / "run.tar.gz")
    before = target.read_bytes()
    program = (
        "import os, sys; from pathlib import Path\n"
        "from tests.unit.snapshots.building import Recipe\n"
        "real = os.fsync\n"
        "def hang(descriptor):\n"
        "    print('writing', flush=True); sys.stdin.read()\n"
        "os.fsync = hang\n"
        "Recipe(outputs={'other': 1}).write(Path(sys.argv[1]))\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        living = [path for path in tmp_path.iterdir() if path != target]
        assert len(living) == 1
        # A write beside a living writer leaves that one's file alone.
        Recipe().write(tmp_path / "another.tar.gz")
        assert living[0].exists()
        writer.send_signal(signal.SIGKILL)
    assert target.read_bytes() == before
    assert living[0].exists()
    Recipe().write(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another.tar.gz", "run.tar.gz"]


def test_files_of_others_are_never_taken_for_remains(tmp_path: Path) -> None:
    stranger = tmp_path / ".editor.swp"
    stranger.write_text("mine")
    (tmp_path / ".folder.testops-tmp").mkdir()
    held = tmp_path / ".held.1-0.testops-tmp"
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Recipe().write(tmp_path / "run.tar.gz")
        assert held.exists()
    assert stranger.exists()


def test_kill_at_any_moment_leaves_one_of_the_two_whole_bundles(tmp_path: Path) -> None:
    target = Recipe().write(tmp_path / "run.tar.gz")
    wanted = {read_bundle(target).identity}
    other = Recipe(outputs={"noise": list(range(2000))})
    wanted.add(read_bundle(other.write(tmp_path / "other.tar.gz")).identity)
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.snapshots.building import Recipe\n"
        "one, two = Recipe(), Recipe(outputs={'noise': list(range(2000))})\n"
        "print('go', flush=True)\n"
        "while True: two.write(Path(sys.argv[1])); one.write(Path(sys.argv[1]))\n"
    )
    for attempt in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(target)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        with writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.003 * attempt + 0.001)
            writer.kill()
        assert read_bundle(target).identity in wanted
    Recipe().write(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.tar.gz", "run.tar.gz"]
