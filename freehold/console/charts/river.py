"""The line as a river: data sets flow into models, models into services, services into answers.

Width is volume, within each column by its own measure (rows, answers); colour is sensitivity. What
is held ends where it stands; what waits is drawn as an outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from freehold.console.charts import svg
from freehold.console.charts.svg import NARROW, WIDE, Screen
from freehold.console.words import cut

TOP, BAR, GAP, LEAST = 34, 9, 16, 34
"""Pixels: above the first place, a place's thickness, between two places, a place's least height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something the river flows through."""

    id: str
    column: int
    """0 data sets, 1 models, 2 services, 3 answers."""
    word: str
    note: str = ""
    volume: float = 0
    tone: str = ""
    """A class: `s1` to `s4`, Public to Restricted; empty for what has none of its own."""
    state: str = ""
    """`held`, `waiting`, `stopped`, `gone`; empty for what flows."""
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Water from one place to the next."""

    source: str
    target: str
    volume: float
    tone: str
    waits: bool = False


@dataclass(frozen=True, slots=True)
class _Box:
    place: Place
    x: float
    y: float
    height: float


COLUMNS = ("data sets", "models", "services", "answers, 24 h")


def river(places: Sequence[Place], flows: Sequence[Flow], *, label: str) -> Markup:
    """Places in the order they are drawn, top down within their column."""
    return svg.both(lambda screen: _draw(places, flows, screen, label), WIDE, NARROW)


def _draw(places: Sequence[Place], flows: Sequence[Flow], screen: Screen, label: str) -> Markup:
    most = max((sum(place.column == column for place in places) for column in range(4)), default=1)
    height = max(190, most * (LEAST + 26 + GAP)) + TOP
    boxes = {box.place.id: box for column in range(4) for box in _column(places, column, screen, height)}
    drawn = [*_heads(screen)]
    drawn += _flows([flow for flow in flows if {flow.source, flow.target} <= set(boxes)], boxes)
    drawn += [_place(box, screen) for box in boxes.values()]
    return svg.drawing(screen, height + 6, label, *drawn, kind="river")


def _x(column: int, screen: Screen) -> float:
    if column == 3:
        return screen.width - BAR
    return column * (screen.width - BAR) * (0.27 if screen.name == "wide" else 0.3)


def _heads(screen: Screen) -> list[Markup]:
    drawn = []
    for column, word in enumerate(COLUMNS):
        if column == 3:
            drawn.append(svg.text(screen.width, 14, word if screen.name == "wide" else "24 h", "head", "end"))
        else:
            drawn.append(svg.text(_x(column, screen), 14, word, "head"))
    return drawn


def _column(places: Sequence[Place], column: int, screen: Screen, height: float) -> list[_Box]:
    """A column's places, as high as their volumes, none lower than its words."""
    shown = [place for place in places if place.column == column]
    total = sum(place.volume for place in shown)
    room = height - TOP - GAP * (len(shown) - 1) - LEAST * len(shown)
    spread = room * (1.0 if total else 0.0)
    y, boxes = float(TOP), []
    for place in shown:
        tall = LEAST + (spread * place.volume / total if total else 0)
        boxes.append(_Box(place, _x(column, screen), y, tall))
        y += tall + GAP
    return boxes


def _flows(flows: Sequence[Flow], boxes: Mapping[str, _Box]) -> list[Markup]:
    """Each flow between its shares of both banks."""
    leaving = _banks([(flow.source, flow.target, flow.volume) for flow in flows], boxes)
    arriving = _banks([(flow.target, flow.source, flow.volume) for flow in flows], boxes)
    return [
        _band(flow, boxes, here, there) for flow, here, there in zip(flows, leaving, arriving, strict=True)
    ]


def _banks(ends: Sequence[tuple[str, str, float]], boxes: Mapping[str, _Box]) -> list[tuple[float, float]]:
    """(top, height) of each flow at this end, stacked in the order of its other end: so that few cross."""
    totals: dict[str, float] = {}
    for here, _, volume in ends:
        totals[here] = totals.get(here, 0) + volume
    reached: dict[str, float] = {}
    found: dict[int, tuple[float, float]] = {}
    for number in sorted(range(len(ends)), key=lambda n: boxes[ends[n][1]].y):
        here, _, volume = ends[number]
        box = boxes[here]
        share = volume / totals[here] if totals[here] else 1 / sum(end[0] == here for end in ends)
        top = reached.get(here, box.y)
        found[number] = (top, box.height * share)
        reached[here] = top + box.height * share
    return [found[number] for number in range(len(ends))]


def _band(
    flow: Flow, boxes: Mapping[str, _Box], here: tuple[float, float], there: tuple[float, float]
) -> Markup:
    x0, x1 = boxes[flow.source].x + BAR, boxes[flow.target].x
    middle = (x0 + x1) / 2
    (y0, h0), (y1, h1) = here, there
    outline = (
        f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        f"V{y1 + h1:.1f}C{middle:.1f} {y1 + h1:.1f} {middle:.1f} {y0 + h0:.1f} {x0:.1f} {y0 + h0:.1f}Z"
    )
    return svg.el("path", d=outline, class_=f"flow {flow.tone}{' waits' if flow.waits else ''}")


def _place(box: _Box, screen: Screen) -> Markup:
    place = box.place
    last = place.column == 3
    x = box.x - 8 if last else box.x + BAR + 8
    letters = screen.fits(_x(1, screen) - BAR - 12)
    anchor = "end" if last else None
    note = place.note if screen.name == "wide" else place.note.partition(" · ")[0]
    y = box.y + (box.height / 2 if last else LEAST / 2)
    return svg.link(
        place.href,
        svg.rect(box.x, box.y, BAR, box.height, f"bank {place.tone} {place.state}".strip()),
        svg.text(x, y - 3, cut(place.word, letters), "word", anchor),
        svg.text(x, y + 13, cut(note, letters), f"note {place.state}".strip(), anchor),
        svg.title(f"{place.word}: {place.note}"),
        label=f"{COLUMNS[place.column]}: {place.word}, {place.note}",
    )
