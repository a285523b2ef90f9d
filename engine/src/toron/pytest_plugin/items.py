"""One kernel as one test: it is explored in worker processes, or one execution of it is replayed.

A test that fails prints the causes of all its failing seeds, and the commands that replay them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toron.pytest_plugin.settings import SEEDS_DEFAULT, settings_of
from toron.pytest_plugin.story import headline_of, why

if TYPE_CHECKING:
    from toron.search.clusters import Cluster
    from toron.search.explore import Exploration
    from toron.search.outcome import Execution, Outcome
    from toron.search.references import KernelRef

MARK = "__toron_kernel__"
"""`toron.search.references.MARK`, which is not imported for projects without kernels."""
LEARNED = pytest.StashKey[list[str]]()
"""What an interrupted exploration has to say, for the end of the session."""
_CAUSES_SHOWN = 5
_SEEDS_SHOWN = 8


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
        asked = getattr(function, MARK).seeds
        marks = list(self.iter_markers("toron"))[::-1]
        try:
            self.settings = settings_of(
                self.config, marks, None if asked == SEEDS_DEFAULT else asked
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
        from toron.testing import ReplayDiffers, replayed

        story: list[str] = []
        try:
            execution = replayed(token)
        except ReplayDiffers as differs:
            execution = differs.execution
            if not differs.code_changed:
                raise KernelFailed(f"NONDETERMINISM: {differs}", why(differs.outcome)) from None
            story = [f"note: {differs}"]
            self.add_report_section("call", "toron", str(differs))
        outcome = execution.outcome
        self._note("replay", outcome.token)
        self._print(execution)
        if not outcome.ok:
            raise KernelFailed(
                headline_of(outcome),
                [*story, *why(outcome), *self._replay_lines(reference, outcome.token)],
            )

    def _print(self, execution: Execution) -> None:
        """What the program printed, as a section of the report; the worker has kept it."""
        if execution.stderr:
            seed = execution.outcome.sim_seed
            self.add_report_section("call", f"output of seed {seed}", execution.stderr)

    def _explore(self, reference: KernelRef) -> None:
        from toron.testing import explore

        settings, seeds = self.settings, self.seeds
        exploration = explore(
            reference,
            seeds=seeds,
            chaos_seed=settings.chaos_seed,
            jobs=settings.jobs,
            strategy=settings.strategy,
        )
        self._note("seeds", f"{seeds.start}:{seeds.stop}")
        self._note("chaos_seed", settings.chaos_seed)
        self._note("seeds_run", exploration.seeds_run)
        self._note("seconds", f"{exploration.elapsed_s:.3f}")
        self._note("failing_seeds", len(exploration.failing_seeds))
        if exploration.bound is not None:
            self._note("bound", exploration.bound)
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
        if story:
            story += ["", "`toron explain`, `toron shrink` and `toron trace` take the same token"]
        left_out = len(exploration.failures) - _CAUSES_SHOWN
        if left_out > 0:
            story += ["", f"{left_out} further causes: toron explore {reference} shows them all"]
        if exploration.interrupted:
            learned = [f"{self.nodeid}: interrupted after {exploration.seeds_run} seeds", *story]
            self.config.stash[LEARNED] = learned
            raise KeyboardInterrupt
        if exploration.failures:
            worst = min(exploration.failures, key=lambda one: one.outcome.verdict != "fail")
            failing, unclear = len(exploration.failing_seeds), len(exploration.inconclusive_seeds)
            headline = f"{headline_of(worst.outcome)} ({failing} of {exploration.seeds_run} seeds"
            headline += f" fail, {unclear} inconclusive)" if unclear else " fail)"
            raise KernelFailed(headline, story)
        if exploration.learned_nothing:
            runs = exploration.seeds_run
            raise KernelFailed(f"INCONCLUSIVE, all {runs} runs were rejected (world.assume)", [])

    def _cause(
        self, reference: KernelRef, number: int, cluster: Cluster, *, confirm: bool
    ) -> list[str]:
        outcome, count = cluster.outcome, len(cluster.seeds)
        seeds = ", ".join(map(str, cluster.seeds[:_SEEDS_SHOWN]))
        more = " …" if count > _SEEDS_SHOWN else ""
        lines = ["", f"#{number}  {count} {'seed' if count == 1 else 'seeds'}: {seeds}{more}"]
        lines += why(outcome)
        if confirm and not outcome.was_cut_short:
            lines += self._doubts(outcome, reference)
        return lines + self._replay_lines(reference, outcome.token)

    def _doubts(self, outcome: Outcome, reference: KernelRef) -> list[str]:
        """Execute a failure once more, in another process, and say so if it does not come back."""
        from toron.testing import ReplayDiffers, replayed

        try:
            self._print(replayed(outcome.token))
        except ReplayDiffers as differs:
            seed, strategy = outcome.sim_seed, outcome.strategy
            return [
                f"    NONDETERMINISM: {differs}",
                f"    find the line: toron verify {reference} --seeds {seed}:{seed + 1} "
                f"--chaos-seed {outcome.chaos_seed} --strategy {strategy}",
            ]
        return []

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
