"""`toron trace`: what one run did, as text, as a page, for Perfetto or for a program."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toron.cli.codes import HOLDS, INCONCLUSIVE, NONDETERMINISM
from toron.cli.options import (
    SEED_HELP,
    add_strategy,
    add_verb,
    chaos_seed_of,
    reference_of,
    seed_of,
)
from toron.errors import BadKernel
from toron.search.traces.events import Story
from toron.search.traces.formats import FORMATS, SUFFIXES, Format, check_format, lines_of
from toron.search.traces.model import story_of
from toron.search.traces.text import Window
from toron.testing import ReplayDiffers, execute, replayed

_TO_A_FILE: tuple[Format, ...] = ("html", "perfetto")
"""Formats that nobody reads on a terminal: they get a file of their own unless told otherwise."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def add(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "trace", _trace, "show what one run did, event by event")
    verb.add_argument("kernel", metavar="TOKEN|FILE.py::NAME", help="a run by its token or seeds")
    verb.add_argument("--format", default="text", metavar="|".join(FORMATS), help="default: text")
    verb.add_argument("--output", metavar="FILE", help="where to write it; - is standard output")
    verb.add_argument("--against", metavar="TOKEN", help="another run, to see where they differ")
    verb.add_argument(
        "--around", metavar="failure|NUMBER", help="text: only the events around this one"
    )
    verb.add_argument("--last", type=int, metavar="N", help="text: only the last N events")
    verb.add_argument("--seed", help="without a token: " + SEED_HELP.format(variable="SIM_SEED"))
    verb.add_argument(
        "--chaos-seed", help="without a token: " + SEED_HELP.format(variable="CHAOS_SEED")
    )
    add_strategy(verb)


@dataclass(frozen=True, slots=True)
class _Told:
    """A run, and whether it is another than the token stands for although the code is the same."""

    story: Story
    is_unstable: bool = False


def _trace(options: argparse.Namespace) -> int:
    form = check_format(options.format, of_two=options.against is not None)
    told = _told(options)
    other = _told_of_token(options.against) if options.against is not None else None
    against = other.story if other is not None else None
    window = _window(options, told.story)
    lines = lines_of(told.story, form, against=against, window=window)
    path = _path(options, form, told.story)
    content = "".join(line + "\n" for line in lines)
    if path is not None:
        _write(path, content)
    _report(options, form, told.story, path, content)
    for one in (told, other):
        if one is not None and one.story.differs:
            print(f"toron: {one.story.differs}", file=sys.stderr)
    if not told.story.events:
        return INCONCLUSIVE
    return NONDETERMINISM if told.is_unstable or (other and other.is_unstable) else HOLDS


def _told(options: argparse.Namespace) -> _Told:
    """The run that is asked for, by its token or by a kernel and its seeds."""
    if "::" not in options.kernel and not options.kernel.endswith(".py"):
        for flag in ("seed", "chaos_seed"):
            if getattr(options, flag) is not None:
                name = flag.replace("_", "-")
                raise BadKernel(f"--{name} goes with FILE.py::NAME; a token has its own")
        return _told_of_token(options.kernel)
    reference, _ = reference_of(options, asks_for_seeds=False)
    execution = execute(
        reference,
        seed=seed_of(options.seed, "SIM_SEED", "--seed"),
        chaos_seed=chaos_seed_of(options),
        strategy=options.strategy,
        level="events",
    )
    return _Told(story_of(execution))


def _told_of_token(token: str) -> _Told:
    try:
        return _Told(story_of(replayed(token, level="events")))
    except ReplayDiffers as differs:
        story = story_of(differs.execution, differs=str(differs))
        return _Told(story, is_unstable=not differs.code_changed)


def _window(options: argparse.Namespace, story: Story) -> Window:
    if options.last is not None and options.last < 1:
        raise BadKernel(f"--last {options.last} must be at least 1")
    if options.around is None:
        return Window(last=options.last)
    if options.around == "failure":
        return Window(around=story.focus)
    if not options.around.isdecimal():
        raise BadKernel(f"--around {options.around!r} must be `failure` or the number of an event")
    return Window(around=int(options.around))


# Where it goes


def _path(options: argparse.Namespace, form: Format, story: Story) -> Path | None:
    """The file to write; None: standard output."""
    if options.output is not None:
        return None if options.output == "-" else Path(options.output)
    if form not in _TO_A_FILE:
        return None
    kernel = _NOT_IN_A_NAME.sub("-", story.outcome.kernel)
    against = "-against" if options.against is not None else ""
    return Path(f"trace-{kernel}-{story.outcome.sim_seed}{against}.{SUFFIXES[form]}")


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BadKernel(
            f"--output {path}: {error.strerror}; name a file that can be written"
        ) from (error)


def _report(
    options: argparse.Namespace, form: Format, story: Story, path: Path | None, content: str
) -> None:
    if options.json:
        report = {
            "format": form,
            "output": None if path is None else str(path),
            "events": story.count,
            "events_missing": story.missing,
            "focus": story.focus,
            "differs": story.differs or None,
            "outcome": story.outcome.to_json(),
            "trace": content if path is None else None,
        }
        print(json.dumps(report))
    elif path is None:
        sys.stdout.write(content)
    else:
        print(f"{path}  {story.count:,} events, {len(content) / 1e6:.1f} MB")
