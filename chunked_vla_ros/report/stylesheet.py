"""
The one style sheet of all reports, readable in light and in dark.

Plots take their colours from the custom properties, so that they change with the page.
"""

# Lists that are sorted and filtered by radio inputs, see `report.sorting`.
_CHOICES = ''.join(
    f'.sort{key}:checked ~ .rows .row {{ order: var(--k{key}); }}\n'
    f'.sort{key}:checked ~ .choices .sort{key},\n'
    f'.sort{key}:focus-visible ~ .choices .sort{key} {{ color: var(--page); '
    'background: var(--ink); border-color: var(--ink); }\n' for key in range(8)) + ''.join(
    f'.show{choice}:checked ~ .choices .show{choice} {{ color: var(--page); '
    'background: var(--ink); border-color: var(--ink); }\n' + ''.join(
        f'.show{choice}:checked ~ .rows .kind{kind} {{ display: none; }}\n'
        for kind in range(choice)) for choice in range(4))

STYLESHEET = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1c1d20; --muted: #5f636b; --line: #e2e3e6;
  --good: #11734b; --good-back: #dff3e8; --bad: #a32018; --bad-back: #fbe3e0;
  --fair: #7a5200; --fair-back: #fbeecb;
  --series-0: #1f6fd1; --series-1: #d9561c; --series-2: #8a8f98; --series-3: #138a63;
  --series-4: #8a4fc4; --series-5: #b8860b; --series-6: #c43e7d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #141518; --card: #1d1f23; --ink: #ebecef; --muted: #a2a6ae; --line: #33363c;
    --good: #6fd6a5; --good-back: #17372a; --bad: #ff9a8f; --bad-back: #44201d;
    --fair: #f0c766; --fair-back: #40340f;
    --series-0: #6aa9f5; --series-1: #f58a57; --series-2: #8b9099; --series-3: #4cc79a;
    --series-4: #bd92ee; --series-5: #dcb252; --series-6: #ee83b3;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px; }
header p { color: var(--muted); margin: 4px 0 0; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 19px; line-height: 1.3; margin: 0 0 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 20px; margin-top: 20px; }
p, ul { margin: 8px 0; max-width: 78ch; }
code { font: 14px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.note { border-left: 3px solid var(--series-5); padding-left: 12px; color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--muted); font-weight: 600; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; }
.badge { padding: 1px 8px; border-radius: 999px; font-size: 13px; font-weight: 600;
  white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-back); }
.badge.bad { color: var(--bad); background: var(--bad-back); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr));
  gap: 12px; }
.figure { border: 1px solid var(--line); border-radius: 10px; padding: 10px 12px; }
.figure .name, .figure .remark { display: block; color: var(--muted); font-size: 13px; }
.figure strong { display: block; font-size: 21px; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 16px; }
figure { margin: 0; }
figcaption { font-size: 13px; color: var(--muted); }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--muted); font: 11px system-ui, -apple-system, "Segoe UI", sans-serif; }
svg .title { fill: var(--ink); font-weight: 600; font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--muted); stroke-width: 1; }
svg polyline { fill: none; stroke-linejoin: round; }
.film { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 8px; }
.film img { width: 100%; border-radius: 6px; display: block; }
.badge.fair { color: var(--fair); background: var(--fair-back); }
.sorted { --grid: 84px 68px 64px 74px 84px 84px 1fr; }
.choice { position: absolute; opacity: 0; pointer-events: none; }
.choices { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; margin-bottom: 8px;
  font-size: 13px; color: var(--muted); }
.choices label { border: 1px solid var(--line); border-radius: 999px; padding: 1px 10px;
  cursor: pointer; }
.heading, .row > summary { display: grid; grid-template-columns: var(--grid); gap: 10px;
  padding: 6px 8px; font-size: 14px; font-variant-numeric: tabular-nums; }
.heading { color: var(--muted); font-weight: 600; border-bottom: 1px solid var(--line); }
.row > summary { cursor: pointer; border-bottom: 1px solid var(--line); align-items: start; }
.row > summary:hover { background: var(--page); }
.row[open] > summary { background: var(--page); }
.rows { display: flex; flex-direction: column; }
.inside { padding: 12px 8px 20px; }
.inside h3 { font-size: 14px; margin: 14px 0 6px; }
.small.plots { grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 8px; }
@media (max-width: 760px) { .sorted { --grid: 76px 40px 48px 60px 1fr; }
  .heading > :nth-child(n+5):nth-child(-n+6), .row > summary > :nth-child(n+5):nth-child(-n+6)
  { display: none; } }
""" + _CHOICES
