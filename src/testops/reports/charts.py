"""Charts as inline SVG: lines with a band, steps, spans and margins. What they mean is a page's.

Every chart has a title and a description for those who do not see it; the numbers stand in a table
beside it. Colours are classes of the style sheet, so that a chart follows light, dark and paper,
and nothing is told by colour alone: a threshold is dashed, a change is a diamond, a run that did
not pass is hollow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from testops.reports.page_text import number, one_line

WIDTH, HEIGHT = 400, 176
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 24
_TICKS = 4
_TEXT_LENGTH_MAX = 400


class Svg:
    """Markup of ours, which templates take as it is."""

    __slots__ = ("_markup",)

    def __init__(self, markup: str) -> None:
        self._markup = markup

    def __html__(self) -> str:
        return self._markup

    __str__ = __html__


@dataclass(frozen=True, slots=True)
class Point:
    """One value at `x`; None where nothing was measured, which breaks the line."""

    x: float
    y: float | None
    title: str = ""
    href: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together; `css` is one of `a`, `b`, `c` in the style sheet."""

    name: str
    points: Sequence[Point]
    css: str = "a"
    dots: bool = False
    step: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at `x`: something changed there."""

    x: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that is drawn. `x_labels` are the ticks of the x axis: where, and what it says."""

    title: str
    description: str
    lines: Sequence[Line]
    unit: str = ""
    band: tuple[float, float] | None = None
    threshold: float | None = None
    marks: Sequence[Mark] = ()
    x_labels: Sequence[tuple[float, str]] = ()
    from_zero: bool = False


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(self.begin + min(max(part, 0.0), 1.0) * (self.end - self.begin), 1)


def draw(chart: Chart, name: str) -> Svg:
    """The chart; `name` is unique on its page."""
    xs = [point.x for line in chart.lines for point in line.points]
    ys = [point.y for line in chart.lines for point in line.points if point.y is not None]
    if not ys:
        return Svg('<p class="none">Not measured.</p>')
    ticks = _ticks(*_reach(chart, ys))
    across = _scale(min(xs), max(xs), _LEFT + 8, WIDTH - _RIGHT - 8)
    up = _scale(ticks[0], ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(ticks, up, chart.unit), _x_labels(chart.x_labels, across)]
    parts += _behind(chart, up)
    parts += [_mark(mark, across) for mark in chart.marks]
    parts += [_line(line, across, up) for line in chart.lines]
    # Inside an image nobody can follow a link.
    role = "group" if any(p.href for line in chart.lines for p in line.points) else "img"
    return Svg(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="{role}" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{_said(chart.title)}</title>'
        f'<desc id="{name}-d">{_said(chart.description)}</desc>{"".join(parts)}</svg>'
    )


def _said(text: str) -> str:
    """Text of anybody's, inside markup of ours."""
    return escape(one_line(text, _TEXT_LENGTH_MAX), quote=True)


def _scale(low: float, high: float, begin: float, end: float) -> _Scale:
    if high > low:
        return _Scale(low, high, begin, end)
    # One value alone stands in the middle.
    return _Scale(low - 1, low + 1, begin, end)


def _reach(chart: Chart, ys: Sequence[float]) -> tuple[float, float]:
    told = [*ys, *(chart.band or ())]
    low, high = min(told), max(told)
    if chart.threshold is not None:
        low, high = min(low, chart.threshold), max(high, chart.threshold)
    return (min(low, 0.0), high) if chart.from_zero else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around what is shown (Heckbert, Graphics Gems, 1990)."""
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _grid(ticks: Sequence[float], up: _Scale, unit: str) -> str:
    lines = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{up.at(tick)}" '
        f'y2="{up.at(tick)}"/><text class="tick" x="{_LEFT - 6}" y="{up.at(tick) + 3.5}" '
        f'text-anchor="end">{_said(_tick_text(tick, unit))}</text>'
        for tick in ticks
    )
    return f'<g aria-hidden="true">{lines}</g>'


def _tick_text(value: float, unit: str) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):g}{letter}"
    return number(value, unit if unit == "%" else "")


def _x_labels(labels: Sequence[tuple[float, str]], across: _Scale) -> str:
    texts = []
    for index, (x, text) in enumerate(labels):
        anchor = "start" if index == 0 else "end" if index == len(labels) - 1 else "middle"
        place = across.at(x) + (-8 if anchor == "start" else 8 if anchor == "end" else 0)
        texts.append(
            f'<text class="tick" x="{place}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{_said(text)}</text>"
        )
    return f'<g aria-hidden="true">{"".join(texts)}</g>'


def _behind(chart: Chart, up: _Scale) -> list[str]:
    parts = []
    if chart.band is not None:
        top, bottom = up.at(chart.band[1]), up.at(chart.band[0])
        parts.append(
            f'<rect class="band" x="{_LEFT}" width="{WIDTH - _RIGHT - _LEFT}" y="{top}" '
            f'height="{round(max(bottom - top, 2.0), 1)}"/>'
        )
    if chart.threshold is not None:
        at = up.at(chart.threshold)
        parts.append(
            f'<line class="threshold" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
        )
    return parts


def _mark(mark: Mark, across: _Scale) -> str:
    x = across.at(mark.x)
    return (
        f'<g class="mark"><title>{_said(mark.title)}</title>'
        f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        f'<path d="M{x} {_TOP - 7}l5 5-5 5-5-5z"/></g>'
    )


def _line(line: Line, across: _Scale, up: _Scale) -> str:
    drawn = [
        (point, across.at(point.x), None if point.y is None else up.at(point.y))
        for point in line.points
    ]
    path = _path([(x, y) for _, x, y in drawn], step=line.step)
    dots = "".join(_dot(point, x, y) for point, x, y in drawn if y is not None and line.dots)
    return f'<g class="line {line.css}"><path class="stroke" d="{path}"/>{dots}</g>'


def _path(places: Sequence[tuple[float, float | None]], *, step: bool) -> str:
    path: list[str] = []
    pen_is_up = True
    for x, y in places:
        if y is None:
            pen_is_up = True
            continue
        if pen_is_up:
            path.append(f"M{x} {y}")
        else:
            path.append(f"H{x}V{y}" if step else f"L{x} {y}")
        pen_is_up = False
    return "".join(path)


def _dot(point: Point, x: float, y: float) -> str:
    css = "dot hollow" if point.hollow else "dot"
    title = f"<title>{_said(point.title)}</title>" if point.title else ""
    circle = f'<circle class="{css}" cx="{x}" cy="{y}" r="3">{title}</circle>'
    if not point.href:
        return circle
    # A circle of three pixels is hard to hit: the link is larger than what is seen.
    hit = f'<circle class="hit" cx="{x}" cy="{y}" r="8"/>'
    label = _said(point.title)
    return f'<a href="{escape(point.href, quote=True)}" aria-label="{label}">{hit}{circle}</a>'


def spans(parts: Sequence[tuple[float, float, str]], total: float) -> Svg:
    """Bars in a row that is `total` long: where each starts, how long it is, and its colour."""
    whole = total if total > 0 else 1.0
    bars = []
    for start, length, css in parts:
        begin = min(max(100 * start / whole, 0.0), 99.4)
        # What took no time still happened.
        width = min(max(100 * length / whole, 0.6), 100.0 - begin)
        bars.append(
            f'<rect class="bar {css}" x="{begin:.2f}%" width="{width:.2f}%" height="14" rx="3"/>'
        )
    return Svg(
        '<svg class="span" width="100%" height="14" aria-hidden="true">'
        f'<rect class="rail" width="100%" height="14" rx="3"/>{"".join(bars)}</svg>'
    )


def margin_bar(part: float, css: str) -> Svg:
    """How far from its threshold (the line in the middle) a value is: to the right it holds.

    `part` is the margin as a part of the threshold; the bar ends at the whole of it.
    """
    reach = min(abs(part), 1.0) * 46
    # The smallest miss is still seen.
    reach = max(reach, 2.0) if part else reach
    begin = 50 if part >= 0 else 50 - reach
    return Svg(
        '<svg class="margin" width="92" height="14" viewBox="0 0 100 14" '
        'preserveAspectRatio="none" aria-hidden="true"><rect class="rail" y="4" width="100" '
        f'height="6" rx="3"/><rect class="bar {css}" x="{begin:.1f}" y="2" width="{reach:.1f}" '
        'height="10"/><rect class="zero" x="49.25" y="0" width="1.5" height="14"/></svg>'
    )
