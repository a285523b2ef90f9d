"""Bundles for tests, made the way the product makes them."""

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testops.snapshots import BundleHeader, execution_files, write_bundle

NO_MASKS_VERSION = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


@dataclass(frozen=True)
class FakeExecution:
    kernel: str
    sim_seed: int
    chaos_seed: int
    outcome: Mapping[str, Any]
    identical: bool = True
    first_divergence: Mapping[str, Any] | None = None


@dataclass
class Recipe:
    """A bundle to be; all of its executions have one outcome."""

    outputs: Any = field(default_factory=lambda: {"balances": {"alice": 100, "bob": 50}})
    kernels: Sequence[str] = ("ledger",)
    seeds: Sequence[int] = (7,)
    digest: str = "a" * 64
    verdict: str = "pass"
    failure: Any = None
    trace: Any = None
    properties: Any = field(default_factory=dict)
    suite: str = "regression_core"
    profile: str = "offline"
    engine: str = "toron-v2.5H+.1"
    python: str = "3.11"
    source: str | None = None
    steps: int = 10

    def executions(self) -> list[FakeExecution]:
        return [
            FakeExecution(kernel, seed, 3, self.outcome())
            for kernel in self.kernels
            for seed in self.seeds
        ]

    def outcome(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "trace_digest": self.digest,
            "outputs": self.outputs,
            "properties": self.properties,
            "failure": self.failure,
            "steps": self.steps,
            "virtual_ns": 1_000,
            "token": "never stored",
            "faults": [],
            "python": self.python,
            **({"trace": self.trace} if self.trace else {}),
        }

    def header(self) -> BundleHeader:
        return BundleHeader(
            suite=self.suite,
            profile=self.profile,
            sim_seed=self.seeds[0] if self.seeds else 0,
            chaos_seed=3,
            engine_version=self.engine,
            python=self.python,
            masks_version=NO_MASKS_VERSION,
        )

    def files(self) -> dict[str, bytes]:
        sources = dict.fromkeys(self.kernels, self.source) if self.source else None
        return execution_files(self.executions(), sources=sources)

    def write(self, path: Path) -> Path:
        write_bundle(path, self.header(), self.files())
        return path


def repack(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A tar.gz made by the standard library, with whatever members a hostile one would have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content) if info.isreg() else info.size
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    return path


def members_of(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What the standard library finds in a bundle."""
    with tarfile.open(path) as tar:
        found = []
        for info in tar.getmembers():
            file = tar.extractfile(info)
            assert file is not None
            found.append((info, file.read()))
        return found


def plain(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)
