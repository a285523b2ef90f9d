"""Bundles as an enemy would send them: real ones that were bent, and garbage of the right shape.

Each generator takes its chance as an argument: `random.Random` of a seed for a hundred thousand
inputs, or one that Hypothesis leads, so that what it finds is made small.
"""

import copy
import functools
import gzip
import io
import json
import random
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.finished import Execution

from testops.snapshots import BundleHeader, execution_files, write_bundle
from testops.snapshots.manifest import MANIFEST, write_manifest

Draw = random.Random
BLOCK = 512
HEADER = BundleHeader("core", "offline", 2**64 - 1, 7, "toron-v2.5H+.2", "3.11", "a" * 64)
NASTY_PATHS = (
    "../escaped",
    "kernels/../../escaped",
    "/tmp/testops-fuzz-escaped",
    "kernels//x",
    "./kernels/x",
    "kernels/./x",
    "kernels/x/",
    "",
    ".",
    "..",
    "~/escaped",
    "C:\\escaped",
    "kernels\\..\\escaped",
    "kernels/\u202egnp.json",
    "kernels/ab\0cd",
    "kernels/" + "a" * 300,
    "a/" * 130 + "deep",
    "KERNELS/ledger",
    "kernels",
    "manifest.json",
    "MANIFEST.json",
    "manifest.json/x",
    "kernels/con.json",
    "kernels/.hidden",
    "kernels/x.",
    "\ud800",
    "kernels/\n",
)


@functools.cache
def real_bundles() -> tuple[bytes, ...]:
    """What the product writes: small, with a trace, and with a name that needs a PAX record."""
    outcome: dict[str, Any] = {
        "verdict": "pass",
        "trace_digest": "a" * 64,
        "outputs": {"balance": 100, "names": ["ada", "bob"]},
        "properties": {"no loss": {"passes": 3}},
        "failure": None,
        "steps": 10,
        "virtual_ns": 1_000,
        "python": "3.11",
    }
    failed = outcome | {"verdict": "fail", "trace": ["0 start", "1 lost"], "trace_digest": "b" * 64}
    recipes = [
        execution_files([Execution("ledger", 1, outcome)], sources=None),
        execution_files([Execution(f"k{n}", n, failed) for n in range(3)], sources=None),
        {f"kernels/{'n' * 90}/{'s' * 90}.json": b"{}", "traces/x": bytes(2000)},
        {},
    ]
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for number, files in enumerate(recipes):
            path = Path(folder) / f"{number}.tar.gz"
            write_bundle(path, HEADER, files)
            made.append(path.read_bytes())
    return tuple(made)


@functools.cache
def real_tars() -> tuple[bytes, ...]:
    return tuple(gzip.decompress(raw) for raw in real_bundles())


def bundle_input(draw: Draw) -> bytes:
    """One input for the reader of bundles."""
    return draw.choice(_KINDS)(draw)


def mutated(raw: bytes, draw: Draw) -> bytes:
    """`raw` with a few bytes changed, removed, doubled, moved or put in."""
    changed = bytearray(raw)
    for _ in range(draw.randint(1, 6)):
        if not changed:
            break
        place, length = draw.randrange(len(changed)), draw.choice((1, 1, 1, 4, 64, 512))
        match draw.randrange(6):
            case 0:
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                changed[place] = draw.choice((0, 1, 0x20, 0x2F, 0x30, 0x37, 0x7F, 0x80, 0xFF))
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length]
            case 4:
                changed[place:place] = draw.randbytes(length)
            case _:
                del changed[place:]
    return bytes(changed)


def packed(tar: bytes, draw: Draw | None = None) -> bytes:
    """`tar` in gzip, quickly; sometimes in another of its many spellings."""
    level = 1 if draw is None else draw.choice((0, 1, 6))
    return gzip.compress(tar, level, mtime=0)


def _raw(draw: Draw) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 2, 10, 18, 100, 2000)))


def _bent_file(draw: Draw) -> bytes:
    return mutated(draw.choice(real_bundles()), draw)


def _bent_tar(draw: Draw) -> bytes:
    return packed(mutated(draw.choice(real_tars()), draw), draw)


def _bent_headers(draw: Draw) -> bytes:
    """Fields of headers with other values, and a checksum that is right again."""
    tar = bytearray(draw.choice(real_tars()))
    for _ in range(draw.randint(1, 3)):
        place = BLOCK * draw.randrange(len(tar) // BLOCK)
        start, length = draw.choice(
            ((0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (345, 155))
        )
        tar[place + start : place + start + length] = _field(draw, length)
        if draw.random() < 0.9:
            _sum(tar, place)
    return packed(bytes(tar), draw)


def _field(draw: Draw, length: int) -> bytes:
    value = draw.choice(
        (
            b"%0*o" % (max(1, length - 1), draw.choice((0, 1, 511, 512, 513, 2**30, 2**33))),
            b"\x80" + draw.randbytes(max(0, length - 1)),
            b"-1",
            b"99999999",
            b" 7 ",
            draw.choice((b"0", b"1", b"2", b"3", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S")),
            draw.choice(NASTY_PATHS).encode("utf-8", "surrogatepass"),
            draw.randbytes(length),
        )
    )
    return value[:length].ljust(length, draw.choice((b"\0", b"\0", b" ")))


def _sum(tar: bytearray, place: int) -> None:
    tar[place + 148 : place + 156] = b" " * 8
    total = sum(tar[place : place + BLOCK])
    tar[place + 148 : place + 156] = b"%06o\0 " % total


def _pax(draw: Draw) -> bytes:
    """A PAX header of records that are wrong in some way, before a member of a real bundle."""
    records = b"".join(_record(draw) for _ in range(draw.randint(0, 4)))
    kind = draw.choice((b"x", b"x", b"x", b"g", b"L", b"K"))
    header = bytearray(BLOCK)
    header[0:100] = b"././@PaxHeader".ljust(100, b"\0")
    header[100:108] = b"0000000\0"
    size = draw.choice((len(records), len(records), 0, 20_000, len(records) + 1))
    header[124:136] = b"%011o\0" % size
    header[156:157] = kind
    header[257:265] = b"ustar\x0000"
    _sum(header, 0)
    body = bytes(header) + records + bytes(-len(records) % BLOCK)
    tar = draw.choice(real_tars())
    times = draw.choice((1, 1, 1, 2))
    place = draw.choice((0, BLOCK * draw.randrange(len(tar) // BLOCK)))
    return packed(tar[:place] + body * times + tar[place:], draw)


def _record(draw: Draw) -> bytes:
    key = draw.choice(("path", "path", "linkpath", "size", "mtime", "comment", "GNU.sparse.map"))
    value = draw.choice((*NASTY_PATHS, "kernels/fine.json", "1", "", "9" * 50))
    body = f" {key}={value}\n".encode("utf-8", "surrogatepass")
    right = len(body) + len(str(len(body)))
    length = draw.choice((right, right, right + 1, right - 1, 0, 10**30, right + 1000))
    return str(length).encode() + body


def _odd_members(draw: Draw) -> bytes:
    """An archive by `tarfile`, with members that are no plain files, or of nasty names."""
    files = {"kernels/a.json": b"{}"}
    raw = io.BytesIO()
    style = draw.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=raw, mode="w", format=style, errors="surrogatepass") as archive:
        for _ in range(draw.randint(1, 4)):
            name = draw.choice((*NASTY_PATHS, "kernels/a.json", "kernels/b.json"))
            member = tarfile.TarInfo(name)
            member.type = draw.choice(
                (b"0", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"\0")
            )
            member.linkname = draw.choice(("", "/etc/passwd", "../../x", "kernels/a.json"))
            content = draw.randbytes(draw.choice((0, 5, 600)))
            member.size = len(content)
            files[name] = content
            try:
                archive.addfile(member, io.BytesIO(content))
            except (ValueError, UnicodeError):
                continue
        manifest = _manifest_over(files, draw)
        member = tarfile.TarInfo(MANIFEST)
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return packed(raw.getvalue(), draw)


def _manifest_over(files: dict[str, bytes], draw: Draw) -> bytes:
    """A manifest that names every file with its right digest, so that only names can be refused."""
    kept = {name: content for name, content in files.items() if name.isprintable()}
    raw = write_manifest(HEADER, kept)
    return raw if draw.random() < 0.8 else mutated(raw, draw)


def _bent_manifest(draw: Draw) -> bytes:
    """A real bundle whose manifest says something else, in the right kind of tar."""
    with tarfile.open(fileobj=io.BytesIO(draw.choice(real_tars()))) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }
    document = json.loads(files[MANIFEST])
    for _ in range(draw.randint(1, 3)):
        _bend(document, draw)
    text = json.dumps(document)
    if draw.random() < 0.3:
        text = draw.choice(
            (
                text.replace("{", '{"suite": "other",', 1),
                text + " ",
                text + "{}",
                "[" * draw.choice((50, 500, 50_000)) + text,
                text.replace("1", "1e400", 1),
                text.replace("1", "NaN", 1),
                text.replace("1", "9" * 6000, 1),
                text.replace('"', '"\\ud800', 1),
                "\ufeff" + text,
            )
        )
    files[MANIFEST] = text.encode("utf-8", "surrogatepass")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed(raw.getvalue(), draw)


_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**53, 2**64, -(2**70), "", "x" * 500, "../x", [], {}, [[]],
    {"path": "x"}, "18446744073709551615", "18446744073709551616", "007", "a" * 64, "A" * 64,
)  # fmt: skip


def _bend(document: dict[str, Any], draw: Draw) -> None:
    name = draw.choice((*document, "surprise"))
    match draw.randrange(4):
        case 0:
            document[name] = copy.deepcopy(draw.choice(_VALUES))
        case 1:
            document.pop(name, None)
        case _:
            files = document.get("files")
            if not isinstance(files, list) or not files or not isinstance(files[0], dict):
                document["files"] = copy.deepcopy(draw.choice(_VALUES))
                return
            one = draw.choice(files)
            if isinstance(one, dict):
                field = draw.choice(("path", "sha256", "size", "surprise"))
                one[field] = copy.deepcopy(draw.choice((*_VALUES, *NASTY_PATHS)))
            if draw.random() < 0.2:
                files.append(draw.choice(files))


def _odd_gzip(draw: Draw) -> bytes:
    """The gzip layer itself: several members, extra fields, wrong sums, tails and bombs."""
    tar = draw.choice(real_tars())
    raw = gzip.compress(tar, 1, mtime=0)
    match draw.randrange(9):
        case 0:
            return raw + raw
        case 1:
            return raw + draw.randbytes(draw.randint(1, 20))
        case 2:
            flags = draw.randrange(256)
            return raw[:3] + bytes([flags]) + draw.randbytes(8) + raw[4:]
        case 3:
            return raw[:-8] + draw.randbytes(8)
        case 4:
            return raw[: draw.randrange(len(raw))]
        case 5:
            return zlib.compress(tar)
        case 6:
            half = len(tar) // 2
            return gzip.compress(tar[:half]) + gzip.compress(tar[half:])
        case 7 if draw.random() < 0.05:
            return bomb(draw.choice((9, 20, 40)))
        case _:
            return raw[:10] + mutated(raw[10:], draw)


@functools.cache
def bomb(mebibytes: int) -> bytes:
    """Zeros: a thousandth of what they unpack to."""
    return gzip.compress(bytes(mebibytes * 2**20), 9, mtime=0)


_KINDS: Sequence[Callable[[Draw], bytes]] = (
    _raw,
    _bent_file,
    _bent_file,
    _bent_tar,
    _bent_tar,
    _bent_headers,
    _bent_headers,
    _pax,
    _pax,
    _odd_members,
    _odd_members,
    _bent_manifest,
    _bent_manifest,
    _odd_gzip,
)
