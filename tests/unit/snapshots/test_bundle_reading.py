"""A reader believes nothing: a damaged or hostile bundle is refused in one line that says why."""

import gzip
import io
import os
import random
import shutil
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.snapshots.building import Recipe, members_of, plain, repack

from testops.domain.errors import BadInput
from testops.snapshots import read_bundle, read_executions, unpack_bundle
from testops.snapshots.canonical import canonical, parse
from testops.snapshots.limits import Limits
from testops.snapshots.manifest import write_manifest
from testops.snapshots.paths import require_safe_path
from testops.snapshots.refusal import Refusal
from testops.snapshots.tar import ByteStream, read_members


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Recipe(seeds=(7, 8)).write(tmp_path / "run.tar.gz")


def refusal_of(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_bundle(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.fix
    return text


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    recipe = Recipe(kernels=("a", "b"), seeds=(0, 2**64 - 1))
    path = recipe.write(tmp_path / "run.tar.gz")
    bundle = read_bundle(path)
    assert bundle.header == recipe.header()
    assert dict(bundle.files) == recipe.files()
    assert bundle.origin == path


def test_an_unpacked_bundle_and_one_packed_by_another_program_have_the_same_identity(
    tmp_path: Path, bundle: Path
) -> None:
    unpack_bundle(bundle, tmp_path / "dev")
    members = members_of(bundle)
    for info, _ in members:
        info.mtime, info.uid, info.uname, info.mode = 1_700_000_000.5, 1000, "someone", 0o600
    again = repack(tmp_path / "again.tar.gz", members[::-1])
    assert again.read_bytes() != bundle.read_bytes()
    identities = {read_bundle(path).identity for path in (bundle, tmp_path / "dev", again)}
    assert len(identities) == 1


def test_a_bundle_cut_off_anywhere_is_refused(tmp_path: Path, bundle: Path) -> None:
    whole = bundle.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    for length in range(0, len(whole), 3):
        cut.write_bytes(whole[:length])
        refusal_of(cut)


def test_a_tar_cut_off_anywhere_is_refused(tmp_path: Path, bundle: Path) -> None:
    tar = gzip.decompress(bundle.read_bytes())
    end = tar.rstrip(b"\0")
    cut = tmp_path / "cut.tar.gz"
    for length in range(0, len(end) + 512, 61):
        cut.write_bytes(gzip.compress(tar[:length], 1))
        refusal_of(cut)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, bundle: Path) -> None:
    whole, read = bundle.read_bytes(), read_bundle(bundle)
    draw = random.Random(11)
    flipped_file = tmp_path / "flipped.tar.gz"
    refused = 0
    for _ in range(600):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        flipped_file.write_bytes(flipped)
        try:
            again = read_bundle(flipped_file)
        except BadInput:
            refused += 1
        else:
            assert (again.identity, again.files) == (read.identity, read.files)
    assert refused > 500


def test_a_flipped_bit_under_a_new_gzip_layer_is_refused_or_seen_in_the_identity(
    tmp_path: Path, bundle: Path
) -> None:
    # gzip's own checksum would catch these; here only ours stand between the damage and belief.
    tar, read = gzip.decompress(bundle.read_bytes()), read_bundle(bundle)
    draw = random.Random(12)
    flipped_file = tmp_path / "flipped.tar.gz"
    refused = 0
    for _ in range(600):
        flipped = bytearray(tar)
        flipped[draw.randrange(5 * 1024)] ^= 1 << draw.randrange(8)
        flipped_file.write_bytes(gzip.compress(bytes(flipped), 1))
        try:
            again = read_bundle(flipped_file)
        except BadInput:
            refused += 1
        else:
            # A bit of the manifest's own header is another bundle, and its identity says so.
            assert again.files == read.files
            assert (again.identity == read.identity) == (again.header == read.header)
    assert refused > 500


def test_noise_is_refused(tmp_path: Path) -> None:
    draw = random.Random(3)
    noise = tmp_path / "noise.tar.gz"
    for length in (0, 1, 2, 10, 512, 5000):
        noise.write_bytes(draw.randbytes(length))
        assert "not a gzip file" in refusal_of(noise)
        noise.write_bytes(gzip.compress(draw.randbytes(length)))
        refusal_of(noise)


Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


def _add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = plain(name)
        info.type, info.linkname = kind, link
        members.append((info, b"x" if kind == tarfile.REGTYPE else b""))

    return change


def _edit(name: str, old: bytes, new: bytes) -> Change:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        for index, (info, content) in enumerate(members):
            if info.name == name:
                assert old in content
                members[index] = (info, content.replace(old, new))

    return change


def _drop(name: str) -> Change:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[:] = [member for member in members if member[0].name != name]

    return change


def _repeat(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(members[0])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_add("../evil.json"), "leads outside ('..')"),
        (_add("kernels/../../evil.json"), "leads outside ('..')"),
        (_add("/etc/passwd"), "has an absolute path"),
        (_add("kernels\\evil.json"), "has a backslash"),
        (_add("kernels//evil.json"), "characters outside"),
        (_add("./kernels/evil.json"), "characters outside"),
        (_add("kernels/évil.json"), "characters outside"),
        (_add("kernels/a b.json"), "characters outside"),
        (_add("kernels/" + "d/" * 120 + "x"), "longer than 240"),
        (_add("kernels/link", tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
        (_add("kernels/link", tarfile.LNKTYPE, "manifest.json"), "is a hard link"),
        (_add("kernels/dev", tarfile.CHRTYPE), "is a character device"),
        (_add("kernels/dev", tarfile.BLKTYPE), "is a block device"),
        (_add("kernels/pipe", tarfile.FIFOTYPE), "is a named pipe"),
        (_add("kernels/folder", tarfile.DIRTYPE), "is a folder entry"),
        (_repeat, "is there twice"),
        (_add("KERNELS/ledger/7-3.json"), "have one name"),
        (_add("kernels/ledger"), "both a file and the folder"),
        (_add("kernels/ledger/9-3.json"), "'kernels/ledger/9-3.json' is not listed"),
        (_drop("kernels/ledger/8-3.json"), "'kernels/ledger/8-3.json' is listed in manifest.json"),
        (_drop("manifest.json"), "has no manifest.json"),
        (_edit("kernels/ledger/7-3.json", b"100", b"999"), "does not match its sha256"),
        (_edit("kernels/ledger/7-3.json", b"100", b"1000"), "and manifest.json says"),
        (
            _edit("manifest.json", b'"schema_version":1', b'"schema_version":2'),
            "this program reads 1",
        ),
        (_edit("manifest.json", b'"schema_version":1', b'"schema_version":true'), "schema_version"),
        (_edit("manifest.json", b'"suite":"regression_core"', b'"suite":"../x"'), "is malformed"),
        (_edit("manifest.json", b'"suite":', b'"suit":'), "has no 'suite'"),
        (_edit("manifest.json", b'"suite":', b'"who":1,"suite":'), "unknown field 'who'"),
        (_edit("manifest.json", b'"suite":', b'"suite":1,"suite":'), "names 'suite' twice"),
        (_edit("manifest.json", b'"sim_seed":7', b'"sim_seed":-7'), "is not a seed"),
        (_edit("manifest.json", b'"sim_seed":7', b'"sim_seed":"7"'), "is not a seed"),
        (_edit("manifest.json", b'"sim_seed":7', b'"sim_seed":7.5'), "is not a seed"),
        (_edit("manifest.json", b'"sim_seed":7', b'"sim_seed":NaN'), "holds NaN"),
        (_edit("manifest.json", b'"sim_seed":7', b'"sim_seed":1e999'), "beyond a double"),
        (_edit("manifest.json", b'"size":', b'"size":-'), "files/0 is not a path"),
        (_edit("manifest.json", b'"path":"kernels', b'"path":"../k'), "leads outside"),
        (_edit("manifest.json", b"{", b""), "cannot be read: it is not JSON"),
        (_edit("manifest.json", b"ledger", b"\xff\xfe"), "cannot be read: it is not UTF-8"),
    ],
)
def test_a_hostile_or_damaged_member_is_refused_by_name(
    tmp_path: Path, bundle: Path, change: Change, problem: str
) -> None:
    members = members_of(bundle)
    change(members)
    assert problem in refusal_of(repack(tmp_path / "hostile.tar.gz", members))


@pytest.mark.parametrize("depth", [150, 100_000])
def test_json_nested_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(Refusal, match="nested deeper than 100"):
        parse(b"[" * depth + b"]" * depth)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(Refusal, match="a number that cannot be read"):
        parse(b"9" * 5000)


@pytest.mark.parametrize("tail", [b"\0", b"garbage", gzip.compress(b"a second stream", mtime=0)])
def test_bytes_after_the_gzip_stream_are_refused(bundle: Path, tail: bytes) -> None:
    bundle.write_bytes(bundle.read_bytes() + tail)
    assert "more bytes after the end of its gzip stream" in refusal_of(bundle)


def test_bytes_after_the_end_of_the_tar_are_refused(tmp_path: Path, bundle: Path) -> None:
    tar = gzip.decompress(bundle.read_bytes())
    longer = tmp_path / "longer.tar.gz"
    longer.write_bytes(gzip.compress(tar + b"x" * 512))
    assert "more bytes after its end" in refusal_of(longer)


def test_bytes_hidden_in_the_padding_of_a_member_are_refused(tmp_path: Path, bundle: Path) -> None:
    tar = bytearray(gzip.decompress(bundle.read_bytes()))
    tar[1023] = 65
    hidden = tmp_path / "hidden.tar.gz"
    hidden.write_bytes(gzip.compress(bytes(tar)))
    assert "hidden behind kernels/ledger/7-3.json" in refusal_of(hidden)


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ("nothing", "its tar has more bytes after its end"),
        ("a member", "the member 'kernels/bomb/1-1.json' has 1 GiB"),
    ],
)
def test_a_decompression_bomb_is_refused_before_it_takes_memory(
    tmp_path: Path, claim: str, problem: str
) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = b""
    if claim == "a member":
        info = plain("kernels/bomb/1-1.json")
        info.size = 1024**3
        head = info.tobuf(tarfile.USTAR_FORMAT)
    parts = [packer.compress(head)]
    zeros = bytes(1024 * 1024)
    parts += [packer.compress(zeros) for _ in range(300)]
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(b"".join(parts) + packer.flush())
    assert path.stat().st_size < 400_000
    tracemalloc.start()
    text = refusal_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem in text
    assert peak < 16 * 1024 * 1024


def test_a_bomb_inside_one_allowed_member_is_stopped_by_the_ratio(tmp_path: Path) -> None:
    info = plain("kernels/bomb/1-1.json")
    path = repack(tmp_path / "bomb.tar.gz", [(info, bytes(60 * 1024 * 1024))])
    tracemalloc.start()
    assert "decompression bomb (more than 200 times its size)" in refusal_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 1024 * 1024


def test_too_many_members_are_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for index in range(4):
            tar.addfile(plain(f"kernels/a/{index}-0.json"))
    stream = ByteStream(iter([buffer.getvalue()]))
    limits = Limits(member_count_max=3)
    with pytest.raises(Refusal, match="more than 3 members"):
        list(read_members(stream, limits=limits, require_path=require_safe_path))


def test_a_pax_header_that_redirects_a_member_is_refused(tmp_path: Path) -> None:
    for name, value in (("linkpath", "/etc"), ("size", "5"), ("GNU.sparse.major", "1")):
        info = plain("kernels/a/1-1.json")
        info.pax_headers = {name: value}
        text = refusal_of(repack(tmp_path / "pax.tar.gz", [(info, b"{}")]))
        assert f"PAX header with {name!r}" in text


def test_a_huge_pax_header_is_refused(tmp_path: Path) -> None:
    info = plain("kernels/a/1-1.json")
    info.pax_headers = {"comment": "x" * 100_000}
    text = refusal_of(repack(tmp_path / "pax.tar.gz", [(info, b"{}")]))
    assert "a PAX header of 97.7 KiB" in text


def test_paths_that_are_no_bundle_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal_of(tmp_path / "absent.tar.gz")
    pipe = tmp_path / "pipe.tar.gz"
    os.mkfifo(pipe)
    assert "neither a file nor a folder" in refusal_of(pipe)
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in refusal_of(tmp_path / "empty")


def test_an_unpacked_folder_is_held_to_the_same_rules(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "dev"

    def fresh() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        unpack_bundle(bundle, folder)
        return folder

    (fresh() / "kernels/ledger/7-3.json").write_text("{}")
    assert "manifest.json says" in refusal_of(folder)
    (fresh() / "kernels/ledger/7-3.json").unlink()
    assert "and missing" in refusal_of(folder)
    (fresh() / "kernels/notes.txt").write_text("mine")
    assert "is not listed" in refusal_of(folder)
    (fresh() / "kernels/link.json").symlink_to("/etc/passwd")
    assert "is a link or a device" in refusal_of(folder)
    (fresh() / "kernels/loop").symlink_to(folder)
    assert "is a link or a device" in refusal_of(folder)
    deep = fresh() / "/".join("kernels" for _ in range(12))
    deep.mkdir(parents=True)
    assert "nested deeper" in refusal_of(folder)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b'"verdict":"pass"', b'"verdict":"fine"', "malformed 'verdict'"),
        (b'"outputs":{', b'"outputs":[],"x":{', "unknown field 'x'"),
        (b'"kernel":"ledger"', b'"kernel":"other"', "another kernel or other seeds"),
        (b'"sim_seed":7', b'"sim_seed":8', "another kernel or other seeds"),
        (b'"steps":10', b'"steps":-1', "malformed 'steps'"),
        (b'"steps":10,', b"", "has no 'steps'"),
        (b"a" * 64, b"A" * 64, "malformed 'trace_digest'"),
        (b'"properties":{}', b'"properties":{"p":1}', "malformed 'properties'"),
    ],
)
def test_a_kernel_file_of_another_shape_is_refused_although_its_digest_holds(
    tmp_path: Path, old: bytes, new: bytes, problem: str
) -> None:
    recipe = Recipe()
    files = recipe.files()
    path = "kernels/ledger/7-3.json"
    assert old in files[path]
    files[path] = files[path].replace(old, new)
    manifest = write_manifest(recipe.header(), files)
    members = [(plain(name), content) for name, content in files.items()]
    hostile = repack(tmp_path / "odd.tar.gz", [*members, (plain("manifest.json"), manifest)])
    with pytest.raises(BadInput, match=problem):
        read_executions(read_bundle(hostile))


@pytest.mark.parametrize(
    "name",
    [
        "kernels/ledger/7.json",
        "kernels/ledger/07-3.json",
        "kernels/Ledger/7-3.json",
        "kernels/7-3.json",
        "traces/ledger/7-3.json",
        "notes/read.me",
        "traces/ledger/99-3.ndjson",
    ],
)
def test_a_file_that_schema_1_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    recipe = Recipe()
    files = {**recipe.files(), name: b"{}"}
    members = [(plain(path), content) for path, content in files.items()]
    members.append((plain("manifest.json"), write_manifest(recipe.header(), files)))
    path = repack(tmp_path / "odd.tar.gz", members)
    with pytest.raises(BadInput, match=r"odd\.tar\.gz"):
        read_executions(read_bundle(path))


def test_canonical_json_follows_rfc_8785() -> None:
    # Section 3.2.3 of the RFC sorts by UTF-16 code units; 3.2.2.3 spells numbers as ECMAScript.
    assert canonical({"\u20ac": 1, "\r": 2, "\U0001f600": 3, "\ufb33": 4, "1": 5}) == (
        '{"\\r":2,"1":5,"\u20ac":1,"\U0001f600":3,"\ufb33":4}'.encode()
    )
    assert canonical([333333333.33333329, 1e30, 4.50, 2e-3, 1e-27, -0.0]) == (
        b"[333333333.3333333,1e+30,4.5,0.002,1e-27,0]"
    )
