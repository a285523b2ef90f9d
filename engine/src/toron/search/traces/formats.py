"""Writes a run in the format that is asked for: text, NDJSON, Perfetto's JSON, or a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal, get_args

from toron.errors import BadKernel
from toron.search.traces.diff import difference
from toron.search.traces.events import Story
from toron.search.traces.html import page_of
from toron.search.traces.ndjson import ndjson_of
from toron.search.traces.perfetto import perfetto_of
from toron.search.traces.text import Window, diff_text_of, text_of

Format = Literal["text", "html", "perfetto", "ndjson"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {
    "text": "txt",
    "html": "html",
    "perfetto": "perfetto.json",
    "ndjson": "ndjson",
}
OF_TWO: tuple[Format, ...] = ("text", "html")
"""The formats that can show two runs."""


def check_format(name: str, *, of_two: bool = False) -> Format:
    """``name`` as a format; BadKernel lists those that there are."""
    known = next((one for one in FORMATS if one == name), None)
    if known is None:
        raise BadKernel(f"there is no format {name!r}; formats are {', '.join(FORMATS)}")
    if of_two and known not in OF_TWO:
        raise BadKernel(f"{name} cannot show two runs; {' and '.join(OF_TWO)} can")
    return known


def lines_of(
    story: Story, form: Format, *, against: Story | None = None, window: Window | None = None
) -> Iterator[str]:
    """The run (beside ``against``) as lines of text, without their ends."""
    if against is not None:
        check_format(form, of_two=True)
    if form == "html":
        yield from page_of(story, against).split("\n")
    elif form == "perfetto":
        yield json.dumps(perfetto_of(story), separators=(",", ":"))
    elif form == "ndjson":
        yield from ndjson_of(story)
    elif against is not None:
        yield from diff_text_of(story, against, difference(story, against))
    else:
        yield from text_of(story, window)
