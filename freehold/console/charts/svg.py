"""SVG elements as escaped text, and the few figures every drawing needs.

Colours, fonts and strokes are classes of the style sheet: a page's content policy allows no style
within it. A drawing is made twice, for wide and for narrow screens, and the style sheet shows one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Value = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """For what width a drawing is made."""

    name: str
    """`wide` or `narrow`: the class that shows it."""
    width: int
    letters: float
    """Average width of a letter in its labels."""

    def fits(self, pixels: float) -> int:
        """How many letters fit into so many pixels."""
        return max(1, int(pixels / self.letters))


WIDE = Screen(name="wide", width=1040, letters=6.9)
HALF = Screen(name="wide", width=500, letters=6.4)
NARROW = Screen(name="narrow", width=358, letters=7.0)


def el(name: str, *children: str, **attributes: Value) -> Markup:
    """An element; `class_` is `class`, `stroke_width` is `stroke-width`, None leaves an attribute out.

    Text among the children is escaped, elements are not escaped again.
    """
    said = Markup("").join(
        Markup(' {}="{}"').format(word.rstrip("_").replace("_", "-"), _number(value))
        for word, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, inner)  # noqa: S704 – names are ours


def _number(value: Value) -> Value:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def drawing(screen: Screen, height: float, label: str, *children: str, kind: str = "") -> Markup:
    """A whole drawing for a screen; `label` says in words what it shows."""
    return el(
        "svg",
        *children,
        class_=f"drawing {kind} {screen.name}".replace("  ", " "),
        viewBox=f"0 0 {screen.width} {height:.0f}",
        role="group",
        aria_label=label,
    )


def both(make: Callable[[Screen], Markup], wide: Screen = WIDE, narrow: Screen = NARROW) -> Markup:
    """The drawing for wide and for narrow screens."""
    return Markup("").join((make(wide), make(narrow)))


def text(x: float, y: float, said: str, class_: str = "", anchor: str | None = None) -> Markup:
    """A line of text; `anchor` is `middle` or `end`."""
    return el("text", said, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, *children: str) -> Markup:
    """A rectangle; a `title` among its children is told where somebody points at it."""
    return el("rect", *children, x=x, y=y, width=max(0.0, width), height=max(0.0, height), class_=class_)


def link(href: str | None, *children: str, label: str | None = None) -> Markup:
    """Something to click on; its children alone where there is no address."""
    if not href:
        return el("g", *children)
    return el("a", *children, href=href, aria_label=label)


def title(said: str) -> Markup:
    """What is told where somebody points at the element around it."""
    return el("title", said)


def path(points: Sequence[tuple[float, float]]) -> str:
    """A line through points, for the attribute `d`."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def nice(most: float) -> float:
    """The next round figure at or above: 1, 2, 2.5, 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= most * 0.999)


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round figures between two ends, a few of them."""
    step = nice((high - low) / most) if high > low else 1.0
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def brief(value: float) -> str:
    """A figure for an axis: `12k`, `0.25`, `3`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
