"""From a path to the bundle that is meant: a bundle, an unpacked one, or a folder of either.

A folder of baselines is searched by the key of what is compared with it. Finding nothing is an
answer (the comparison is inconclusive); finding two that contradict is the caller's to solve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testops.domain.errors import BadInput
from testops.snapshots.bundle import SUFFIX, Bundle, bundles_below
from testops.snapshots.memory import Memory
from testops.snapshots.opening import open_bundle

_DEPTH_MAX = 4
_CANDIDATES_MAX = 2000
RUN_COMMAND = "python sim/run_suite.py --profile offline --suite regression_core"


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """Why no bundle of a folder can be compared with, and the command that changes it."""

    reason: str
    fix: str


def bundles_at(path: Path, memory: Memory | None = None) -> list[Bundle]:
    """Every bundle at `path`, each content once; empty for a folder without any."""
    found: dict[str, Bundle] = {}
    for count, place in enumerate(bundles_below(path, depth_max=_DEPTH_MAX)):
        if count >= _CANDIDATES_MAX:
            raise BadInput(
                f"holds more than {_CANDIDATES_MAX} bundles",
                where=str(path),
                fix="name the bundle that you mean",
            )
        bundle = open_bundle(place, memory)
        found.setdefault(bundle.identity, bundle)
    return list(found.values())


def target_at(path: Path, *, base: Sequence[Bundle], memory: Memory | None = None) -> Bundle:
    """The one bundle at `path`; of several, the one whose key the base has."""
    if not path.exists():
        is_file = path.name.endswith(SUFFIX)
        raise BadInput(
            "there is no such bundle" if is_file else "there is no such folder",
            where=str(path),
            fix=f"make one with `{RUN_COMMAND}`",
        )
    bundles = bundles_at(path, memory)
    if not bundles:
        raise BadInput("holds no bundle", where=str(path), fix=f"make one with `{RUN_COMMAND}`")
    keys = {bundle.header.key for bundle in base}
    wanted = [bundle for bundle in bundles if bundle.header.key in keys]
    return _only(wanted if wanted and len(bundles) > 1 else bundles, path)


def _only(bundles: Sequence[Bundle], path: Path) -> Bundle:
    if len(bundles) > 1:
        names = ", ".join(str(bundle.origin) for bundle in bundles[:4])
        more = f" and {len(bundles) - 4} more" if len(bundles) > 4 else ""
        raise BadInput(
            f"holds {len(bundles)} different bundles that fit ({names}{more})",
            where=str(path),
            fix="name the one that you mean",
        )
    return bundles[0]


def base_candidates(path: Path, memory: Memory | None = None) -> list[Bundle] | NoBaseline:
    """What could be compared with; a folder that nobody has made yet holds no baseline."""
    if not path.exists() and not path.name.endswith(SUFFIX):
        return NoBaseline(f"{path} does not exist, so it holds no approved baseline", _approve())
    bundles = bundles_at(path, memory)
    return bundles or NoBaseline(f"{path} holds no approved baseline", _approve())


def pick_base(candidates: Sequence[Bundle], target: Bundle, path: Path) -> Bundle | NoBaseline:
    """The baseline for `target`: its own key, else the same behaviour under another Python."""
    wanted = target.header.key
    same_suite = [
        bundle
        for bundle in candidates
        if (bundle.header.suite, bundle.header.profile) == (wanted.suite, wanted.profile)
    ]
    if not same_suite:
        return NoBaseline(
            f"{path} holds no baseline of suite {wanted.suite}, profile {wanted.profile}",
            _approve(target),
        )
    same_engine = [
        bundle for bundle in same_suite if bundle.header.engine_version == wanted.engine_version
    ]
    if not same_engine:
        versions = ", ".join(sorted({bundle.header.engine_version for bundle in same_suite}))
        return NoBaseline(
            f"the target was made by engine {wanted.engine_version}, and the baseline by "
            f"{versions}: a new engine minor needs a baseline refresh",
            _approve(target, why="baseline refresh"),
        )
    distances = {
        bundle.origin: _python_distance(bundle.header.python, wanted.python)
        for bundle in same_engine
    }
    nearest = min(distances.values())
    return _only([item for item in same_engine if distances[item.origin] == nearest], path)


def _python_distance(python: str, wanted: str) -> tuple[int, int]:
    """How far a Python minor is away; of two at the same distance the older one is nearer."""
    (major, minor), (wanted_major, wanted_minor) = _minor(python), _minor(wanted)
    step = (major - wanted_major) * 100 + minor - wanted_minor
    return abs(step), int(step > 0)


def _minor(python: str) -> tuple[int, int]:
    major, _, minor = python.partition(".")
    return int(major), int(minor)


def approve_command(bundle: Path | str, *, why: str = "REASON") -> str:
    """What a person types to make `bundle` the baseline."""
    return f"testops snapshot approve {bundle} --why '{why}'"


def _approve(target: Bundle | None = None, *, why: str = "REASON") -> str:
    source = target.origin if target is not None else "BUNDLE"
    return f"review the run, then `{approve_command(source, why=why)}`"
