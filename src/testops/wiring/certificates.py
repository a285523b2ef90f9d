"""Certificates on this machine: where the signing key is, and the files of a run and of a bundle.

The key is a file of the data directory, drawn once and never overwritten, or the file that
`TESTOPS_SIGNING_KEY` names. Several machines on one PostgreSQL must be given the same one: a key
that each had drawn itself would make certificates that only its own public key verifies.
"""

import importlib.metadata
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput
from testops.runner.certifying import Made, NotProven, certified, file_sha256, results_sha256
from testops.runner.files import make_folder, not_writable, write_new
from testops.runner.projects import project_around
from testops.runner.record_lookup import run_folder
from testops.runner.records import RunStore
from testops.snapshots import read_bundle
from testops.snapshots.canonical import parse
from testops.snapshots.refusal import Refusal
from testops.warroom.certificate import Certificate, bundle_file, read_certificate
from testops.warroom.certificate_envelope import ENVELOPE_BYTES_MAX, Unproven
from testops.warroom.certificate_keys import (
    KEY_BYTES_MAX,
    NoKey,
    PublicKey,
    SigningKey,
    draw_private_pem,
    public_key,
    signing_key,
)

KEY_FILE = "certificate.key"
KEY_VARIABLE = "TESTOPS_SIGNING_KEY"
_RESULTS_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptKey:
    """The signing key, where it is, and whether it was drawn just now."""

    key: SigningKey
    path: Path
    drawn: bool


def kept_key(data: Path, environment: Mapping[str, str], *, may_draw: bool) -> KeptKey:
    """The key that signs here; drawn where there is none and `may_draw`, else `BadInput`."""
    named = environment.get(KEY_VARIABLE)
    if named:
        return KeptKey(_read_signing(Path(named), KEY_VARIABLE), Path(named), drawn=False)
    path = data / KEY_FILE
    drawn = False
    if not path.exists():
        if not may_draw:
            raise BadInput(
                "there is no key to sign with",
                where=str(path),
                fix=f"make one: testops certificate key (or name a file in {KEY_VARIABLE})",
            )
        drawn = _draw(path)
    _require_private(path)
    return KeptKey(_read_signing(path, str(path)), path, drawn)


def _draw(path: Path) -> bool:
    """A new key at `path`; whoever comes second takes the first one's."""
    # Nobody else looks into this folder, so the key is never anybody else's to read.
    make_folder(path.parent).chmod(0o700)
    ignored = path.parent / ".gitignore"
    if not ignored.exists():
        # It may lie in a project, and a key that was committed is everybody's.
        write_new(ignored, b"*\n")
    # Nobody's but ours from its first byte on, and at `path` only once it is whole.
    descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(draw_private_pem())
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _require_private(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(
            "others than its owner may read or write this signing key",
            where=str(path),
            fix=f"chmod 600 {path} (and move it away for a new one, if somebody did)",
        )


def _read_signing(path: Path, where: str) -> SigningKey:
    try:
        return signing_key(_bytes_of(path, where, KEY_BYTES_MAX))
    except NoKey as error:
        raise BadInput(
            f"{path.name} {error}",
            where=where,
            fix="give an Ed25519 private key in PEM: openssl genpkey -algorithm ed25519",
        ) from error


def _bytes_of(path: Path, where: str, bytes_max: int) -> bytes:
    """At most one byte more than `bytes_max`: whoever reads on sees that it is too large."""
    try:
        # A pipe will do: `--key <(...)`. What never ends is read no further than the limit.
        if not path.exists() or path.is_dir():
            raise BadInput(f"there is no file {path}", where=where, fix="name an existing file")
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        raise BadInput(
            f"cannot be read ({error.strerror or error})",
            where=where,
            fix="name a file that you may read",
        ) from error


def create(run: str, *, folder: Path, data: Path, environment: Mapping[str, str]) -> Made:
    """The certificate of the newest attempt of `run`, an id of this project's or its beginning.

    `BadInput` when there is no such run or no key, `NotProven` when there is nothing to certify.
    """
    project = project_around(folder)
    run_id = run_folder(project, run).name
    record = RunStore(project).latest(run_id)
    if record is None:
        raise NotProven(f"the record of run {run_id} is damaged")
    if record.get("run_id") != run_id:
        raise NotProven(f"the record of run {run_id} is of another run")
    kept = kept_key(data, environment, may_draw=False)
    bundle = project.snapshots / bundle_file(run_id)
    return certified(record, bundle, kept.key, testops=testops_version())


def testops_version() -> str:
    """The version of this program."""
    return importlib.metadata.version("ryuzen-testops")


def read_public(path: Path) -> PublicKey:
    """The public key in a file; `BadInput` says what is in it instead."""
    try:
        return public_key(_bytes_of(path, "--key", KEY_BYTES_MAX))
    except NoKey as error:
        raise BadInput(
            f"{path} {error}",
            where="--key",
            fix="give the public key, which `testops certificate key` printed",
        ) from error


def verify(path: Path, keys: list[PublicKey]) -> Certificate:
    """The certificate in the file (`-`: standard input); `Unproven` says why it is not believed."""
    if str(path) == "-":
        raw = sys.stdin.buffer.read(ENVELOPE_BYTES_MAX + 1)
    else:
        raw = _bytes_of(path, "FILE", ENVELOPE_BYTES_MAX)
    return read_certificate(raw, keys)


def require_bundle(certificate: Certificate, path: Path) -> None:
    """`Unproven` unless the bundle at `path` is, byte for byte, the one that was certified."""
    if certificate.bundle_identity is None:
        raise Unproven("it is of a run that left no bundle, so this one is of another run")
    if not path.exists():
        raise BadInput(f"there is no bundle {path}", where="--bundle", fix="name an existing one")
    if path.is_file() and file_sha256(path) != certificate.bundle_sha256:
        raise Unproven(f"{path} is not the bundle that it certifies: its bytes differ")
    try:
        identity = read_bundle(path).identity
    except BadInput as error:
        raise Unproven(f"{path} is not the bundle that it certifies: {error.problem}") from error
    if identity != certificate.bundle_identity:
        raise Unproven(f"{path} is not the bundle that it certifies: its content differs")


def require_results(certificate: Certificate, path: Path) -> None:
    """`Unproven` unless the run JSON in the file has the certified stages and gates."""
    try:
        run = parse(_bytes_of(path, "--results", _RESULTS_BYTES_MAX))
        same = isinstance(run, dict) and results_sha256(run) == certificate.subjects["results"]
    except Refusal as refusal:
        raise Unproven(f"{path} does not hold its results: {refusal.problem}") from refusal
    except KeyError as error:
        raise Unproven(f"{path} does not hold its results: it has no {error}") from error
    if not same:
        raise Unproven(f"{path} does not hold the results that it certifies")


def data_of(folder: Path, environment: Mapping[str, str], data: Path | None) -> Path:
    """The data directory that was asked for, else the environment's, else the project's."""
    given = data or environment.get("TESTOPS_DATA")
    root = Path(given) if given else project_around(folder).root / ".testops"
    return Path(os.path.abspath(folder / root))  # noqa: PTH100 - resolve() would follow links
