"""`toron trace`: what one run did, as text, as a page, for Perfetto or for a program."""

from __future__ import annotations

import argparse
import json
import re
import sys
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
from toron.search.strategies import DEFAULT_STRATEGY
from toron.search.traces.events import Story
from toron.search.traces.formats import FORMATS, SUFFIXES, Format, check_format, lines_of
from toron.search.traces.model import story_of
from toron.search.traces.text import Window
from toron.testing import execute, told

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
    verb.set_defaults(strategy=None)  # so that one beside a token is noticed


def _trace(options: argparse.Namespace) -> int:
    form = check_format(options.format, of_two=options.against is not None)
    _check_together(options, form)
    story = _story(options)
    against = told(options.against) if options.against is not None else None
    lines = lines_of(story, form, against=against, window=_window(options, story))
    path = _path(options, form, story)
    content = "".join(line + "\n" for line in lines)
    if path is not None:
        _write(path, content)
    _report(options, form, story, path, content)
    shown = [story] if against is None else [story, against]
    for one in shown:
        if one.differs:
            print(f"toron: {one.differs}", file=sys.stderr)
    if not all(one.events for one in shown):
        return INCONCLUSIVE
    return NONDETERMINISM if any(one.is_unstable for one in shown) else HOLDS


def _check_together(options: argparse.Namespace, form: Format) -> None:
    """BadKernel for an option that would do nothing beside the others."""
    if _is_token(options.kernel):
        for flag in ("seed", "chaos_seed", "strategy"):
            if getattr(options, flag) is not None:
                name = flag.replace("_", "-")
                raise BadKernel(f"--{name} goes with FILE.py::NAME; a token has its own")
    for flag in ("around", "last"):
        if getattr(options, flag) is not None and (form != "text" or options.against is not None):
            raise BadKernel(f"--{flag} goes with --format text and one run")
    if options.last is not None and options.last < 1:
        raise BadKernel(f"--last {options.last} must be at least 1")
    around = options.around
    if around is not None and around != "failure" and not around.isdecimal():
        raise BadKernel(f"--around {around!r} must be `failure` or the number of an event")


def _is_token(text: str) -> bool:
    return "::" not in text and not text.endswith(".py")


def _story(options: argparse.Namespace) -> Story:
    """The run that is asked for, by its token or by a kernel and its seeds."""
    if _is_token(options.kernel):
        return told(options.kernel)
    reference, _ = reference_of(options, asks_for_seeds=False)
    execution = execute(
        reference,
        seed=seed_of(options.seed, "SIM_SEED", "--seed"),
        chaos_seed=chaos_seed_of(options),
        strategy=options.strategy or DEFAULT_STRATEGY,
        level="events",
    )
    return story_of(execution)


def _window(options: argparse.Namespace, story: Story) -> Window:
    if options.around is None:
        return Window(last=options.last)
    if options.around == "failure":
        return Window(around=story.focus)
    last = story.events[-1].number if story.events else 0
    if not 1 <= int(options.around) <= last:
        raise BadKernel(f"--around {options.around}: the events of this run are 1 to {last}")
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
