"""Collects kernels from test files and explores each as one test.

An item is a kernel; its seeds are explored in worker processes, so that one failing test prints the
causes of all its failing seeds, and the command that replays each. How a kernel is executed belongs
to `testing`. Every pytest of an environment that has Toron loads this module: it imports nothing
else until a kernel is collected.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from toron.search.explore import Cluster, Exploration
    from toron.search.outcome import Outcome
    from toron.search.references import KernelRef, Token

_MARK = "__toron_kernel__"
"""`toron.search.references.MARK`, which is not imported for projects without kernels."""
_SEEDS_DEFAULT = 100
"""What `@toron.kernel` without ``seeds`` has; a configuration may say otherwise for those."""
_LEARNED = pytest.StashKey[list[str]]()
"""What an interrupted exploration has to say, for the end of the session."""
_CAUSES_SHOWN = 5
_SEEDS_SHOWN = 8
_SETTINGS = ("seeds", "chaos_seed", "strategy", "jobs")
_HELP = {
    "seeds": "seeds of each kernel: A:B (half-open), or how many from 0",
    "chaos_seed": "the faults: a seed; else the environment's CHAOS_SEED",
    "strategy": "how schedules are chosen, as in `toron explore --strategy`",
    "jobs": "processes at a time for one kernel (default 1; see also xdist's -n)",
}


# Declaring options, markers and the summary


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--toron-…` and the defaults that a project's configuration may give them."""
    group = parser.getgroup("toron", "deterministic simulation (toron)")
    for name in _SETTINGS:
        option = f"--toron-{name.replace('_', '-')}"
        group.addoption(option, default=None, metavar=name.upper(), help=_HELP[name])
        parser.addini(f"toron_{name}", f"default of {option}", default="")
    group.addoption(
        "--toron-replay",
        default=None,
        metavar="TOKEN",
        help="execute only what TOKEN stands for; all other tests are deselected",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse bad options before anything is collected."""
    config.addinivalue_line(
        "markers",
        "toron(seeds=N or 'A:B', chaos_seed=N, strategy=NAME, jobs=N): how a kernel is explored; "
        "every kernel has it, so `-m toron` selects them",
    )
    config.pluginmanager.register(_Tally(config), "toron-tally")
    with _usage_errors():
        settings_of(config, [])
        token_of(config)


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise pytest.UsageError(f"toron: {error}") from error


@dataclass(frozen=True, slots=True)
class Settings:
    """How kernels are explored; None where the kernel, or Toron, decides."""

    seeds: range | None = None
    chaos_seed: int = 0
    strategy: str | None = None
    jobs: int = 1


def settings_of(
    config: pytest.Config, marks: Iterable[pytest.Mark], seeds_asked: int | None = None
) -> Settings:
    """The settings of one kernel; ``marks`` are given outermost first. ValueError names the fault.

    The command line has the last word, then the environment (CHAOS_SEED), then the closest mark,
    then what the kernel itself asks for, then the configuration.
    """
    given: dict[str, Any] = {name: config.getini(f"toron_{name}") for name in _SETTINGS}
    given["seeds"] = seeds_asked or given["seeds"]
    for mark in marks:
        if mark.args or set(mark.kwargs) - set(_SETTINGS):
            raise ValueError(
                f"@pytest.mark.toron takes {', '.join(_SETTINGS)} by name, not "
                f"{[*mark.args, *mark.kwargs]}"
            )
        given.update(mark.kwargs)
    given["chaos_seed"] = os.environ.get("CHAOS_SEED") or given["chaos_seed"]
    for name in _SETTINGS:
        option = config.getoption(f"toron_{name}")
        given[name] = given[name] if option is None else option
    jobs = _seed(given["jobs"] if given["jobs"] != "" else 1, "jobs")
    if jobs < 1:
        raise ValueError(f"jobs {jobs} must be at least 1")
    return Settings(
        seeds=_seeds(given["seeds"]),
        chaos_seed=_seed(given["chaos_seed"] or 0, "chaos_seed"),
        strategy=given["strategy"] or None,
        jobs=jobs,
    )


def _seed(value: Any, name: str) -> int:
    try:
        seed = int(value)
    except (TypeError, ValueError):
        seed = -1
    if not 0 <= seed < 2**64:
        raise ValueError(f"{name} {value!r} must be a whole number from 0 to 2^64-1")
    return seed


def _seeds(value: Any) -> range | None:
    """``A:B``, or how many from 0 on; None when nothing is asked for."""
    if value in ("", None):
        return None
    first, colon, last = str(value).partition(":")
    begin, end = (first or 0, last) if colon else (0, first)
    seeds = range(_seed(begin, "seeds"), _seed(end, "seeds"))
    if not seeds:
        raise ValueError(f"seeds {value!r} are none; write A:B with A below B, or how many")
    return seeds


def token_of(config: pytest.Config) -> Token | None:
    """The token to replay; ValueError when it is damaged."""
    text = config.getoption("toron_replay")
    if text is None:
        return None
    from toron.errors import BadKernel
    from toron.search.references import Token

    try:
        return Token.decode(text)
    except BadKernel as error:
        raise ValueError(f"--toron-replay: {error}") from error


# Collecting


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> pytest.Item | list[pytest.Item] | None:
    """A kernel that is declared in this very file becomes an item; all else is left to others.

    It comes first: plugins that drive coroutines would run a kernel as a plain one.
    """
    if not inspect.isfunction(obj) or _MARK not in vars(obj):
        return None
    if getattr(obj, "__test__", True) is False:
        return []
    if not isinstance(collector, pytest.Module):
        raise collector.CollectError(
            f"kernel {obj.__qualname__} stands in a class; kernels stand at the top of a file"
        )
    if obj.__module__ != collector.obj.__name__:
        return []  # imported to be used; it is collected where it is declared
    if obj.__name__ != name:
        return []
    _refuse_fixtures(collector, obj)
    return KernelItem.from_parent(collector, name=name, function=obj)


def _refuse_fixtures(collector: pytest.Module, function: Any) -> None:
    what = f"{collector.path.name}:{function.__code__.co_firstlineno} kernel {function.__name__}"
    for parameter in list(inspect.signature(function).parameters.values())[:1]:
        is_world = parameter.name == "world" or "World" in str(parameter.annotation)
        if not is_world and parameter.default is parameter.empty:
            raise collector.CollectError(
                f"{what} takes {parameter.name!r}; a kernel takes the world (call it `world`) or "
                "nothing, and no fixtures: it runs in a process of its own"
            )
    for mark in getattr(function, "pytestmark", []):
        # anyio's own plugin marks every coroutine function that it sees.
        if mark.name == "parametrize" or (
            mark.name == "usefixtures" and mark.args != ("anyio_backend",)
        ):
            raise collector.CollectError(
                f"{what} is marked {mark.name}; a kernel gets no fixtures and no parameters: let "
                "it draw (world.choose, world.draw), or write one kernel for each case"
            )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--toron-replay`, only the kernel of the token is left."""
    token = token_of(config)
    if token is None:
        return
    path = Path(config.invocation_params.dir, token.file).resolve()
    kept, rest = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        is_wanted = (
            isinstance(item, KernelItem) and item.name == token.name and item.path.resolve() == path
        )
        (kept if is_wanted else rest).append(item)
    # A process of xdist must not stop by itself; the one that started it says what is missing.
    if not kept and not hasattr(config, "workerinput"):
        raise pytest.UsageError(_not_collected(token))
    config.hook.pytest_deselected(items=rest)
    items[:] = kept


def _not_collected(token: Token) -> str:
    return (
        f"toron: --toron-replay is of {token.file}::{token.name}, which is not among the collected "
        "kernels; replay in the folder where the token was made, and name that file"
    )


class KernelFailed(Exception):
    """A kernel did not pass: `headline` in one line, and the whole story as the message."""

    def __init__(self, headline: str, story: Sequence[str]) -> None:
        super().__init__("\n".join([headline, *story]))
        self.headline = headline


class KernelItem(pytest.Item):
    """One kernel: all its seeds, or the one execution of a token."""

    def __init__(self, *, function: Any, **more: Any) -> None:
        super().__init__(**more)
        self.obj = self.function = function
        self.own_markers.extend(getattr(function, "pytestmark", []))
        self.own_markers.append(pytest.mark.toron.mark)
        self.keywords.update({mark.name: mark for mark in self.own_markers})
        asked = getattr(function, _MARK).seeds
        marks = list(self.iter_markers("toron"))[::-1]
        try:
            self.settings = settings_of(
                self.config, marks, None if asked == _SEEDS_DEFAULT else asked
            )
        except ValueError as error:
            raise pytest.Collector.CollectError(f"kernel {self.name}: {error}") from error
        self.seeds = self.settings.seeds or range(asked)

    @property
    def module(self) -> Any:
        """The test file, as other plugins ask for it."""
        return self.parent.obj  # type: ignore[union-attr]

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the kernel stands."""
        return self.path, self.obj.__code__.co_firstlineno - 1, self.name

    def runtest(self) -> None:
        """Explore, or replay; raises KernelFailed."""
        from toron.search.references import KernelRef

        reference = KernelRef(self.path.resolve(), self.name)
        token = self.config.getoption("toron_replay")
        with contextlib.chdir(self.config.invocation_params.dir), self._import_paths():
            if token is not None:
                self._replay(reference, token)
            else:
                self._explore(reference)

    @contextlib.contextmanager
    def _import_paths(self) -> Iterator[None]:
        """Let the worker find what this pytest finds: conftest.py and `pythonpath` add folders."""
        before = os.environ.get("PYTHONPATH")
        more = self._added_paths()
        if more:
            os.environ["PYTHONPATH"] = os.pathsep.join([*more, *filter(None, [before])])
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("PYTHONPATH", None)
            else:
                os.environ["PYTHONPATH"] = before

    def _added_paths(self) -> list[str]:
        """Folders of the project on this import path where a worker would not look."""
        from toron.search.references import project_root

        root, known = self.config.rootpath.resolve(), _fresh_paths()
        paths = [Path(entry).resolve() for entry in sys.path if entry and entry not in known]
        found = {
            str(path): None
            for path in paths
            if path.is_relative_to(root)
            and path.is_dir()
            and path != project_root(self.path.resolve())
            and not path.is_relative_to(sys.prefix)
        }
        return list(found)

    def _note(self, name: str, value: object) -> None:
        self.user_properties.append((f"toron_{name}", str(value)))

    def _replay(self, reference: KernelRef, token: str) -> None:
        from toron.testing import ReplayDiffers, replay

        story: list[str] = []
        try:
            outcome = replay(token)
        except ReplayDiffers as differs:
            if not differs.code_changed:
                raise KernelFailed(f"NONDETERMINISM: {differs}", _why(differs.outcome)) from None
            outcome = differs.outcome
            story = [f"note: {differs}"]
            self.add_report_section("call", "toron", str(differs))
        self._note("replay", outcome.token)
        if not outcome.ok:
            raise KernelFailed(
                _headline(outcome),
                [*story, *_why(outcome), *self._replay_lines(reference, outcome.token)],
            )

    def _explore(self, reference: KernelRef) -> None:
        from toron.testing import explore

        settings, seeds = self.settings, self.seeds
        more = {} if settings.strategy is None else {"strategy": settings.strategy}
        exploration = explore(
            reference, seeds=seeds, chaos_seed=settings.chaos_seed, jobs=settings.jobs, **more
        )
        self._note("seeds", f"{seeds.start}:{seeds.stop}")
        self._note("chaos_seed", settings.chaos_seed)
        self._note("seeds_run", exploration.seeds_run)
        self._note("seconds", f"{exploration.elapsed_s:.3f}")
        self._note("failing_seeds", len(exploration.failing_seeds))
        for cluster in exploration.failures:
            self._note("replay", cluster.outcome.token)
        for name, counts in exploration.properties.items():
            if counts["never_reached"]:
                self._note("never_reached", f"{counts['kind']} {name}")
        self._judge(reference, exploration)

    def _judge(self, reference: KernelRef, exploration: Exploration) -> None:
        story = [
            line
            for number, cluster in enumerate(exploration.failures[:_CAUSES_SHOWN], 1)
            for line in self._cause(reference, number, cluster, confirm=not exploration.interrupted)
        ]
        left_out = len(exploration.failures) - _CAUSES_SHOWN
        if left_out > 0:
            story += ["", f"{left_out} further causes: toron explore {reference} shows them all"]
        if exploration.interrupted:
            learned = [f"{self.nodeid}: interrupted after {exploration.seeds_run} seeds", *story]
            self.config.stash[_LEARNED] = learned
            raise KeyboardInterrupt
        if exploration.failures:
            worst = min(exploration.failures, key=lambda one: one.outcome.verdict != "fail")
            failing, unclear = len(exploration.failing_seeds), len(exploration.inconclusive_seeds)
            headline = f"{_headline(worst.outcome)} ({failing} of {exploration.seeds_run} seeds"
            headline += f" fail, {unclear} inconclusive)" if unclear else " fail)"
            raise KernelFailed(headline, story)

    def _cause(
        self, reference: KernelRef, number: int, cluster: Cluster, *, confirm: bool
    ) -> list[str]:
        outcome, count = cluster.outcome, len(cluster.seeds)
        seeds = ", ".join(map(str, cluster.seeds[:_SEEDS_SHOWN]))
        more = " …" if count > _SEEDS_SHOWN else ""
        lines = ["", f"#{number}  {count} {'seed' if count == 1 else 'seeds'}: {seeds}{more}"]
        lines += _why(outcome)
        if confirm and not outcome.was_cut_short:
            lines += _doubts(outcome, reference)
        return lines + self._replay_lines(reference, outcome.token)

    def _replay_lines(self, reference: KernelRef, token: str) -> list[str]:
        paths = [os.path.relpath(path) for path in self._added_paths()]
        prefix = f"PYTHONPATH={os.pathsep.join(paths)} " if paths else ""
        return [
            f"    replay: {prefix}toron replay {token}",
            f"    or:     pytest {reference} --toron-replay {token}",
        ]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """The story alone: no line of Toron's own is of use to who reads it."""
        from toron.errors import ToronError

        error = excinfo.value
        if not isinstance(error, KernelFailed | ToronError):
            return super().repr_failure(excinfo)
        shown: Any = excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            headline = error.headline if isinstance(error, KernelFailed) else str(error)
            shown.reprcrash.message = headline
            shown.reprcrash.path = str(self.path)
            shown.reprcrash.lineno = self.obj.__code__.co_firstlineno
        return shown


@functools.lru_cache(maxsize=1)
def _fresh_paths() -> frozenset[str]:
    """Where a worker looks for modules by itself."""
    command = [sys.executable, "-P", "-c", "import sys; print('\\n'.join(sys.path))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.splitlines())


# Words


def _headline(outcome: Outcome) -> str:
    failure = outcome.failure
    assert failure is not None
    [first, *_] = failure.message.splitlines() or [""]
    mark = "INCONCLUSIVE, " if outcome.verdict == "inconclusive" else ""
    return f"{mark}{failure.kind}: {first}"


def _why(outcome: Outcome) -> list[str]:
    """What failed, when and where, with the line of the program."""
    failure = outcome.failure
    if failure is None:
        return [f"    now: {outcome.verdict}, digest {outcome.trace_digest[:16]}"]
    at = f"{failure.virtual_ns / 1_000_000_000:.6f} virtual s"
    lines = [f"    {failure.kind} at {at} (seed {outcome.sim_seed}, chaos {outcome.chaos_seed})"]
    lines += [f"    {line}" for line in failure.message.splitlines()]
    if failure.where:
        lines.append(f"    {failure.where}")
        lines += _source_line(failure.where)
    lines += [f"    fault: {line}" for line in outcome.faults]
    return lines


def _source_line(where: str) -> list[str]:
    """The line that a place ``file:line in function`` means, if it is a file of this project."""
    file, _, rest = where.partition(":")
    number = rest.split(" ", 1)[0]
    text = linecache.getline(file, int(number)) if number.isdigit() else ""
    return [f"  >   {text.strip()}"] if text.strip() else []


def _doubts(outcome: Outcome, reference: KernelRef) -> list[str]:
    """Execute a failure once more, in another process: what does not come back is said to."""
    from toron.testing import ReplayDiffers, replay

    try:
        replay(outcome.token)
    except ReplayDiffers as differs:
        seed = outcome.sim_seed
        return [
            f"    NONDETERMINISM: {differs}",
            f"    find the line: toron verify {reference} --seeds {seed}:{seed + 1} "
            f"--chaos-seed {outcome.chaos_seed}",
        ]
    return []


class _Tally:
    """Counts what the kernels of a session did, also those that xdist ran elsewhere."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.kernels = self.seeds = self.failing = self.calls = 0
        self.seconds = 0.0
        self.never_reached: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one kernel."""
        noted: dict[str, list[str]] = {}
        for name, value in report.user_properties:
            noted.setdefault(name, []).append(str(value))
        self.calls += report.when == "call"
        if report.when != "call" or "toron_seeds_run" not in noted:
            return
        self.kernels += 1
        self.seeds += int(noted["toron_seeds_run"][0])
        self.seconds += float(noted["toron_seconds"][0])
        self.failing += report.failed
        self.never_reached += [
            f"{report.nodeid}  {name}" for name in noted.get("toron_never_reached", [])
        ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """One line, and one for each property that no seed has reached."""
        token = token_of(self._config)
        if token is not None and not self.calls and self._config.getoption("numprocesses", None):
            terminalreporter.write_line(_not_collected(token))
        learned = self._config.stash.get(_LEARNED, [])
        if learned:
            terminalreporter.write_sep("=", "toron")
            for line in learned:
                terminalreporter.write_line(line)
        if not self.kernels:
            return
        rate = self.seeds / self.seconds if self.seconds else 0.0
        kernels = "1 kernel" if self.kernels == 1 else f"{self.kernels} kernels"
        terminalreporter.write_sep("=", "toron")
        terminalreporter.write_line(
            f"{kernels}, {self.seeds} seeds, {self.failing} failing, {rate:.1f} seeds/s"
        )
        for line in self.never_reached:
            terminalreporter.write_line(f"never reached: {line}")
