"""Ways to pay for devices: bought, leased, in colocation or a room of your own; cash by year."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from freehold.sizing import costs
from freehold.sizing.costs import Devices
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Row
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.workload import Workload
from freehold.spec.sensitivity import Sensitivity


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to pay for it."""

    name: str
    words: str
    upfront: float
    """USD before anything answers."""
    years: tuple[float, ...]
    """USD of each year."""
    people: float
    """USD of these that are people."""
    closed: str = ""
    """Why it may not be taken; empty where it may."""

    @property
    def total(self) -> float:
        return self.upfront + sum(self.years)

    def cash(self) -> tuple[float, ...]:
        """What has been paid at the beginning, and at the end of each year."""
        paid = [self.upfront]
        for year in self.years:
            paid.append(paid[-1] + year)
        return tuple(paid)

    def cash_row(self, rate: float) -> Row:
        """Of a table: the beginning, each year, and all of it, `rate` of the currency for a dollar."""
        row: dict[str, str | int | float] = {
            "way": self.name,
            "at the beginning": f"{self.upfront * rate:,.0f}",
        }
        for year, cost in enumerate(self.years, start=1):
            row[f"year {year}"] = f"{cost * rate:,.0f}"
        return {**row, "in all": f"{self.total * rate:,.0f}"}


_ELSEWHERE = ("API", "cloud", "cloud, committed")
CLOSED = "not for Restricted, which stays on your ground"


def ordered(work: Workload, found: Iterable[Way]) -> tuple[Way, ...]:
    """The cheapest first, what may not be taken last."""
    if Sensitivity.parse(work.sensitivity) >= Sensitivity.RESTRICTED:
        found = [replace(way, closed=CLOSED) if way.name in _ELSEWHERE else way for way in found]
    return tuple(sorted(found, key=lambda way: (bool(way.closed), way.total, way.name)))


def shares_of(work: Workload) -> tuple[float, ...]:
    """Of each year, how much of it is planned."""
    return tuple(min(1.0, work.years - year) for year in range(math.ceil(work.years)))


def owning(
    facts: Facts,
    work: Workload,
    fleets: Sequence[Devices],
    shares: Sequence[float],
    hours: float = HOURS_A_YEAR,
) -> Iterator[Way]:
    """Leased and bought, where the device can be: as many as each year needs, at work `hours` a year."""
    if fleets and facts.get(f"device.{fleets[0].device}.buy") is not None:
        yield _leased(facts, work, fleets, shares, hours)
        yield _bought(facts, work, fleets, shares, hours, "colocation", "bought, in colocation")
        yield _bought(facts, work, fleets, shares, hours, "own", "bought, in a room of your own")


def _leased(
    facts: Facts, work: Workload, fleets: Sequence[Devices], shares: Sequence[float], hours: float
) -> Way:
    years, people = [], 0.0
    for fleet, share in zip(fleets, shares, strict=True):
        staff = costs.staff(facts, fleet)
        lease = costs.price(facts, fleet) * facts("lease.month") * 12
        power = costs.energy(facts, work, fleet, "colo", hours)
        years.append((lease + costs.ground(facts, fleet) + power + staff) * share)
        people += staff * share
    return Way(name="lease", words="leased, in colocation", upfront=0, years=tuple(years), people=people)


def _bought(
    facts: Facts,
    work: Workload,
    fleets: Sequence[Devices],
    shares: Sequence[float],
    hours: float,
    name: str,
    words: str,
) -> Way:
    """Bought as it is needed, bought again at the end of its life, sold for what is left at the end."""
    own = name == "own"
    life = max(1, round(facts("own.life")))
    held, upfront, people, years = 0.0, 0.0, 0.0, []
    for year, (fleet, share) in enumerate(zip(fleets, shares, strict=True)):
        worth = costs.price(facts, fleet)
        again = held if year and year % life == 0 else 0.0
        buys = max(0.0, worth - held) + again
        if own:
            room = max(0.0, worth - held) / worth * costs.kilowatts(facts, fleet) * facts("own.room_kw")
            buys += room * min(1.0, math.ceil(work.years) / facts("own.room_life"))
        held = max(held, worth)
        staff = costs.staff(facts, fleet)
        run = held * facts("own.support") + staff
        run += costs.energy(facts, work, fleet, "own" if own else "colo", hours)
        run += 0 if own else costs.ground(facts, fleet)
        people += staff * share
        upfront += buys if year == 0 else 0
        years.append(run * share + (buys if year else 0))
    years[-1] -= held * facts("own.residual")
    return Way(name=name, words=words, upfront=upfront, years=tuple(years), people=people)
