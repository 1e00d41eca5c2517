"""From where to where a figure may lie, and which facts move it: the same plan with one fact another.

Each fact that was used and has a range is put to its low and to its high end while the others stay, on the
same devices. What moves one way is added up as the root of the sum of squares, as for facts that know nothing
of each other; those that go together (the two prices of one list) are moved together. Twice as many plans as
facts, and no assumption about how a figure comes about. Where a figure is no more at such an end (the devices
do not do it, nothing is ever paid back), no range can hold that, and a note says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.sizing.facts import Facts, stem_of
from freehold.sizing.figure import Figure, Section
from freehold.sizing.serving import Choice
from freehold.sizing.training import OnDevice
from freehold.sizing.workload import Workload

LEAST = 0.001
"""Share by which a fact has to move a figure to be named with it."""
TOLD = 8
TOGETHER = (("api.small.in", "api.small.out"), ("api.large.in", "api.large.out"))
"""Facts that are high or low at the same time: a cheaper model costs less to read and less to write. So are
the points of a curve (`serve.decode_efficiency.8`, `.32`, …)."""

Planned = Callable[[Facts, Workload, tuple[OnDevice, ...], tuple[Choice, ...]], Iterable[Section]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one fact does to the money."""

    fact: str
    """Or several that go together."""
    low: float
    """USD a year less or more with the fact at its low end."""
    high: float

    @property
    def width(self) -> float:
        return abs(self.high - self.low)


Key = tuple[str, str]
"""Section and figure."""
_DEVICES = (("serving", "replicas"), ("training", "devices"))
"""Without these nothing of their section is left: the devices do not do it."""


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
    moves: list[Move] = []
    notes: list[tuple[str, str]] = []
    head = _money(base)
    for names in groups(facts):
        moved_facts = [at_end(facts, names, end) for end in ("low", "high")]
        ends = [_values(again(each, work, trained, served)) for each in moved_facts]
        for each, end in zip(moved_facts, ends, strict=True):
            notes += _gone(base, end, words_of(each, names))
        for key, value in base.items():
            moved = [end[key] - value for end in ends if key in end]
            if not moved or max(map(abs, moved)) <= LEAST * abs(value):
                continue
            named[key].update(names)
            below[key] += min(0.0, *moved) ** 2
            above[key] += max(0.0, *moved) ** 2
        if head is not None:
            low, high = (end.get(head, base[head]) - base[head] for end in ends)
            if low or high:
                moves.append(Move(fact=", ".join(sorted(set(map(stem_of, names)))), low=low, high=high))
    ranged = tuple(_doubted(_ranged(facts, section, base, below, above, named), notes) for section in planned)
    return ranged, tuple(sorted(moves, key=lambda move: -move.width)[:TOLD])


def groups(facts: Facts) -> Iterator[tuple[str, ...]]:
    """Facts that were used and have a range, each alone or with those that go with it."""
    wide = {name for name, fact in facts.used.items() if fact.low != fact.high}
    curves: dict[str, list[str]] = {}
    for name in sorted(wide):
        if (stem := stem_of(name)) != name:
            curves.setdefault(stem, []).append(name)
    together = [tuple(name for name in group if name in wide) for group in (*TOGETHER, *curves.values())]
    alone = wide.difference(*together)
    yield from sorted([*(group for group in together if group), *((name,) for name in alone)])


def at_end(facts: Facts, names: Sequence[str], end: str) -> Facts:
    """With these at their `low` or `high` end; the others as they are."""
    moved = facts
    for name in names:
        moved = moved.instead(name, getattr(facts.used[name], end))
    return moved


def words_of(facts: Facts, names: Sequence[str]) -> str:
    """`api.small.in at 0.1 and api.small.out at 0.4`; of a curve `serve.decode_efficiency at 0.24 to 0.52`"""
    if len(stems := {stem_of(name) for name in names}) < len(names):
        values = [facts(name) for name in names]
        return f"{stems.pop()} at {min(values):g} to {max(values):g}"
    return " and ".join(f"{name} at {facts(name):g}" for name in names)


def _gone(base: dict[Key, float], end: dict[Key, float], said: str) -> Iterator[tuple[str, str]]:
    """(section, note) for what is in the plan and no more at that end."""
    lost = [key for key in base if key not in end]
    held = [key for key in _DEVICES if key in lost]
    for section, _ in held:
        yield (
            section,
            f"with {said} these devices do not do it: the ranges leave that out, other devices would",
        )
    if not held:
        for section, figure in lost:
            yield section, f"{figure}: there is none with {said}, and the range leaves that out"


def _doubted(section: Section, notes: Sequence[tuple[str, str]]) -> Section:
    said = tuple(note for name, note in notes if name == section.name)
    return replace(section, notes=(*section.notes, *said))


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
