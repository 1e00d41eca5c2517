"""From where to where a figure may lie, and which facts move it: the same plan with one fact another.

Each fact that was used and has a range is put to its low and to its high end while the others stay, on the
same devices. What moves one way is added up as the root of the sum of squares, as for facts that know nothing
of each other. Twice as many plans as facts, and no assumption about how a figure comes about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section
from freehold.sizing.serving import Choice
from freehold.sizing.training import OnDevice
from freehold.sizing.workload import Workload

LEAST = 0.001
"""Share by which a fact has to move a figure to be named with it."""
TOLD = 8

Planned = Callable[[Facts, Workload, tuple[OnDevice, ...], tuple[Choice, ...]], Iterable[Section]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one fact does to the money."""

    fact: str
    low: float
    """USD a year less or more with the fact at its low end."""
    high: float

    @property
    def width(self) -> float:
        return abs(self.high - self.low)


Key = tuple[str, str]
"""Section and figure."""


def spread(
    facts: Facts,
    work: Workload,
    planned: Sequence[Section],
    trained: tuple[OnDevice, ...],
    served: tuple[Choice, ...],
    again: Planned,
) -> tuple[tuple[Section, ...], tuple[Move, ...]]:
    """The same sections with ranges, labels and the facts that move each figure; and what moves the money."""
    base = _values(again(facts, work, trained, served))
    below: dict[Key, float] = dict.fromkeys(base, 0.0)
    above: dict[Key, float] = dict.fromkeys(base, 0.0)
    named: dict[Key, set[str]] = {key: set() for key in base}
    moves = []
    head = _money(base)
    for name, fact in sorted(facts.used.items()):
        if fact.low == fact.high:
            continue
        ends = [
            _values(again(facts.instead(name, end), work, trained, served)) for end in (fact.low, fact.high)
        ]
        for key, value in base.items():
            moved = [end[key] - value for end in ends if key in end]
            if not moved or max(map(abs, moved)) <= LEAST * abs(value):
                continue
            named[key].add(name)
            below[key] += min(0.0, *moved) ** 2
            above[key] += max(0.0, *moved) ** 2
        if head is not None:
            low, high = (end.get(head, base[head]) - base[head] for end in ends)
            if low or high:
                moves.append(Move(fact=name, low=low, high=high))
    ranged = tuple(_ranged(facts, section, base, below, above, named) for section in planned)
    return ranged, tuple(sorted(moves, key=lambda move: -move.width)[:TOLD])


def _values(sections: Iterable[Section]) -> dict[Key, float]:
    return {(one.name, figure.name): figure.value for one in sections for figure in one.figures}


def _money(base: dict[Key, float]) -> Key | None:
    """The figure that people ask for first: serving, rented; else training."""
    return next(
        (key for key in (("money", "serving, cloud"), ("money", "training, rented")) if key in base), None
    )


def _ranged(
    facts: Facts,
    section: Section,
    base: dict[Key, float],
    below: dict[Key, float],
    above: dict[Key, float],
    named: dict[Key, set[str]],
) -> Section:
    figures = []
    for figure in section.figures:
        key = (section.name, figure.name)
        if not math.isclose(base.get(key, math.inf), figure.value, rel_tol=1e-6, abs_tol=1e-12):
            # it comes from other devices than the chosen ones: no range is better than one of something else
            by = tuple(sorted({*figure.facts} & facts.used.keys()))
            figures.append(replace(figure, facts=by, label=_label(facts, figure, by)))
            continue
        low = figure.value - math.sqrt(below[key])
        low = max(0.0, low) if figure.value >= 0 else low
        by = tuple(sorted({*figure.facts, *named[key]} & facts.used.keys()))
        figures.append(
            replace(
                figure,
                low=low,
                high=figure.value + math.sqrt(above[key]),
                facts=by,
                label=_label(facts, figure, by),
            )
        )
    return replace(section, figures=tuple(figures))


def _label(facts: Facts, figure: Figure, by: Sequence[str]) -> str:
    """Estimated where one of its facts is; measured only where it was said to be."""
    if figure.label != "derived":
        return figure.label
    labels = {facts.used[name].label for name in by if name in facts.used}
    return "estimated" if "estimated" in labels else "derived"
