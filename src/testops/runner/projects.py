"""Where a project begins on the disk, and where its suites, snapshots and reports are in it."""

from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput


@dataclass(frozen=True, slots=True)
class Project:
    """The folder that holds `suites/`; every path of a suite is relative to it.

    `output` is where snapshots and reports go; without one they stay in the project. Runs of one
    project that each have an output of their own may go on at once: they write nothing else.
    """

    root: Path
    output: Path | None = None

    @property
    def suites(self) -> Path:
        return self.root / "suites"

    @property
    def profiles(self) -> Path:
        return self.root / "profiles"

    @property
    def snapshots(self) -> Path:
        return (self.output or self.root) / "snapshots"

    @property
    def reports(self) -> Path:
        return (self.output or self.root) / "reports"

    def shown(self, path: Path) -> str:
        """`path` as a person in the project's folder, or in the run's output, would write it."""
        places = [folder for folder in (self.output, self.root) if folder is not None]
        # The inner one first: either may lie inside the other.
        for folder in sorted(places, key=lambda place: -len(place.parts)):
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return str(path)

    def inside(self, relative: str, *, where: str, pointer: str | None = None) -> Path:
        """The absolute path of a suite's `relative` one; one that leaves the project is refused."""
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise BadInput(
                f"{relative!r} leaves the project",
                where=where,
                fix="give a path inside it",
                pointer=pointer,
            )
        return self.root / relative


def project_around(folder: Path) -> Project:
    """The project of `folder`: the nearest folder upwards with `suites/`, or else `folder`."""
    folder = folder.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / "suites").is_dir():
            return Project(candidate)
    return Project(folder)


def project_of(suite_file: Path, *, working_folder: Path) -> Project:
    """The project of a suite given as a file: around its `suites/`, or around where we stand.

    A suite outside any `suites/` is somebody's experiment with the project they stand in.
    """
    folder = suite_file.resolve().parent
    return Project(folder.parent) if folder.name == "suites" else project_around(working_folder)
