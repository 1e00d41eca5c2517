"""Small drawings for a card: server-made SVG, coloured by the page's own words, readable in print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH = 560
LEFT = 190
RIGHT = 500
LINE = 26


def whiskers(lines: Sequence[Mapping[str, Any]], label: str) -> str:
    """Each line a point with its interval on a scale that holds them all; a bar marks a gate's limit.

    A line has `name`, `note`, `value`, `low`, `high` (decimal text), and maybe `limits` and `faint`.
    """
    if not lines:
        return ""
    start, end = _scale(lines)
    height = LINE * len(lines) + 26
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">',
        *_axis(start, end, height),
    ]
    for row, line in enumerate(lines):
        parts += _whisker(line, LINE * row + 14, start, end)
    return "".join([*parts, "</svg>"])


def _scale(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """From a little below the lowest to a little above the highest, in tenths."""
    shown = [float(line[part]) for line in lines for part in ("low", "high", "value")]
    shown += [float(limit) for line in lines for limit in line.get("limits", ())]
    start = max(0.0, int(min(shown) * 10) / 10)
    end = -(-max(shown) * 10 // 1) / 10
    return (start, end) if end > start else (max(0.0, start - 0.1), start + 0.1)


def _x(value: float, start: float, end: float) -> float:
    return LEFT + (value - start) / (end - start) * (RIGHT - LEFT)


def _axis(start: float, end: float, height: int) -> list[str]:
    steps = max(1, round((end - start) * 10))
    every = max(1, steps // 5)
    parts = []
    for step in range(0, steps + 1, every):
        value = start + (end - start) * step / steps
        x = _x(value, start, end)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{height - 18}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 4}">{value:.1f}</text>')
    return parts


def _whisker(line: Mapping[str, Any], y: int, start: float, end: float) -> list[str]:
    value, low, high = (_x(float(line[part]), start, end) for part in ("value", "low", "high"))
    faint = " faint" if line.get("faint") else ""
    parts = [
        f'<text class="name{faint}" x="{LEFT - 10}" y="{y + 4}">{escape(_short(line["name"]))}</text>',
        f'<line class="span{faint}" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>',
        f'<circle class="point{faint}" cx="{value:.1f}" cy="{y}" r="4"/>',
        f'<text class="note{faint}" x="{RIGHT + 8}" y="{y + 4}">{escape(str(line["note"]))}</text>',
    ]
    for limit in line.get("limits", ()):
        x = _x(float(limit), start, end)
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="{y - 9}" x2="{x:.1f}" y2="{y + 9}"/>')
    return parts


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def reliability(bins: Sequence[Mapping[str, Any]], label: str) -> str:
    """How sure it said it was, against how often it was right; the diagonal is honest."""
    size, edge = 200, 30
    box = size + 2 * edge
    parts = [
        f'<svg class="square" viewBox="0 0 {box} {box}" role="img" aria-label="{escape(label)}">',
        f'<rect class="frame" x="{edge}" y="{edge}" width="{size}" height="{size}"/>',
        f'<line class="grid" x1="{edge}" y1="{edge + size}" x2="{edge + size}" y2="{edge}"/>',
        f'<text class="tick" x="{edge + size / 2}" y="{2 * edge + size - 8}">confidence</text>',
        f'<text class="tick" x="{edge}" y="{edge - 8}">share right</text>',
    ]
    most = max((one["rows"] for one in bins), default=1)
    for one in bins:
        x, y = edge + float(one["confidence"]) * size, edge + (1 - float(one["right"])) * size
        radius = 3 + 7 * (one["rows"] / most) ** 0.5
        parts.append(f'<circle class="bubble" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')
    return "".join([*parts, "</svg>"])
