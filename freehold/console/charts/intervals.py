"""A measured figure as a small bar: the interval, the point estimate, and the limits a gate set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from freehold.console.charts import svg

WIDTH, HEIGHT = 160, 22
_LIMIT = re.compile(r"[<>]= ?(-?[0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its interval, as a card holds them."""

    value: float
    low: float
    high: float
    limits: tuple[float, ...] = ()


def limits_of(bound: str) -> tuple[float, ...]:
    """The figures in a gate's words, such as `lower end >= 0.86`."""
    return tuple(float(figure) for figure in _LIMIT.findall(bound))


def interval(shown: Interval, *, label: str) -> Markup:
    """The bar. Shares lie on a scale from 0 to 1, larger figures on one that begins at 0."""
    most = _most((shown.high, shown.value, *shown.limits))

    def at(figure: float) -> float:
        return 4 + (WIDTH - 8) * min(max(figure, 0.0), most) / most

    middle = HEIGHT / 2
    drawn = [
        svg.line(4, middle, WIDTH - 4, middle, "grid"),
        *(svg.line(at(limit), 2, at(limit), HEIGHT - 2, "limit") for limit in shown.limits),
        svg.line(at(shown.low), middle, at(shown.high), middle, "span"),
        svg.el("circle", cx=at(shown.value), cy=middle, r=4, class_="point"),
    ]
    return svg.el(
        "svg",
        svg.title(label),
        *drawn,
        class_="drawing interval",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        aria_label=label,
    )


def _most(figures: Sequence[float]) -> float:
    return 1.0 if max(figures) <= 1 else svg.nice(max(figures))
