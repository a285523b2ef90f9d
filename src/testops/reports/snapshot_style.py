"""How `snapshot_diff.html` looks: one style sheet for light, dark and paper, without web fonts."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2125; --soft: #5b636b; --line: #dfe2e5;
  --pass: #1a7f4b; --warn: #8a5a00; --fail: #b3261e; --inconclusive: #5a4fb0;
  --old: #b3261e; --old-back: #fdf0ee; --new: #146c3f; --new-back: #ecf7f0; --code: #f1f3f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131619; --card: #1b1f23; --ink: #e6e8ea; --soft: #9aa3ab; --line: #31373d;
    --pass: #58c98d; --warn: #e3b04b; --fail: #f2867c; --inconclusive: #a9a0f5;
    --old: #f2a19a; --old-back: #2c1b1a; --new: #7fd3a5; --new-back: #16261d; --code: #262b30;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
code, pre { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", Consolas, monospace; }
code { font-size: .9em; overflow-wrap: anywhere; }
h1 { display: flex; gap: .75rem; align-items: center; margin: .25rem 0; font-size: 1.5rem;
  font-weight: 500; line-height: 1.25; }
h1 b { color: var(--tone); }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.1rem; }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
small { color: var(--soft); font-weight: 400; font-size: .85em; }
.banner { background: var(--card); border: 1px solid var(--line);
  border-left: 6px solid var(--tone); border-radius: 8px; padding: 1.25rem 1.5rem; }
.banner.pass { --tone: var(--pass); } .banner.warn { --tone: var(--warn); }
.banner.fail { --tone: var(--fail); } .banner.inconclusive { --tone: var(--inconclusive); }
.sign { flex: none; width: 2rem; height: 2rem; border-radius: 50%; background: var(--tone);
  color: var(--card); font-weight: 700; font-size: 1.1rem; line-height: 2rem; text-align: center; }
.kicker, .reason, .next, .cause { margin: 0; overflow-wrap: anywhere; }
.cause { margin-top: .5rem; }
.word { color: var(--soft); } .word.regression { color: var(--fail); }
.word.nondeterminism { color: var(--warn); }
.kicker { color: var(--soft); font-size: .9rem; }
.next { margin-top: .5rem; }
.next code, .again code { background: var(--code); border-radius: 4px; padding: .1em .35em; }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 1rem 0 0; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { width: 100%; min-width: 34rem; border-collapse: collapse; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.path { overflow-wrap: anywhere; min-width: 12rem; }
.remarks { margin: 0; padding: 0; list-style: none; }
.remarks li { padding: .4rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.remarks b { display: inline-block; min-width: 4.5rem; }
.remarks .finding b { color: var(--warn); } .remarks .note b { color: var(--soft); }
.columns { columns: 20rem; margin: 0; padding-left: 1.1rem; }
.more { margin: .25rem 0; color: var(--soft); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem 1.25rem; margin-bottom: 1rem; }
.again { margin: .35rem 0 .25rem; } .again b { color: var(--soft); font-weight: 500; }
.delta { border-top: 1px solid var(--line); margin-top: .75rem; padding-top: .75rem; }
.delta p { margin: 0 0 .4rem; }
.delta dl { margin: 0; display: grid; gap: 2px; }
.delta dl div { display: flex; gap: .75rem; padding: .3rem .6rem; border-radius: 4px; }
.delta dt { flex: none; width: 2rem; color: var(--soft); }
.delta dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.old { background: var(--old-back); } .new { background: var(--new-back); }
.old code { color: var(--old); } .new code { color: var(--new); }
.field { font-weight: 600; }
.kind { display: inline-block; border: 1px solid var(--line); border-radius: 99px;
  padding: 0 .6em; font-size: .8rem; white-space: nowrap; }
.kind.added { color: var(--new); } .kind.removed { color: var(--old); }
.percent { font-variant-numeric: tabular-nums; white-space: nowrap; }
.note { color: var(--soft); font-size: .9rem; }
.trace { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 0;
  padding: .75rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.45; }
pre.trace span.old { color: var(--old); } pre.trace span.new { color: var(--new); }
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #fff; --ink: #000; --soft: #444;
    --line: #bbb; --pass: #1a7f4b; --warn: #8a5a00; --fail: #b3261e; --inconclusive: #5a4fb0;
    --old: #b3261e; --old-back: #fff; --new: #146c3f; --new-back: #fff; --code: #fff; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 2px 0; }
  table { min-width: 0; }
  .scroll, .trace { overflow: visible; }
  .trace { white-space: pre-wrap; }
  .delta, tr, .banner { break-inside: avoid; }
  h2, h3, .again { break-after: avoid; }
}
"""
