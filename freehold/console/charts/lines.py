"""Curves over steps or time: a run's loss, two runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from freehold.console.charts import svg
from freehold.console.charts.svg import HALF, NARROW, Screen

LEFT, RIGHT, TOP, BOTTOM = 46, 12, 26, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), sorted by x; what is not finite is left out."""

    def finite(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where figures lie on the paper."""

    screen: Screen
    height: int
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        width, tall = self.screen.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return (
            LEFT + width * (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1),
            TOP + tall * (1 - (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)),
        )


def curves(
    lines: Sequence[Curve], *, label: str, x_word: str, y_word: str, height: int = 220, wide: Screen = HALF
) -> Markup:
    """Up to six curves over one plane, for both kinds of screens; a note where there is nothing to draw."""
    shown = [line for line in lines[:6] if line.finite()]
    if not shown:
        return svg.el("p", "Nothing to draw yet", class_="muted")
    return svg.both(lambda screen: _draw(shown, screen, height, label, x_word, y_word), wide, NARROW)


def _draw(
    lines: Sequence[Curve], screen: Screen, height: int, label: str, x_word: str, y_word: str
) -> Markup:
    every = [point for line in lines for point in line.finite()]
    xs, ys = [x for x, _ in every], [y for _, y in every]
    plane = _Plane(screen, height, (min(xs), max(xs)), _roomy(min(ys), max(ys)))
    drawn = [*_axes(plane, x_word, y_word)]
    for number, line in enumerate(lines, 1):
        drawn.append(_curve(plane, line, number))
    return svg.drawing(screen, height, label, *drawn, *_legend(lines, screen), kind="curves")


def _roomy(low: float, high: float) -> tuple[float, float]:
    if low >= 0 and low < high / 2:
        low = 0.0
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (low if low == 0 else low - pad), high + pad


def _axes(plane: _Plane, x_word: str, y_word: str) -> list[Markup]:
    drawn = []
    for value in svg.ticks(*plane.y):
        x, y = plane.at(plane.x[0], value)
        drawn.append(svg.line(LEFT, y, plane.screen.width - RIGHT, y, "grid"))
        drawn.append(svg.text(LEFT - 6, y + 4, svg.brief(value), "tick", "end"))
    for value in svg.ticks(*plane.x, 5):
        x, _ = plane.at(value, plane.y[0])
        drawn.append(svg.text(x, plane.height - BOTTOM + 16, svg.brief(value), "tick", "middle"))
    drawn.append(svg.text(plane.screen.width - RIGHT, plane.height - 2, x_word, "tick", "end"))
    drawn.append(svg.text(0, 12, y_word, "tick"))
    return drawn


def _curve(plane: _Plane, line: Curve, number: int) -> Markup:
    points = [plane.at(x, y) for x, y in line.finite()]
    end = points[-1]
    last = svg.el("circle", cx=end[0], cy=end[1], r=3, class_=f"dot c{number}")
    return svg.el(
        "g", svg.title(line.name), svg.el("path", d=svg.path(points), class_=f"curve c{number}"), last
    )


def _legend(lines: Sequence[Curve], screen: Screen) -> list[Markup]:
    """Names at the top right, each with a piece of its line."""
    if len(lines) < 2:
        return []
    drawn, x = [], float(screen.width - RIGHT)
    for number, line in reversed(list(enumerate(lines, 1))):
        name = line.name[:24]
        x -= len(name) * screen.letters
        drawn.append(svg.text(x, 12, name, "tick"))
        drawn.append(svg.line(x - 20, 8, x - 6, 8, f"curve c{number}"))
        x -= 32
    return drawn
