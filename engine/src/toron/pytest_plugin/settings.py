"""Decides how a kernel is explored, from the command line, marks and the project's configuration.

Who asks the loudest is heard; a value that is no value is a ValueError with its name, and what
becomes of it is said by who asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from toron.search.references import Token

HELP = {
    "seeds": "seeds of each kernel: A:B (half-open), or how many from 0",
    "chaos_seed": "the faults: a seed; else the environment's CHAOS_SEED",
    "strategy": "how schedules are chosen, as in `toron explore --strategy`",
    "jobs": "processes at a time for one kernel (default 1; see also xdist's -n)",
}
"""Every setting: each is an option, a line of the configuration, and an argument of the mark."""
SEEDS_DEFAULT = 100
"""What `@toron.kernel` without ``seeds`` has; a configuration may say otherwise for those."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a kernel is explored."""

    seeds: range | None = None
    """None: as many as the kernel asks for."""
    chaos_seed: int = 0
    strategy: str = "portfolio"
    jobs: int = 1


def check_configuration(config: pytest.Config) -> None:
    """ValueError for a bad option or line of the configuration.

    The environment is looked at with the first kernel: in a project without any, CHAOS_SEED may be
    somebody else's.
    """
    written = {name: config.getini(f"toron_{name}") for name in HELP}
    _checked({**written, **_options(config)})


def settings_of(
    config: pytest.Config, marks: Iterable[pytest.Mark], seeds_asked: int | None = None
) -> Settings:
    """The settings of one kernel; ``marks`` are given outermost first. ValueError names the fault.

    The command line has the last word, then the environment (CHAOS_SEED), then the closest mark,
    then what the kernel itself asks for, then the configuration.
    """
    given = {name: config.getini(f"toron_{name}") for name in HELP}
    given["seeds"] = seeds_asked or given["seeds"]
    for mark in marks:
        if mark.args or set(mark.kwargs) - set(HELP):
            raise ValueError(
                f"@pytest.mark.toron takes {', '.join(HELP)} by name, not "
                f"{[*mark.args, *mark.kwargs]}"
            )
        given.update(mark.kwargs)
    given["chaos_seed"] = os.environ.get("CHAOS_SEED") or given["chaos_seed"]
    return _checked({**given, **_options(config)})


def _options(config: pytest.Config) -> dict[str, Any]:
    """What the command line says."""
    given = {name: config.getoption(f"toron_{name}") for name in HELP}
    return {name: value for name, value in given.items() if value is not None}


def _checked(given: dict[str, Any]) -> Settings:
    jobs = _seed(given["jobs"] if given["jobs"] != "" else 1, "jobs")
    if jobs < 1:
        raise ValueError(f"jobs {jobs} must be at least 1")
    return Settings(
        seeds=_seeds(given["seeds"]),
        chaos_seed=_seed(given["chaos_seed"] or 0, "chaos_seed"),
        strategy=_strategy(given["strategy"]),
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


def _strategy(name: str) -> str:
    """A strategy that there is; the default is not looked up, for sessions without kernels."""
    if not name:
        return Settings().strategy
    from toron.errors import BadKernel
    from toron.search.strategies import check_strategy

    try:
        return check_strategy(name, explores=True)
    except BadKernel as error:
        raise ValueError(str(error)) from error


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
