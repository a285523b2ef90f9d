"""`snapshots/dev` is replaced whole, and a killed replacement is repaired by the next."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.unit.snapshots.building import Recipe

from testops.domain.errors import BadInput, OutputNotWritable
from testops.snapshots import read_bundle, unpack_bundle

ROOT = Path(__file__).parents[3]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Recipe(seeds=(1, 2)).write(tmp_path / "old.tar.gz")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return Recipe(seeds=(3,), outputs={"other": 1}).write(tmp_path / "new.tar.gz")


def test_a_replaced_folder_holds_exactly_the_new_bundle(
    tmp_path: Path, old: Path, new: Path
) -> None:
    dev = tmp_path / "snapshots" / "dev"
    unpack_bundle(old, dev)
    unpack_bundle(new, dev)
    assert read_bundle(dev).identity == read_bundle(new).identity
    assert [path.name for path in dev.parent.iterdir() if not path.name.endswith("-lock")] == [
        "dev"
    ]


# The renames and removals of one replacement, counted: a kill before each of them is one case.
@pytest.mark.parametrize("step", range(1, 5))
def test_kill_9_at_any_step_leaves_a_whole_bundle_after_the_next_call(
    tmp_path: Path, old: Path, new: Path, step: int
) -> None:
    dev = tmp_path / "snapshots" / "dev"
    unpack_bundle(old, dev)
    program = (
        "import os, shutil, sys; from pathlib import Path\n"
        "from testops.snapshots import unpack_bundle\n"
        "left = int(sys.argv[3])\n"
        "def dying(real):\n"
        "    def call(*arguments, **options):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left == 0: os.kill(os.getpid(), 9)\n"
        "        return real(*arguments, **options)\n"
        "    return call\n"
        "Path.write_bytes = dying(Path.write_bytes)\n"
        "Path.rename = dying(Path.rename)\n"
        "shutil.rmtree = dying(shutil.rmtree)\n"
        "unpack_bundle(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", program, str(new), str(dev), str(step)]
    assert subprocess.run(arguments, check=False, cwd=ROOT).returncode == -9
    if dev.exists():
        assert read_bundle(dev).identity in {read_bundle(path).identity for path in (old, new)}
    unpack_bundle(new, dev)
    assert read_bundle(dev).identity == read_bundle(new).identity
    assert [path.name for path in dev.parent.iterdir() if not path.name.endswith("-lock")] == [
        "dev"
    ]


def test_a_replacement_that_finds_no_room_leaves_the_former_folder(
    tmp_path: Path, old: Path
) -> None:
    dev = tmp_path / "snapshots" / "dev"
    unpack_bundle(old, dev)
    big = Recipe(outputs={"noise": os.urandom(200_000).hex()}).write(tmp_path / "big.tar.gz")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from testops.domain.errors import OutputNotWritable\n"
        "from testops.snapshots import unpack_bundle\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: unpack_bundle(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except OutputNotWritable as error: sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(big), str(dev)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stderr.startswith(f"refused: {dev}: cannot be written (File too large)")
    assert read_bundle(dev).identity == read_bundle(old).identity
    assert [path.name for path in dev.parent.iterdir() if not path.name.endswith("-lock")] == [
        "dev"
    ]


def test_a_folder_with_other_things_in_it_is_never_replaced(tmp_path: Path, old: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match=r"holds 'thesis\.txt', which no bundle has"):
        unpack_bundle(old, home)
    assert (home / "thesis.txt").read_text() == "years of work"


def test_a_link_is_not_followed(tmp_path: Path, old: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dev").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="is not a folder"):
        unpack_bundle(old, tmp_path / "dev")


def test_a_bundle_that_is_refused_leaves_the_former_folder(tmp_path: Path, old: Path) -> None:
    dev = tmp_path / "dev"
    unpack_bundle(old, dev)
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(old.read_bytes()[:-9])
    with pytest.raises(BadInput):
        unpack_bundle(broken, dev)
    assert read_bundle(dev).identity == read_bundle(old).identity


def test_two_replacements_at_once_leave_one_whole_bundle(
    tmp_path: Path, old: Path, new: Path
) -> None:
    dev = tmp_path / "dev"
    failures: list[Exception] = []

    def replace(source: Path) -> None:
        try:
            for _ in range(15):
                unpack_bundle(source, dev)
        except (BadInput, OutputNotWritable) as error:
            failures.append(error)

    threads = [threading.Thread(target=replace, args=(source,)) for source in (old, new)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read_bundle(dev).identity in {read_bundle(path).identity for path in (old, new)}
