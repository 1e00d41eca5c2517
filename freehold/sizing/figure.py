"""One number of a plan and how it came to be; and what a plan is made of: sections, tables, notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its unit, its label, its formula, the facts it stands on and the range it lies in."""

    name: str
    value: float
    unit: str
    formula: str
    facts: tuple[str, ...] = field(default=())
    """Names of facts: those that were named with it, and those that move it."""
    label: str = "derived"
    """measured | derived | estimated: derived from nothing but measured and derived facts, or from others."""
    low: float | None = None
    """If every fact lies in its own range; none where that was not looked at."""
    high: float | None = None

    def text(self) -> str:
        """Rounded to three digits, with thousands apart."""
        return f"{rounded(self.value)} {self.unit}".rstrip()

    def range_text(self) -> str:
        """From where to where; empty where it does not move."""
        if self.low is None or self.high is None or self.high - self.low <= 0.005 * abs(self.value):
            return ""
        return f"{rounded(self.low)} to {rounded(self.high)}"


def rounded(value: float) -> str:
    """Three digits, thousands apart."""
    large = abs(value) >= 1000
    return f"{value:,.0f}" if large and abs(value) < 1e12 else f"{value:.3g}"


Row = Mapping[str, str | int | float]
"""Of a table; cells are texts or numbers as they are to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that are alike."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a plan."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences: what it means, what to look at."""
    breaks: str = ""
    """Which constraint breaks first, and what would satisfy it; empty where all of them hold."""

    def value(self, name: str) -> float:
        """A figure's value. Raises KeyError."""
        for figure in self.figures:
            if figure.name == name:
                return figure.value
        raise KeyError(name)
