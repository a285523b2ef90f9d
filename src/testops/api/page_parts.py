"""What every plain page is made of: one style, one script, and a policy that names both by hash.

Nothing comes from outside and every value is escaped, so a page reads the same offline, and a test
that prints HTML prints text here.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from starlette.responses import Response

STYLE = """\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;
--pass:#116329;--warn:#7d4e00;--fail:#a40e26;--inconclusive:#6e40aa;--link:#0550ae}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;--line:#3d444d;--card:#161b22;
--pass:#56d364;--warn:#e3b341;--fail:#ff7b72;--inconclusive:#d2a8ff;--link:#79c0ff}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);margin:0 auto;
max-width:72rem;padding:1rem}a{color:var(--link)}h1{font-size:1.4rem}h2{font-size:1.1rem;
margin-top:2rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;
border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--soft);font-weight:600}
code,pre{font:14px/1.5 ui-monospace,monospace}pre{background:var(--card);border:1px solid
var(--line);border-radius:6px;padding:.75rem;overflow-x:auto}.soft{color:var(--soft)}
.verdict{font-weight:700}.pass{color:var(--pass)}.warn{color:var(--warn)}.fail{color:var(--fail)}
.inconclusive{color:var(--inconclusive)}.wide{overflow-x:auto}.skip{position:absolute;left:-99rem}
.skip:focus{position:static}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
"""

# Follows the run's events and fetches the page anew where one of them changes what it shows. The
# server renders; without script the page is the same, as of when it was loaded.
SCRIPT = """\
(function(){var live=document.getElementById("live"),from=document.body.dataset.events;
if(!from||!window.EventSource)return;var source=new EventSource(from),waiting=0;
function renew(){waiting=0;fetch(location.href).then(function(r){return r.ok?r.text():""})
.then(function(text){var next=text&&new DOMParser().parseFromString(text,"text/html")
.getElementById("live");if(next)live.replaceChildren.apply(live,Array.from(next.childNodes))})}
["run.queued","run.started","stage.started","stage.finished","gate.evaluated","run.finished"]
.forEach(function(name){source.addEventListener(name,function(){
if(!waiting)waiting=setTimeout(renew,300)})});
source.addEventListener("end",function(){source.close();renew()})})();
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(
    title: str,
    body: str,
    *,
    events: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page of ours; `body` is HTML, `events` the stream that says when it is out of date."""
    follows = "" if events is None else f' data-events="{escape(events)}"'
    script = "" if events is None else f"<script>{SCRIPT}</script>"
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body{follows}>"
        '<a class="skip" href="#main">Skip to the content</a>'
        '<header><nav aria-label="Pages"><a href="/">Runs</a> · <a href="/docs">API</a></nav>'
        f'</header><main id="main"><h1>{escape(title)}</h1>{body}</main>{script}</body></html>'
    )
    both = {"content-security-policy": POLICY, "cache-control": "private, no-cache"}
    return Response(html, status, headers=both | dict(headers or {}), media_type="text/html")


def table(caption: str, heads: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are HTML; a row's first cell is its head."""
    if not rows:
        return '<p class="soft">None.</p>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><caption class="skip">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def verdict_html(verdict: str | None, state: str) -> str:
    """The verdict in words and colour, or how far it is."""
    if verdict is None:
        return f'<span class="soft">{escape(state)}</span>'
    return f'<span class="verdict {escape(verdict)}">{escape(verdict)}</span>'
