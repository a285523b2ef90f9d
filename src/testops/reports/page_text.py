"""How values are spelled on a page: bounded, without characters that hide or reorder what is said.

What a test printed stands on these pages. Escaping HTML belongs to the templates (autoescape);
here a control character becomes visible, and a megabyte becomes its beginning and its length.
"""

import math
import re
from datetime import datetime

TEXT_LENGTH_MAX = 600
# C0 and C1 controls but tab and newline; zero-width and bidirectional marks, which can make a
# line read as another one (CVE-2021-42574); lone surrogates, which are no text at all.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_SHORT_HASH = 12


def bounded(value: object, length_max: int = TEXT_LENGTH_MAX) -> str:
    """The text of `value`, at most so long; what was left out is counted."""
    text = str(value)
    shown = _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text[:length_max])
    return shown if len(text) <= length_max else f"{shown}… ({len(text):,} characters)"


def one_line(value: object, length_max: int = TEXT_LENGTH_MAX) -> str:
    """`bounded`, on one line."""
    # Cut before the split: a megabyte of blanks must not be walked for a line of text.
    text = str(value)
    head = " ".join(text[: 2 * length_max].split())
    if len(text) > 2 * length_max or len(head) > length_max:
        return f"{bounded(head[:length_max])}… ({len(text):,} characters)"
    return bounded(head, length_max)


def number(value: object, unit: str = "") -> str:
    """A number as a person reads it, with its unit; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.1f}".removesuffix(".0")
    else:
        text = f"{value:.4g}"
    if unit == "1/s":
        return f"{text}/s"
    gap = "" if unit in ("", "%") else " "
    return f"{text}{gap}{unit}"


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes and seconds, with two parts at most."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds == 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def age(seconds: float | None) -> str:
    """How long ago something was, in one part."""
    if not isinstance(seconds, int | float):
        return "–"
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "under a minute"


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def moment_of(text: object) -> datetime | None:
    """The moment that RFC 3339 spells, or None; a moment without a zone is not one."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def moment(text: object) -> str:
    """A moment for a person, to the second, in the zone in which it was written."""
    found = moment_of(text)
    if found is None:
        return "–" if text is None else bounded(text, 40)
    zone = "UTC" if not found.utcoffset() else found.strftime("%z")
    return f"{found:%Y-%m-%d %H:%M:%S} {zone}"


def short(digest: object) -> str:
    """The beginning of a digest, as people name it to each other."""
    return bounded(str(digest)[:_SHORT_HASH])
