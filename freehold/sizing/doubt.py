"""From where to where the cost of each way may lie, and which figure at its end puts another way first.

As for a plan: each fact that was used and has a range is put to both of its ends while the others stay, and
what moves one way is added up as the root of the sum of squares. Months and people are rules of thumb: they
are taken to be as far off as anything estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from freehold.sizing.approaches import NO_DEVICE, Option
from freehold.sizing.facts import SPREAD, Facts
from freehold.sizing.need import Need
from freehold.sizing.spread import at_end, groups, words_of

THUMB = SPREAD["estimated"]
"""How far a rule of thumb may be off, as a share."""
Rank = Callable[[Facts, Need], list[Option]]


@dataclass(frozen=True, slots=True)
class Range:
    """From where to where."""

    low: float
    high: float


@dataclass(slots=True)
class _Sum:
    """Of squares, of what moves a figure down and up. Owned by `doubted` until it is a range."""

    value: float
    below: float = 0.0
    above: float = 0.0

    def moved(self, *ends: float) -> None:
        changes = [end - self.value for end in ends]
        self.below += min(0.0, *changes) ** 2
        self.above += max(0.0, *changes) ** 2

    def range(self) -> Range:
        return Range(max(0.0, self.value - math.sqrt(self.below)), self.value + math.sqrt(self.above))


@dataclass(slots=True)
class _Way:
    cost: _Sum
    energy: _Sum


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is known of how sure advice is."""

    cost: dict[str, Range]
    """USD over three years, by way."""
    energy: dict[str, Range]
    """kWh over three years."""
    flips: tuple[tuple[str, str | None], ...]
    """(which fact at which end, the way that is first then)"""
    left_out: tuple[str, ...] = field(default=())
    """Ways that no device serves with a fact at its end: no range holds that."""


def doubted(facts: Facts, need: Need, options: Sequence[Option], rank: Rank) -> Doubt:
    """The same ranking with each fact at its ends; `options` are those of the facts as they are."""
    ways = {o.way.name: _Way(_Sum(o.cost), _Sum(o.energy)) for o in options}
    for one in options:
        ways[one.way.name].cost.moved(one.cost - THUMB * one.labour, one.cost + THUMB * one.labour)
    now, flips = best(options), list[tuple[str, str | None]]()
    left_out = list[str]()
    for names in list(groups(facts)):
        ends = [at_end(facts, names, end) for end in ("low", "high")]
        ranked = [rank(moved, need) for moved in ends]
        for moved, found in zip(ends, ranked, strict=True):
            if best(found) != now:
                flips.append((words_of(moved, names), best(found)))
            left_out += _unserved(options, found, words_of(moved, names))
        for name, way in ways.items():
            held = [o for found in ranked for o in found if o.way.name == name and o.how != NO_DEVICE]
            way.cost.moved(*(o.cost for o in held), way.cost.value)
            way.energy.moved(*(o.energy for o in held), way.energy.value)
    return Doubt(
        cost={name: way.cost.range() for name, way in ways.items()},
        energy={name: way.energy.range() for name, way in ways.items()},
        flips=tuple(flips),
        left_out=tuple(left_out),
    )


def best(options: Sequence[Option]) -> str | None:
    """The name of what comes first; None when that is not open or not good enough."""
    return None if options[0].closed or options[0].short else options[0].way.name


def _unserved(options: Sequence[Option], found: Sequence[Option], at: str) -> Iterator[str]:
    served = {option.way.name for option in options if option.how != NO_DEVICE}
    for option in found:
        if option.how == NO_DEVICE and option.way.name in served:
            yield f"{option.way.name}: with {at} no known device does it, and its range leaves that out"
