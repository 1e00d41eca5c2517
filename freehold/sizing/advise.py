"""Nine ways ranked for one need; why each is not first; and what would change the answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from freehold.sizing.approaches import WAYS, Option, look
from freehold.sizing.doubt import THUMB, Range, best, doubted
from freehold.sizing.facts import Fact, Facts
from freehold.sizing.need import CHANGES, QUALITY, SKILLS, Need

_LEVELS = ("Public", "Internal", "Confidential", "Restricted")
_HIGHEST = 1e9
"""Requests a day beyond which nothing is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A way at its place."""

    option: Option
    because: str
    """Why it is first, or why it is not."""
    cost: Range
    """USD over three years."""
    energy: Range
    """kWh over three years."""

    @property
    def months(self) -> Range:
        """Until it works: a rule of thumb."""
        months = self.option.way.months
        return Range((1 - THUMB) * months, (1 + THUMB) * months)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What came of it."""

    ways: tuple[Ranked, ...]
    """All nine, the best first."""
    flips: tuple[str, ...]
    """What would put another way first."""
    facts: tuple[Fact, ...]
    """The figures it stands on."""
    warnings: tuple[str, ...]

    @property
    def first(self) -> str | None:
        """The name of the way that is advised; None when none is open and good enough."""
        return best([one.option for one in self.ways])


def advise(facts: Facts, need: Need, today: dt.date) -> Advice:
    """Rank the nine ways. What is forbidden comes last, what is not good enough before it."""
    options = rank(facts, need)
    doubt = doubted(facts, need, options, rank)
    ways = tuple(
        Ranked(
            option=option,
            because=_because(option, options[0]),
            cost=doubt.cost[option.way.name],
            energy=doubt.energy[option.way.name],
        )
        for option in options
    )
    flips = [*_flips(facts, need, best(options)), *(f"with {at}: {_named(name)}" for at, name in doubt.flips)]
    used = tuple(facts.used[name] for name in sorted(facts.used))
    warnings = (*doubt.left_out, *facts.warnings(today))
    return Advice(ways=ways, flips=tuple(flips), facts=used, warnings=warnings)


def rank(facts: Facts, need: Need) -> list[Option]:
    """The nine ways in order: open and good enough by cost; then not good enough; then forbidden."""
    options = [look(facts, need, name) for name in WAYS]
    return sorted(options, key=lambda o: (bool(o.closed), bool(o.short), o.cost, o.way.name))


def _because(option: Option, first: Option) -> str:
    if option.closed:
        return option.closed
    if option.short:
        return option.short
    if option is first:
        return "nothing forbids it, it should be good enough, and it costs least"
    return f"it costs {option.cost - first.cost:,.0f} USD more"


# -- what would change the answer -------------------------------------------------------------------


def _flips(facts: Facts, need: Need, now: str | None) -> Iterator[str]:
    yield from _volume(facts, need)
    for word, changed in _neighbours(need):
        other = best(rank(facts, changed))
        if other != now:
            yield f"{word}: {_named(other)}"


def _volume(facts: Facts, need: Need) -> Iterator[str]:
    """Where, on the way to very many requests a day, another one becomes first, or is had in another way."""
    low, now = need.requests_a_day, _had(facts, need, need.requests_a_day)
    while now.name and (high := min(low * 2, _HIGHEST)) > low:
        if _had(facts, need, high) != now:
            low = _between(facts, need, low, high, now)
            then = _had(facts, need, low)
            at = _tokens(low * (need.tokens_in + need.tokens_out))
            yield f"above {at} tokens a day: {_turned(now, then)}"
            now = then
        else:
            low = high


class _Had(NamedTuple):
    """The way that comes first, and whether an external model serves it."""

    name: str | None
    outside: bool


def _had(facts: Facts, need: Need, requests: float) -> _Had:
    options = rank(facts, replace(need, requests_a_day=requests))
    first = options[0]
    return _Had(best(options), first.outside) if best(options) else _Had(None, False)


def _turned(now: _Had, then: _Had) -> str:
    if then.name != now.name:
        return _named(then.name)
    if then.outside:
        return f"still {then.name}, over an external model, which then costs less than your machines"
    return f"still {then.name}, on your machines, which then cost less than an external model"


def _between(facts: Facts, need: Need, low: float, high: float, now: _Had) -> float:
    """The first that is another."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if _had(facts, need, middle) == now else (low, middle)
    return high


def _neighbours(need: Need) -> Iterator[tuple[str, Need]]:
    """The same need with one answer another."""
    for level in _LEVELS:
        if level != need.sensitivity:
            yield f"if what is asked were {level}", replace(need, sensitivity=level)
    for quality in QUALITY:
        if quality != need.quality:
            yield f"if {quality} quality were asked for", replace(need, quality=quality)
    for skills in SKILLS:
        if skills != need.skills:
            yield f"with {_SKILLS[skills]}", replace(need, skills=skills)
    for factor in (10, 0.1):
        if need.examples * factor >= 1:
            changed = need.examples * factor
            yield f"with {changed:,.0f} examples", replace(need, examples=changed)
    if need.knowledge == "ours":
        for word in CHANGES:
            if word != need.changes:
                yield f"if what it knows changed {word}", replace(need, changes=word)
    yield f"with {need.budget / 10:,.0f} USD", replace(need, budget=need.budget / 10)
    yield f"with {need.budget * 10:,.0f} USD", replace(need, budget=need.budget * 10)


_SKILLS = {
    "none": "nobody who trains models",
    "some": "somebody who trains models",
    "team": "a team that trains models",
}


def _named(name: str | None) -> str:
    return f"{name}, {WAYS[name].words}" if name else "nothing here would do"


def _tokens(count: float) -> str:
    for unit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f} {word}"
    return f"{count:.0f}"
