"""Executions that wait on the disk: a simulation divided among runners, and put together again.

A chunk file is gzip over lines of JSON, the first about whose executions they are. Putting together
is strict: an execution that is missing, there twice, or of another question is an error, because a
smaller result would look like a better one.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import InternalError
from testops.runner.files import write_atomically
from testops.runner.ports import Execution, Simulator
from testops.runner.stage_jobs import ChunkFile
from testops.runner.suites import ResolvedKernel
from testops.snapshots.canonical import storable
from testops.snapshots.gzip_layer import compress, decompress
from testops.snapshots.limits import MIB, Limits
from testops.snapshots.refusal import Refusal

SCHEMA = 1
SUFFIX = ".json.gz"
# A bundle may hold 256 MiB; the same executions as plain lines, and their traces, need more.
_LIMITS = Limits(file_bytes_max=512 * MIB, tar_bytes_max=2048 * MIB, ratio_max=1100)
_DIGEST_NAME = re.compile(r"[0-9a-f]{64}\.json\.gz", re.ASCII)


@dataclass(frozen=True, slots=True)
class Recorded:
    """`runner.ports.Execution`, read back."""

    kernel: str
    sim_seed: int
    chaos_seed: int
    outcome: Mapping[str, Any]
    identical: bool
    first_divergence: Mapping[str, Any] | None
    wall_s: float


@dataclass(frozen=True, slots=True)
class Whose:
    """What executions of one simulation have in common."""

    run_id: str
    engine_version: str
    chaos_seed: int

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "run_id": self.run_id,
            "engine_version": self.engine_version,
            "chaos_seed": self.chaos_seed,
        }


def write_chunk(folder: Path, whose: Whose, executions: Sequence[Execution]) -> ChunkFile:
    """The executions in a file that is named by its digest."""
    bodies = [whose.to_json(), *map(_body, executions)]
    # Keys stay in their order: what is read back must be what was written, reports included.
    lines = (json.dumps(body, separators=(",", ":")) for body in bodies)
    packed = compress("\n".join(lines).encode("ascii"))
    sha256 = hashlib.sha256(packed).hexdigest()
    path = folder / f"{sha256}{SUFFIX}"
    write_atomically(path, packed)
    return ChunkFile(path, sha256, len(executions))


def _body(execution: Execution) -> dict[str, Any]:
    # json.dumps would spell a key that is no string as one; a bundle refuses it, and so do we.
    storable(execution.outcome)
    assert math.isfinite(execution.wall_s)
    return {
        "kernel": execution.kernel,
        "sim_seed": execution.sim_seed,
        "chaos_seed": execution.chaos_seed,
        "outcome": execution.outcome,
        "identical": execution.identical,
        "first_divergence": execution.first_divergence,
        "wall_s": execution.wall_s,
    }


def read_chunk(path: Path, whose: Whose) -> list[Recorded]:
    """The executions of a chunk file; `InternalError` when it is damaged or another's."""
    try:
        packed = path.read_bytes()
        named = _DIGEST_NAME.fullmatch(path.name)
        if named and not path.name.startswith(hashlib.sha256(packed).hexdigest()):
            raise Refusal("its content is not what its name says")
        with path.open("rb") as file:
            raw = b"".join(decompress(file, limits=_LIMITS))
        head, *bodies = [json.loads(line) for line in raw.split(b"\n")]
        executions = [Recorded(**body) for body in bodies]
    except (OSError, Refusal, ValueError, TypeError) as error:
        raise InternalError(f"the chunk {path.name} cannot be read: {error}") from error
    if head != whose.to_json():
        raise InternalError(f"the chunk {path.name} is of another run: {head}, not {whose}")
    return executions


class RecordedSimulator:
    """`runner.ports.Simulator` that answers from chunk files, for exactly what they hold."""

    def __init__(self, real: Simulator, run_id: str, paths: Sequence[Path]) -> None:
        self._real = real
        self._run_id = run_id
        self._paths = paths

    @property
    def engine_version(self) -> str:
        return self._real.engine_version

    def kernels_in(self, path: Path) -> Sequence[str]:
        return self._real.kernels_in(path)

    def simulate(
        self,
        kernels: Sequence[ResolvedKernel],
        *,
        sim_seeds: Sequence[int],
        chaos_seed: int,
        jobs: int,
        wall_limit_s: float,
    ) -> Iterator[Execution]:
        """Every kernel under every seed, in that order."""
        del jobs, wall_limit_s  # They were kept when it was executed.
        whose = Whose(self._run_id, self.engine_version, chaos_seed)
        wanted = [(kernel.name, seed) for kernel in kernels for seed in sim_seeds]
        held = self._held(whose, set(wanted))
        missing = [key for key in wanted if key not in held]
        if missing:
            kernel, seed = missing[0]
            raise InternalError(
                f"{len(missing)} of {len(wanted)} executions are in no chunk"
                f" (first: {kernel} at seed {seed})"
            )
        for key in wanted:
            yield held.pop(key)

    def _held(self, whose: Whose, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], Recorded]:
        held: dict[tuple[str, int], Recorded] = {}
        for path in self._paths:
            for one in read_chunk(path, whose):
                key = (one.kernel, one.sim_seed)
                if key not in wanted or one.chaos_seed != whose.chaos_seed:
                    raise InternalError(f"{one.kernel} at seed {one.sim_seed} was never asked for")
                if key in held:
                    raise InternalError(f"{one.kernel} at seed {one.sim_seed} is there twice")
                held[key] = one
        return held
