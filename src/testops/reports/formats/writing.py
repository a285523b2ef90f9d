"""Writes XML and JSON whose bytes depend on their content only."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

# What XML 1.0 cannot hold, however it is escaped; terminals' colours are the usual case.
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """`text` as XML can hold it: without colours, each other forbidden character by its number."""
    plain = _ANSI.sub("", text)
    return _NOT_XML.sub(lambda found: f"\\x{ord(found.group()):02x}", plain)


def attributes(values: Mapping[str, object]) -> str:
    """The attributes, in their order; None is left out."""
    return "".join(
        # quoteattr keeps line ends and tabs by escaping them, which readers need to see them.
        f" {name}={quoteattr(clean(str(value)))}"
        for name, value in values.items()
        if value is not None
    )


def element(name: str, values: Mapping[str, object], inside: Iterable[str] | None = None) -> str:
    """An element on lines of its own: `inside` are its children's lines, already written."""
    body = "\n".join(inside or ())
    if not body:
        return f"<{name}{attributes(values)}/>"
    return f"<{name}{attributes(values)}>\n{body}\n</{name}>"


def text_element(name: str, values: Mapping[str, object], text: str) -> str:
    """An element that holds text and nothing else."""
    if not text:
        return f"<{name}{attributes(values)}/>"
    return f"<{name}{attributes(values)}>{escape(clean(text))}</{name}>"


def xml_document(root: str) -> str:
    """The file around its root element."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'


def json_document(value: Any) -> str:
    """The file; objects keep the order in which they were made."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def seconds(value: float | None) -> str | None:
    """A duration to the millisecond, in the one spelling."""
    return None if value is None else f"{value:.3f}"
