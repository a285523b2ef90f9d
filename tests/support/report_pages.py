"""What every report page promises, checked on its bytes: nothing from outside, and readable."""

import base64
import hashlib
import re
from html.parser import HTMLParser

BYTES_MAX = 5 * 1024 * 1024
_LOADS = frozenset(
    {"src", "href", "srcset", "poster", "data", "action", "formaction", "xlink:href"}
)
_VOID = frozenset(
    {"meta", "link", "br", "hr", "img", "input", "rect", "line", "path", "circle", "use"}
)


class Page(HTMLParser):
    """One page, taken apart; `open_at_end` are elements that nobody closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.headings: list[int] = []
        self.captions = 0
        self.tables = 0
        self.unscoped = 0
        self.styled = 0
        self.seen: list[str] = []
        self._open: list[str] = []
        self.misnested: list[str] = []
        self.feed(text)
        self.close()
        self.open_at_end = list(self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._begin(tag, attrs)

    def _begin(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in _LOADS and value is not None:
                self.loads.append(value)
            self.handlers += [name] * name.startswith("on")
            self.styled += name == "style"
            if name == "id" and value is not None:
                self.ids.append(value)
        given = dict(attrs)
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.unscoped += tag == "th" and "scope" not in given

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self._open or self._open[-1] != tag:
            self.misnested.append(tag)
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.seen.append(data)

    @property
    def words(self) -> str:
        """What a reader sees, with single blanks."""
        return " ".join(" ".join(self.seen).split())


def checked(text: str) -> Page:
    """The page, after every promise was checked."""
    page = Page(text)
    assert len(text.encode()) < BYTES_MAX
    outside = [url for url in page.loads if re.match(r"(?i)\s*(?:[a-z][a-z0-9+.-]*:)?//", url)]
    schemes = [url for url in page.loads if re.match(r"(?i)\s*[a-z][a-z0-9+.-]*:", url)]
    assert not outside
    assert set(schemes) <= {"data:,"}
    style, script = _inside(text, "style"), _inside(text, "script")
    assert not re.search(r"url\(|@import|expression\(", style, re.IGNORECASE)
    assert not re.search(r"fetch|XMLHttpRequest|import\(|WebSocket|EventSource", script)
    assert not page.handlers
    # A policy by hashes refuses these, so they would be lost.
    assert page.styled == 0
    _check_policy(text, style, script)
    _check_readable(page)
    return page


def _inside(text: str, tag: str) -> str:
    assert text.count(f"<{tag}>") == 1
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _check_policy(text: str, style: str, script: str) -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = found.group(1).replace("&#39;", "'").replace("&#43;", "+")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for part in (style, script):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    # Before anything that it is to govern.
    assert text.index("Content-Security-Policy") < text.index("<style>")


def _check_readable(page: Page) -> None:
    assert not page.misnested
    assert not page.open_at_end
    assert len(page.ids) == len(set(page.ids))
    assert page.headings.count(1) == 1
    assert page.headings[0] == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert page.tables == page.captions
    assert page.unscoped == 0
    inside = {url[1:] for url in page.loads if url.startswith("#")}
    assert inside <= set(page.ids)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours `#rrggbb` (WCAG 2.2)."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
