"""Gives a reader its inputs and watches what it does: `python -m tests.fuzz.attack bundle ...`.

Run it in a process of its own: it takes its memory, its time and its files away from itself, and
hears of every file that is opened for writing, made, moved or linked (an audit hook, so also what
a library does). What it may touch is the folder that it is given. What goes wrong is told with the
number of the input, which is all that is needed to have it again.
"""

import argparse
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import resource
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz import bundles, certificates

from testops.domain.errors import BadInput
from testops.snapshots import read_bundle, unpack_bundle
from testops.snapshots.bundle import Bundle
from testops.snapshots.manifest import MANIFEST
from testops.snapshots.opening import open_bundle
from testops.warroom.certificate import read_certificate
from testops.warroom.certificate_envelope import Unproven
from testops.warroom.certificate_keys import NoKey, public_key

# Python, our code and a bundle of the fuzzer; a bomb that got through would need far more.
MEMORY_BYTES_MAX = 700 * 2**20
INPUT_S_MAX = 5.0
FINDINGS_MAX = 20
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = frozenset(
    {
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.symlink",
        "os.link",
        "os.chmod",
        "os.truncate",
        "os.chown",
        "os.utime",
        "shutil.rmtree",
    }
)


class Outside(AssertionError):
    """Something was written where the reader has no business."""


class Watch:
    """Raises at every change of a file outside of `folder`, while it is on."""

    def __init__(self, folder: Path) -> None:
        self._inside = f"{folder}{os.sep}"
        self._own = str(folder)
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and not isinstance(path, int):
                self._require_inside(path, event)
        elif event in _CHANGES:
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike):
                    self._require_inside(path, event)
        elif event in ("subprocess.Popen", "os.system", "os.exec", "socket.connect"):
            raise Outside(f"{event} {arguments[0]!r}")

    def _require_inside(self, path: Any, event: str) -> None:
        real = os.path.realpath(os.fsdecode(path))
        # The names inside of a folder that is being removed are relative to its descriptor.
        if "/" in os.fsdecode(path) and not f"{real}{os.sep}".startswith(self._inside):
            raise Outside(f"{event} of {real}")


@dataclass
class Told:
    """What became of the inputs."""

    inputs: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    slowest: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "accepted": self.accepted,
            "different_refusals": len(self.refusals),
            "slowest_s": round(self.slowest_s, 3),
            "slowest": self.slowest,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "findings": self.findings,
        }


def main() -> int:
    """Attack one reader with the inputs FIRST to FIRST+COUNT-1 of a seed; 1 when it gave in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=["bundle", "certificate"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    bundles.real_bundles()
    folder = asked.folder.resolve()
    one = BundleAttack(folder) if asked.reader == "bundle" else certificate_attack
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**29, 2**29))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    told = attack(one, asked.seed, range(asked.first, asked.first + asked.count))
    sys.stdout.write(json.dumps(told.to_json()) + "\n")
    return 1 if told.findings else 0


def attack(one: Callable[[random.Random], str], seed: int, numbers: range) -> Told:
    """What `one` made of each input; it answers with its refusal, or "" when it accepted."""
    told = Told()
    for number in numbers:
        began = time.process_time()
        try:
            refusal = one(random.Random(f"{seed}-{number}"))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            told.findings.append(f"input {number}: {type(error).__name__}: {str(error)[:300]}")
            if len(told.findings) >= FINDINGS_MAX:
                break
            continue
        took_s = time.process_time() - began
        told.inputs += 1
        told.accepted += not refusal
        told.refusals[refusal[:40]] += 1
        if took_s > told.slowest_s:
            told.slowest_s, told.slowest = took_s, number
        if took_s > INPUT_S_MAX:
            told.findings.append(f"input {number}: took {took_s:.1f} s")
    return told


class BundleAttack:
    """Reads and unpacks each input, and looks at every file around."""

    def __init__(self, folder: Path) -> None:
        self._input = folder / "in" / "bundle.tar.gz"
        self._target = folder / "out" / "target"
        self._folder = folder
        self._input.parent.mkdir(parents=True)
        self._target.parent.mkdir(parents=True)
        self._watch = Watch(self._target.parent)

    def __call__(self, draw: random.Random) -> str:
        raw = bundles.bundle_input(draw)
        self._input.write_bytes(raw)
        self._watch.on = True
        try:
            bundle = read_bundle(self._input)
            unpack_bundle(self._input, self._target)
        except BadInput as error:
            self._watch.on = False
            self._require_tree(None)
            self._require_opened_alike(error.problem)
            return error.problem
        finally:
            self._watch.on = False
        self._require_tree(bundle)
        self._require_opened_alike(bundle)
        require_read_alike(raw, bundle)
        return ""

    def _require_opened_alike(self, read: Bundle | str) -> None:
        """What does not hold a bundle refuses the same, or finds the same."""
        try:
            opened: Bundle | str = open_bundle(self._input)
        except BadInput as error:
            opened = error.problem
        if isinstance(opened, str) or isinstance(read, str):
            if opened != read:
                raise AssertionError(f"read: {read}; opened: {opened}")
            return
        if (opened.identity, dict(opened.files)) != (read.identity, dict(read.files)):
            raise AssertionError(f"{opened.origin} is opened as another bundle than it is read")

    def _require_tree(self, bundle: Bundle | None) -> None:
        """Nothing is there but the input, and what the last accepted bundle holds."""
        found = {}
        for parent, folders, names in os.walk(self._folder):
            for name in (*folders, *names):
                path = Path(parent, name)
                if path.is_symlink():
                    raise Outside(f"{path} is a link")
                if path.is_file():
                    found[path.relative_to(self._folder).as_posix()] = path
        inside = {name: path for name, path in found.items() if name.startswith("out/target/")}
        around = set(found) - set(inside) - {"in/bundle.tar.gz", "out/.target.testops-lock"}
        if around:
            raise Outside(f"{sorted(around)} was written")
        if bundle is None:
            return
        wanted = {f"out/target/{name}" for name in (*bundle.files, MANIFEST)}
        if set(inside) != wanted:
            raise Outside(f"{sorted(set(inside) ^ wanted)} differ from what was read")
        for name, content in bundle.files.items():
            if inside[f"out/target/{name}"].read_bytes() != content:
                raise AssertionError(f"{name} was unpacked with another content")


def require_read_alike(raw: bytes, bundle: Bundle) -> None:
    """What we believe is what the reader of the standard library sees: nothing hides in between."""
    seen: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
        for member in archive.getmembers():
            if not member.isreg():
                raise AssertionError(f"tarfile sees {member.name!r} of type {member.type!r}")
            content = archive.extractfile(member)
            assert content is not None
            seen[member.name] = hashlib.sha256(content.read()).hexdigest()
    seen.pop(MANIFEST, None)
    own = {name: hashlib.sha256(raw).hexdigest() for name, raw in bundle.files.items()}
    if seen != own:
        raise AssertionError(f"tarfile sees {sorted(set(seen) ^ set(own))[:3]} otherwise")


def certificate_attack(draw: random.Random) -> str:
    """Reads a certificate, shows what it believed, and reads a key."""
    from testops.cli.certificates import shown

    raw, is_signed = certificates.certificate_input(draw)
    with contextlib.suppress(NoKey):
        public_key(certificates.key_input(draw))
    try:
        found = read_certificate(raw, [certificates.KEY.public])
    except Unproven as error:
        return str(error)
    if not is_signed:
        raise AssertionError("a certificate was believed that nobody signed")
    text = shown(found, None, None)
    if any(not letter.isprintable() for line in text.split("\n") for letter in line):
        raise AssertionError("a terminal would do what the certificate says")
    return ""


if __name__ == "__main__":
    sys.exit(main())
