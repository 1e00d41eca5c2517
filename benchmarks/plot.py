"""Bars and ratios as SVG, drawn by ourselves: no plotting library for a dozen rectangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 250, 150, 26, 78
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:17px;font-weight:600}"
    ".s{fill:#666}.bar{fill:#3b6ea5}.peer{fill:#b9b9b9}.lane{fill:#f3f3f3}.band{fill:#dbe6f1}.miss{fill:#b3591a}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#999}.bar{fill:#7fb2e5}"
    ".peer{fill:#666}.lane{fill:#2a2a2a}.band{fill:#2c3b4a}.miss{fill:#e69a5d}svg{background:#1b1b1b}}"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One row: how many times what was published the computed is, and the band it should lie in."""

    name: str
    value: float
    low: float
    high: float
    said: str


def ratios(path: Path, title: str, subtitle: str, rows: Sequence[Ratio]) -> None:
    """Write the picture: one scale from a quarter to four times, each row a dot over its band."""
    left, lane, row_height, top = 480, 320, 22, 96
    width, height = left + lane + 170, top + row_height * len(rows) + 12

    def place(ratio: float) -> float:
        return left + lane * (math.log2(min(4.0, max(0.25, ratio))) + 2) / 4

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="t" x="16" y="30">{escape(title)}</text>',
        f'<text class="s" x="16" y="52">{escape(subtitle)}</text>',
    ]
    for mark in (0.25, 0.5, 1, 2, 4):
        x = place(mark)
        parts.append(f'<text class="s" x="{x:.1f}" y="{top - 14}" text-anchor="middle">{mark:g}</text>')
        parts.append(
            f'<rect class="lane" x="{x - 0.5:.1f}" y="{top - 6}" width="1" height="{height - top}"/>'
        )
    for at, row in enumerate(rows):
        y = top + row_height * at
        low, high = place(row.low), max(place(row.low) + 2, place(row.high))
        kind = "bar" if row.low <= row.value <= row.high else "miss"
        parts += [
            f'<text x="{left - 12}" y="{y + 12}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect class="band" x="{low:.1f}" y="{y + 2}" width="{high - low:.1f}" height="12" rx="2"/>',
            f'<circle class="{kind}" cx="{place(row.value):.1f}" cy="{y + 8}" r="4.5"/>',
            f'<text x="{left + lane + 12}" y="{y + 12}">{escape(row.said)}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
