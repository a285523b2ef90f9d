"""Collects kernels from test files and explores each as one test.

What one item does is in `items`, and how a kernel is executed belongs to `toron.testing`. Every
pytest of an environment that has Toron loads this package: it imports nothing else until a kernel
is collected.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toron.pytest_plugin.items import LEARNED, MARK, KernelItem
from toron.pytest_plugin.settings import HELP, check_configuration, token_of

if TYPE_CHECKING:
    from toron.search.references import Token


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--toron-…` and the defaults that a project's configuration may give them."""
    group = parser.getgroup("toron", "deterministic simulation (toron)")
    for name in HELP:
        option = f"--toron-{name.replace('_', '-')}"
        group.addoption(option, default=None, metavar=name.upper(), help=HELP[name])
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
        check_configuration(config)
        token_of(config)


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise pytest.UsageError(f"toron: {error}") from error


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> pytest.Item | list[pytest.Item] | None:
    """A kernel that is declared in this very file becomes an item; all else is left to others.

    It comes first: plugins that drive coroutines would run a kernel as a plain one.
    """
    if not inspect.isfunction(obj) or MARK not in vars(obj):
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
        learned = self._config.stash.get(LEARNED, [])
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
