"""The disk of a runner: where an attempt works, and how what it leaves reaches everybody.

What a stage leaves goes into the blob store before its result is recorded, so a result never names
a file that is not there; a runner that takes an attempt over fetches what earlier stages left.
"""

import hashlib
import mimetypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from testops.domain.errors import BadInput
from testops.domain.execution import Artifact, Taken
from testops.runner.files import make_folder
from testops.runner.worker_ports import Place

_TYPES = {
    ".sarif": "application/sarif+json",
    ".json": "application/json",
    ".xml": "application/xml",
    ".html": "text/html",
    ".txt": "text/plain",
    ".gz": "application/gzip",
}


class Blobs(Protocol):
    """Contents by their digest."""

    def put(self, path: Path) -> str: ...
    def fetch(self, sha256: str, target: Path) -> None: ...


# The folder of a workspace on this machine; `BadInput` when there is none.
RootOf = Callable[[Taken], Path]
# The baselines of a run, on this disk.
BaselinesFor = Callable[[Taken, Place, str], Path | None]
# What an attempt left so far.
LeftBy = Callable[[str, int], Sequence[Artifact]]


class LocalPlaces:
    """`runner.worker_ports.Places` in the data folder of this machine."""

    def __init__(
        self,
        data: Path,
        blobs: Blobs,
        root_of: RootOf,
        left_by: LeftBy,
        baselines_for: BaselinesFor,
    ) -> None:
        self._data = data
        self._blobs = blobs
        self._root_of = root_of
        self._left_by = left_by
        self._baselines_for = baselines_for

    def prepare(self, taken: Taken) -> Place:
        """The project on this disk, with what earlier stages of the attempt left."""
        run = taken.run
        root = self._root_of(taken)
        if not root.is_dir():
            raise BadInput(
                f"workspace {run.workspace} is not on this machine (looked for {root})",
                where="workspace",
                fix="run it where the folder is, or upload it as an archive",
            )
        output = make_folder(self._data / "runs" / run.run_id / str(run.attempt))
        for left in self._left_by(run.run_id, run.attempt):
            target = output / left.path
            if not target.is_file() or _sha256(target) != left.sha256:
                make_folder(target.parent)
                self._blobs.fetch(left.sha256, target)
        return Place(root, output)

    def keep(self, place: Place, left: Sequence[Path]) -> Sequence[Artifact]:
        """Put files into the shared store."""
        return [self._artifact(place, path) for path in left]

    def _artifact(self, place: Place, path: Path) -> Artifact:
        # The process of the stage named it, and may have named a link, or a path with dots in it:
        # nobody gets to read what the runner can read, and a take-over writes where it says.
        real, output = path.resolve(), place.output.resolve()
        in_output = real.is_relative_to(output)
        if not in_output and not self._is_of_project(real, place.root.resolve()):
            raise BadInput(
                "is neither in the project nor in the output of the run",
                where=str(path),
                fix="leave a file, and no link to one elsewhere",
            )
        sha256 = self._blobs.put(real)
        shown = str(real.relative_to(output)) if in_output else path.name
        return Artifact(shown, sha256, real.stat().st_size, media_type_of(path))

    def _is_of_project(self, real: Path, root: Path) -> bool:
        """Our own data may lie in a project, and a copy of a project in our data."""
        data = self._data.resolve()
        ours = real.is_relative_to(data) and not root.is_relative_to(data)
        return real.is_relative_to(root) and not ours

    def baselines(self, taken: Taken, place: Place, identity: str) -> Path | None:
        """What the bundle is to be compared with; None where the project's own folder says it."""
        return self._baselines_for(taken, place, identity)

    def keep_chunk(self, path: Path) -> str:
        """Put the executions of a chunk into the shared store; their digest."""
        return self._blobs.put(path)

    def fetch_chunk(self, sha256: str, place: Place) -> Path:
        """The executions of a chunk, on this disk."""
        target = make_folder(place.output / "chunks") / f"{sha256}.json.gz"
        if not target.is_file():
            self._blobs.fetch(sha256, target)
        return target


def media_type_of(path: Path) -> str:
    """What a browser is told that a file is."""
    known = _TYPES.get(path.suffix)
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
