"""Bars as SVG, drawn by ourselves: no plotting library for a dozen rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 250, 150, 26, 78
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:17px;font-weight:600}"
    ".s{fill:#666}.bar{fill:#3b6ea5}.peer{fill:#b9b9b9}.lane{fill:#f3f3f3}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.bar{fill:#7fb2e5}"
    ".peer{fill:#666}.lane{fill:#2a2a2a}svg{background:#1b1b1b}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: its name, its value, what is written behind it."""

    name: str
    value: float
    said: str
    peer: bool = False
    """Drawn grey: not ours, or a limit."""


def bars(path: Path, title: str, subtitle: str, rows: Sequence[Bar]) -> None:
    """Write the picture. The longest bar fills the lane; values must not be negative."""
    longest = max((row.value for row in rows), default=0) or 1
    lane = WIDTH - LEFT - RIGHT
    height = TOP + ROW * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="t" x="16" y="30">{escape(title)}</text>',
        f'<text class="s" x="16" y="52">{escape(subtitle)}</text>',
    ]
    for at, row in enumerate(rows):
        y = TOP + ROW * at
        width = max(1.0, lane * row.value / longest)
        kind = "peer" if row.peer else "bar"
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect class="lane" x="{LEFT}" y="{y}" width="{lane}" height="18" rx="2"/>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="18" rx="2"/>',
            f'<text x="{LEFT + lane + 10}" y="{y + 13}">{escape(row.said)}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
