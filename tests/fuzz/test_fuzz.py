"""Whatever comes in, a reader refuses it in a line or believes what is really there.

The long one is what `make fuzz` runs too: a hundred thousand inputs a reader.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz import bundles
from tests.fuzz.attack import attack, certificate_attack, require_read_alike

from testops.domain.errors import BadInput
from testops.snapshots import read_bundle

INPUTS = 100_000
SAMPLE = 1500
ROOT = Path(__file__).parents[2]


def attacked(reader: str, folder: Path, count: int, seed: int = 1) -> dict[str, object]:
    """What a process of its own told, with its memory, files and time taken away from it."""
    command = [sys.executable, "-m", "tests.fuzz.attack", reader, "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--count", str(count), "--folder", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )
    assert done.stdout, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    assert told["findings"] == []
    assert done.returncode == 0, done.stderr
    assert told["inputs"] == count
    return told


@pytest.mark.parametrize("reader", ["bundle", "certificate"])
def test_a_sample_of_what_an_enemy_sends_is_refused_or_read_right(
    reader: str, tmp_path: Path
) -> None:
    told = attacked(reader, tmp_path, SAMPLE)
    # It gets past the first check, and some of it is fine: else this would test nothing.
    assert int(str(told["different_refusals"])) > 50
    assert int(str(told["accepted"])) > 0


@pytest.mark.long
@pytest.mark.timeout(7300)
@pytest.mark.parametrize("reader", ["bundle", "certificate"])
def test_a_hundred_thousand_inputs_are_refused_or_read_right(reader: str, tmp_path: Path) -> None:
    attacked(reader, tmp_path, INPUTS)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(draw=st.randoms(use_true_random=False))
def test_what_hypothesis_bends_is_refused_or_read_right(
    tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    file = tmp_path_factory.getbasetemp() / "hypothesis.tar.gz"
    raw = bundles.bundle_input(draw)
    file.write_bytes(raw)
    try:
        bundle = read_bundle(file)
    except BadInput:
        pass
    else:
        require_read_alike(raw, bundle)
    certificate_attack(draw)


# --- what watches, watched -------------------------------------------------------------------


def test_an_error_of_another_kind_is_told_with_its_input() -> None:
    def weak(draw: random.Random) -> str:
        if draw.random() < 0.1:
            raise RecursionError("too deep")
        return "refused"

    told = attack(weak, 7, range(100))
    assert 1 <= len(told.findings) <= 20
    number = int(told.findings[0].split()[1].rstrip(":"))
    with pytest.raises(RecursionError):
        weak(random.Random(f"7-{number}"))


def test_a_write_outside_of_the_folder_is_seen(tmp_path: Path) -> None:
    # In a process of its own: an audit hook cannot be taken out again.
    code = (
        "import os, pathlib; from tests.fuzz.attack import Watch, Outside\n"
        "here = pathlib.Path.cwd(); (here / 'in').mkdir()\n"
        "watch = Watch(here / 'in'); watch.on = True\n"
        "(here / 'in/fine').write_text('x'); (here / 'in/fine').read_text()\n"
        "for act in (lambda: (here / 'evil').write_text('x'), lambda: (here / 'evil').mkdir(),\n"
        "            lambda: (here / 'in/../evil').write_text('x'),\n"
        "            lambda: (here / 'in/fine').rename(here / 'evil'),\n"
        "            lambda: os.link(here / 'in/fine', here / 'evil'),\n"
        "            lambda: (here / 'evil').symlink_to('/etc')):\n"
        "    try: act()\n"
        "    except Outside as error: print(str(error).split()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT}/src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["open", "os.mkdir", "open", "os.rename", "os.link", "os.symlink"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_memory_is_taken_away() -> None:
    code = (
        "import resource; from tests.fuzz.attack import MEMORY_BYTES_MAX as most\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "try: bytes(most)\n"
        "except MemoryError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"


def tar_with(tmp_path: Path, place: int, value: bytes) -> Path:
    tar = bytearray(bundles.real_tars()[0])
    tar[place : place + len(value)] = value
    bundles._sum(tar, 0)
    file = tmp_path / "bent.tar.gz"
    file.write_bytes(bundles.packed(bytes(tar)))
    return file


@pytest.mark.parametrize("place", [100, 108, 116, 136, 329, 337])
def test_a_number_that_another_reader_stops_at_is_refused(tmp_path: Path, place: int) -> None:
    """Found by this fuzzer: `tar` takes it for the end, and saw less in the bundle than we did."""
    with pytest.raises(BadInput, match="not a number"):
        read_bundle(tar_with(tmp_path, place, b"garbage"))


def test_an_empty_path_in_a_pax_header_is_a_path(tmp_path: Path) -> None:
    """Found by this fuzzer: we took the name in the next header, and `tar` took the empty one."""
    record = b"8 path=\n"
    header = bytearray(512)
    header[:13] = b"././@PaxHeader"[:13]
    header[100:108], header[124:136] = b"0000000\0", b"%011o\0" % len(record)
    header[156:157], header[257:265] = b"x", b"ustar\x0000"
    bundles._sum(header, 0)
    tar = bytes(header) + record.ljust(512, b"\0") + bundles.real_tars()[0]
    file = tmp_path / "bent.tar.gz"
    file.write_bytes(bundles.packed(tar))
    with pytest.raises(BadInput, match="an empty part"):
        read_bundle(file)


def test_an_empty_pax_header_at_the_end_is_refused(tmp_path: Path) -> None:
    """Found by this fuzzer: we passed over it, and `tar` said that the archive is cut off."""
    header = bytearray(512)
    header[:13] = b"././@PaxHeader"[:13]
    header[100:108], header[124:136] = b"0000000\0", b"00000000000\0"
    header[156:157], header[257:265] = b"x", b"ustar\x0000"
    bundles._sum(header, 0)
    tar = bundles.real_tars()[3]
    file = tmp_path / "bent.tar.gz"
    file.write_bytes(bundles.packed(tar[:1024] + bytes(header) + tar[1024:]))
    with pytest.raises(BadInput, match="ends after a PAX header"):
        read_bundle(file)
