"""Draws the picture beside the table: a few groups of horizontal bars as SVG, readable on light and dark."""

import math
from xml.sax.saxutils import escape

from bench.report import Line, Run, lines

SHOWN = (("whole", "a_second"), ("whole", "web_us"), ("stream", "a_second"), ("stream", "web_us"))
WIDTH, LABEL, VALUE, BAR, GAP, TITLE = 720, 90, 120, 20, 8, 34

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.bar { fill: #9aa4af }
.ours { fill: #0f766e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #6e7681 }
  .ours { fill: #2dd4bf }
}
"""


def draw(run: Run) -> str:
    """A whole SVG document. Bars of a group share a scale, which begins at zero."""
    parts, y = [], 0
    for line in lines():
        if (line.row, line.figure) in SHOWN:
            group, y = _group(run, line, y)
            parts += group
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">'
    title = "<title>Hamiran, LiteLLM and Portkey side by side</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _group(run: Run, line: Line, y: int) -> tuple[list[str], int]:
    """The bars of one line from `y` on, and where the next group begins."""
    values = {who: line.middle(run, who) for who in ("Hamiran", "LiteLLM", "Portkey")}
    values = {who: math.nan if run.fails(line.row, who) else value for who, value in values.items()}
    longest = max((value for value in values.values() if not math.isnan(value)), default=1) or 1
    y += TITLE - GAP
    parts = [f'<text class="title" x="0" y="{y}">{escape(_title(line))}</text>']
    y += GAP
    for who, value in values.items():
        fails = math.isnan(value)
        width = 0 if fails else max(1, round((WIDTH - LABEL - VALUE) * value / longest))
        kind = "bar ours" if who == "Hamiran" else "bar"
        said = "fails" if fails else f"{value:,.{line.digits}f}"
        middle = y + BAR - 5
        parts += [
            f'<text x="0" y="{middle}">{who}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{width}" height="{BAR}" rx="3"/>',
            f'<text x="{LABEL + width + 8}" y="{middle}">{said}</text>',
        ]
        y += BAR + GAP
    return parts, y


def _title(line: Line) -> str:
    what = {"whole": "Not streaming, 64 at once", "stream": "Streaming, 300 at once"}[line.row]
    figure = {"web_us": "shorter is better", "a_second": "longer is better"}[line.figure]
    unit = line.title.rpartition(": ")[2]
    return f"{what}: {unit} ({figure})"
