"""What a report shows, before anybody says on what: sections of rows and pictures; and it on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDTH = 40
"""Characters of the longest bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure, and how it came to be."""

    name: str
    text: str
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A value with what is written behind it."""

    name: str
    value: float
    said: str
    peer: bool = False
    """A limit or something to compare with, not what was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Values beside each other, from nought."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points, joined; the axis on the left begins at nought."""

    title: str
    across: str
    up: str
    points: tuple[tuple[float, float], ...]
    limit: float | None = None
    """A line to be above, or below."""
    limit_says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One subject."""

    title: str
    notes: tuple[str, ...] = ()
    """To be read before the figures: stamps."""
    rows: tuple[Row, ...] = ()
    pictures: tuple[Bars | Curve, ...] = ()
    enough: bool | None = None
    """Of a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole report."""

    title: str
    says: str
    """What it is not; stands on top of everything."""
    sections: tuple[Section, ...]
    papers: tuple[Row, ...]


def text(page: Page) -> str:
    """For a terminal."""
    parts = [f"{page.title}\n{page.says}", *(_section(one) for one in page.sections)]
    return "\n\n".join(parts)


def _section(section: Section) -> str:
    lines = [section.title, *(f"  ! {note}" for note in section.notes), *_rows(section.rows)]
    for picture in section.pictures:
        lines += ["", f"  {picture.title}"]
        lines += _bars(picture.bars) if isinstance(picture, Bars) else _bars(_of_curve(picture))
    return "\n".join(lines)


def _rows(rows: Iterable[Row]) -> Iterator[str]:
    found = list(rows)
    name = max((len(row.name) for row in found), default=0)
    figure = max((len(row.text) for row in found), default=0)
    for row in found:
        yield f"  {row.name.ljust(name)}  {row.text.ljust(figure)}  {row.because}".rstrip()


def _bars(bars: Iterable[Bar]) -> Iterator[str]:
    found = list(bars)
    longest = max((bar.value for bar in found), default=0) or 1
    name = max((len(bar.name) for bar in found), default=0)
    for bar in found:
        filled = (("░" if bar.peer else "█") * round(WIDTH * bar.value / longest)).ljust(WIDTH)
        yield f"    {bar.name.rjust(name)} {filled} {bar.said}"


def _of_curve(curve: Curve) -> Iterator[Bar]:
    for across, up in curve.points:
        what = curve.across.removesuffix("s") if across == 1 else curve.across
        yield Bar(name=f"{across:g} {what}", value=up, said=f"{up:.3g} {curve.up}")
    if curve.limit is not None:
        yield Bar(name=curve.limit_says, value=curve.limit, said=f"{curve.limit:.3g} {curve.up}", peer=True)
