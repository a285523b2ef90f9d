"""What every report page is made of: one style sheet, one script, and a policy that names both.

A page is one file that asks nobody for anything: its policy refuses every request, and lets only
this style sheet and this script in, by their hashes. Templates escape every value.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2

from testops.reports import page_text

# Longer than what any filter lets through.
_TEXT_LENGTH_MAX = 3000
_TEMPLATES = resources.files("testops.reports") / "templates"


@functools.cache
def _packaged(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@functools.cache
def policy() -> str:
    """The content security policy of every page, for its head and for a server's header."""
    return (
        f"default-src 'none'; style-src {_hash(_packaged('page.css'))}; "
        f"script-src {_hash(_packaged('page.js'))}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_packaged),
        # Whatever a template is called: there is nothing else here than pages.
        autoescape=True,
        # What a record lacks is empty on the page: it may be of another version.
        undefined=jinja2.ChainableUndefined,
        # What no filter bounded: nothing reaches a page as it came.
        finalize=_bounded,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "age": page_text.age,
        "bounded": page_text.bounded,
        "line": page_text.one_line,
        "number": page_text.number,
        "duration": page_text.duration,
        "moment": page_text.moment,
        "short": page_text.short,
        "size": page_text.size,
    }
    made.globals |= {"style": _Verbatim(_packaged("page.css")), "policy": policy()}
    made.globals["script"] = _Verbatim(_packaged("page.js"))
    return made


def _bounded(value: Any) -> Any:
    if hasattr(value, "__html__") or isinstance(value, jinja2.Undefined):
        return value
    return page_text.bounded(value, _TEXT_LENGTH_MAX)


class _Verbatim:
    """A file of ours that a page takes as it is: escaped, its hash would be another one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __html__(self) -> str:
        return self._text


def render(template: str, context: Mapping[str, Any]) -> str:
    """The whole page that `template` makes of `context`."""
    return _environment().get_template(template).render(context)
