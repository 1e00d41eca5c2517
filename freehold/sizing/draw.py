"""Drawings as SVG: lines on linear or logarithmic axes, and bars. Colours are classes of the page's sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 330
LEFT, RIGHT, TOP, BOTTOM = 74, 150, 30, 44
ROW = 30
NAMES = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points that belong together; its name stands at its end."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str
    """Class of its colour: c1 … c6."""
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One point with a word."""

    name: str
    x: float
    y: float
    below: float = 16
    """How far under it the word stands; negative: above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From where to where, and what is told."""

    low: float
    high: float
    said: str
    log: bool = False
    step: float = 0
    """From tick to tick; 0: a round figure."""

    def at(self, value: float) -> float:
        """From 0 to 1."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(max(value, self.low)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round figures, a handful."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, (last - first) // 6 + ((last - first) % 6 > 0))
            return [10.0**power for power in range(first, last + 1, every)]
        step = self.step or _nice((self.high - self.low) / 4)
        first = math.ceil(self.low / step - 1e-9)
        return [step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def lines(label: str, x: Axis, y: Axis, drawn: Sequence[Line], dots: Sequence[Dot] = ()) -> str:
    """A drawing of lines; names stand at the right, apart from each other."""
    parts = [*_grid(x, y)]
    ends: list[tuple[float, str, str]] = []
    for line in drawn:
        inside = [(px, py) for px, py in line.points if x.low <= px <= x.high]
        if not inside:
            continue
        shown = [(_x(x, px), _y(y, min(max(py, y.low), y.high))) for px, py in inside]
        path = "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in shown)
        parts.append(f'<path class="line {line.kind}{" dashed" if line.dashed else ""}" d="{path}"/>')
        ends.append((shown[-1][1], line.name, line.kind))
    parts += _ends(ends)
    for dot in dots:
        px, py = _x(x, dot.x), _y(y, dot.y)
        beyond = px > WIDTH - RIGHT - 150
        anchor, by = ("end", -9) if beyond else ("start", 9)
        parts.append(f'<circle class="dot" cx="{px:.1f}" cy="{py:.1f}" r="4.5"/>')
        place = f'text-anchor="{anchor}" x="{px + by:.1f}" y="{py + dot.below:.1f}"'
        parts.append(f'<text class="word" {place}>{escape(dot.name)}</text>')
    return _drawing(label, HEIGHT, parts)


def _ends(ends: list[tuple[float, str, str]]) -> list[str]:
    """Names beside the ends of their lines, at least a line apart."""
    parts, last = [], -math.inf
    for at, name, kind in sorted(ends):
        last = max(at, last + 15)
        parts.append(
            f'<text class="end {kind}" x="{WIDTH - RIGHT + 8}" y="{last + 4:.1f}">{escape(name)}</text>'
        )
    return parts


def _grid(x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in y.ticks():
        at = _y(y, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{at + 4:.1f}">{brief(tick)}</text>'
        )
    for tick in x.ticks():
        at = _x(x, tick)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{bottom + 17}">{brief(tick)}</text>'
        )
    parts.append(
        f'<text class="tick" text-anchor="end" x="{right}" y="{bottom + 36}">{escape(x.said)}</text>'
    )
    parts.append(f'<text class="tick" x="{LEFT}" y="{TOP - 14}">{escape(y.said)}</text>')
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: from where to where, and what is written behind it."""

    name: str
    value: float
    said: str
    begin: float = 0.0
    kind: str = "c1"


def bars(label: str, rows: Sequence[Bar], marks: Sequence[tuple[float, str]] = ()) -> str:
    """Horizontal bars on one scale, with marks across all of them."""
    low = min([0.0, *(min(row.begin, row.value) for row in rows)])
    high = max([1e-9, *(max(row.begin, row.value) for row in rows), *(at for at, _ in marks)])
    lane = WIDTH - NAMES - RIGHT
    top = 26 if marks else 6

    def place(value: float) -> float:
        return NAMES + lane * (value - low) / (high - low)

    parts = []
    for at, word in marks:
        x, bottom = f"{place(at):.1f}", top + ROW * len(rows)
        parts.append(f'<line class="mark" x1="{x}" y1="{top - 4}" x2="{x}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{place(at):.1f}" y="14">{escape(word)}</text>'
        )
    for number, row in enumerate(rows):
        y = top + ROW * number
        left, right = sorted((place(row.begin), place(row.value)))
        place_of = f'x="{left:.1f}" y="{y + 4}" width="{max(1.5, right - left):.1f}" height="18"'
        parts += [
            f'<text class="name" text-anchor="end" x="{NAMES - 10}" y="{y + 17}">{escape(row.name)}</text>',
            f'<rect class="bar {row.kind}" {place_of} rx="2"/>',
            f'<text class="word" x="{WIDTH - RIGHT + 8}" y="{y + 17}">{escape(row.said)}</text>',
        ]
    return _drawing(label, top + ROW * len(rows) + 8, parts)


def _drawing(label: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
    return "\n".join([head, f"<title>{escape(label)}</title>", *parts, "</svg>"])


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.at(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.at(value) * (HEIGHT - TOP - BOTTOM)


def _nice(least: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least * 0.999)


def up_to(most: float, said: str) -> Axis:
    """From nothing to a round figure above."""
    step = _nice(max(most, 1e-9) / 4)
    return Axis(low=0, high=step * math.ceil(max(most, 1e-9) / step - 1e-9), said=said)


UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def brief(value: float) -> str:
    """A figure on an axis."""
    size, unit = _unit(value)
    return f"{value / size:g}{unit}"


def signed(value: float) -> str:
    """`+39.9M`: more or less than was planned, in three digits."""
    size, unit = _unit(value)
    return f"{value / size:+.3g}{unit}"


def _unit(value: float) -> tuple[float, str]:
    return next((one for one in UNITS if abs(value) >= one[0]), UNITS[-1])
