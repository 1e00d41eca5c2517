"""Bars: a column's histogram, answers hour by hour, one bar divided into parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from freehold.console.charts import svg
from freehold.console.charts.svg import HALF, NARROW, Screen

LEFT, RIGHT, TOP, BOTTOM = 46, 46, 38, 26


def histogram(
    bins: Sequence[tuple[str, float]], *, label: str, height: int = 120, wide: Screen = HALF
) -> Markup:
    """(word, count) per bin as bars with the words below where they fit."""
    if not bins:
        return svg.el("p", "Nothing to draw yet", class_="muted")
    return svg.both(lambda screen: _histogram(bins, screen, height, label), wide, NARROW)


def _histogram(bins: Sequence[tuple[str, float]], screen: Screen, height: int, label: str) -> Markup:
    top, bottom, most = 14, 20, max(count for _, count in bins) or 1
    pitch = screen.width / len(bins)
    every = -(-len(bins) // max(1, int(screen.width / 64)))
    drawn = []
    for number, (word, count) in enumerate(bins):
        tall = (height - top - bottom) * count / most
        x = number * pitch
        note = svg.title(f"{word}: {count:,.0f}")
        drawn.append(svg.rect(x + 1, height - bottom - tall, pitch - 2, max(tall, 0.5), "bar", note))
        if number % every == 0:
            short = word[: screen.fits(pitch * every - 6)]
            drawn.append(svg.text(x + pitch / 2, height - 5, short, "tick", "middle"))
    return svg.drawing(screen, height, label, *drawn, kind="histogram")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One column of a day."""

    word: str
    parts: tuple[float, ...]
    """From the bottom up."""
    line: float | None = None
    """The second measure's value, drawn as a line with a scale of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened: between columns, with where to read on."""

    at: float
    """In columns from the left: 3.5 is the middle of the fourth."""
    word: str
    href: str


def day(
    hours: Sequence[Hour],
    marks: Sequence[Mark],
    *,
    label: str,
    classes: Sequence[str],
    line_word: str,
    height: int = 240,
    wide: Screen = HALF,
) -> Markup:
    """Stacked columns with a line over them and marks above; `classes` colours the parts."""
    return svg.both(
        lambda screen: _day(hours, marks, screen, height, label, classes, line_word), wide, NARROW
    )


def _day(
    hours: Sequence[Hour],
    marks: Sequence[Mark],
    screen: Screen,
    height: int,
    label: str,
    classes: Sequence[str],
    line_word: str,
) -> Markup:
    most = svg.nice(max((sum(hour.parts) for hour in hours), default=0) or 1)
    drawn = [
        *_left_axis(screen, height, most),
        *_columns(hours, screen, height, most, classes),
        *_second(hours, screen, height, line_word),
        *(_mark(mark, len(hours), screen, height) for mark in marks),
    ]
    return svg.drawing(screen, height, label, *drawn, kind="day")


def _pitch(screen: Screen, columns: int) -> float:
    return (screen.width - LEFT - RIGHT) / max(1, columns)


def _left_axis(screen: Screen, height: int, most: float) -> list[Markup]:
    drawn = []
    for value in svg.ticks(0, most, 3):
        y = TOP + (height - TOP - BOTTOM) * (1 - value / most)
        drawn.append(svg.line(LEFT, y, screen.width - RIGHT, y, "grid"))
        drawn.append(svg.text(LEFT - 6, y + 4, svg.brief(value), "tick", "end"))
    drawn.append(svg.text(0, 12, "answers an hour", "tick"))
    return drawn


def _columns(
    hours: Sequence[Hour], screen: Screen, height: int, most: float, classes: Sequence[str]
) -> list[Markup]:
    pitch, floor = _pitch(screen, len(hours)), height - BOTTOM
    every = -(-len(hours) // (8 if screen.width > 400 else 5))
    drawn = []
    for number, hour in enumerate(hours):
        y = float(floor)
        x = LEFT + number * pitch
        for part, class_ in zip(hour.parts, classes, strict=True):
            tall = (floor - TOP) * part / most
            if part:
                tall = max(tall, 1.5)  # one failed answer among thousands is seen
                y -= tall
                drawn.append(svg.rect(x + 1, y, pitch - 2, tall, class_))
        if number % every == 0:
            drawn.append(svg.text(x + pitch / 2, height - 8, hour.word, "tick", "middle"))
    return drawn


def _second(hours: Sequence[Hour], screen: Screen, height: int, word: str) -> list[Markup]:
    values = [hour.line for hour in hours if hour.line is not None]
    if not values:
        return []
    most, pitch, right = svg.nice(max(values)), _pitch(screen, len(hours)), screen.width - RIGHT
    tall = height - TOP - BOTTOM
    drawn = [
        svg.text(right + 6, TOP + tall * (1 - value / most) + 4, svg.brief(value), "tick")
        for value in svg.ticks(0, most, 3)
    ]
    drawn.append(svg.text(screen.width, 12, word, "tick", "end"))
    for piece in _unbroken(hours):
        points = [(LEFT + (n + 0.5) * pitch, TOP + tall * (1 - value / most)) for n, value in piece]
        drawn.append(svg.el("path", d=svg.path(points), class_="over"))
        drawn += [svg.el("circle", cx=x, cy=y, r=2, class_="over-dot") for x, y in points]
    return drawn


def _unbroken(hours: Sequence[Hour]) -> list[list[tuple[int, float]]]:
    """Runs of columns that have a value: a line over an hour without answers would be made up."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for number, hour in enumerate(hours):
        if hour.line is None:
            pieces.append([])
        else:
            pieces[-1].append((number, hour.line))
    return [piece for piece in pieces if piece]


def _mark(mark: Mark, columns: int, screen: Screen, height: int) -> Markup:
    x = LEFT + mark.at * _pitch(screen, columns)
    return svg.link(
        mark.href,
        svg.title(mark.word),
        svg.line(x, TOP - 6, x, height - BOTTOM, "mark-line"),
        svg.el("path", d=f"M{x - 6:.1f} {TOP - 16}h12l-6 10z", class_="mark-sign"),
        label=mark.word,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a divided bar."""

    word: str
    share: float
    """Of one."""
    class_: str


def meter(parts: Sequence[Part], *, label: str, mark: float, mark_word: str, wide: Screen = HALF) -> Markup:
    """One bar divided into parts, with a mark at a share of it."""
    return svg.both(lambda screen: _meter(parts, screen, label, mark, mark_word), wide, NARROW)


def _meter(parts: Sequence[Part], screen: Screen, label: str, mark: float, mark_word: str) -> Markup:
    height, top, bottom, x = 78, 24, 60, 0.0
    drawn = []
    for part in parts:
        wide = screen.width * part.share
        if part.share > 0:
            wide = max(wide, 2.0)
            drawn.append(svg.rect(x, top, min(wide, screen.width - x), bottom - top, part.class_))
            x += wide
    at = screen.width * mark
    drawn.append(svg.line(at, top - 6, at, bottom + 6, "mark-line"))
    drawn.append(svg.text(at + 5, top - 9, mark_word, "tick"))
    drawn.append(svg.text(0, height - 2, "0 %", "tick"))
    drawn.append(svg.text(screen.width, height - 2, "100 %", "tick", "end"))
    return svg.drawing(screen, height, label, *drawn, kind="meter")


def budget(left: float, *, label: str) -> Markup:
    """What is left of an error budget, of one; all of it spent where it is overspent."""
    width, height, edge = 160, 12, 160 * min(max(left, 0.0), 1.0)
    spent = "e-failed" if left < 0 else "m-idle"
    return svg.el(
        "svg",
        svg.title(label),
        svg.rect(0, 0, edge, height, "e-answered"),
        svg.rect(edge, 0, width - edge, height, spent),
        class_="drawing budget",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=label,
    )
