"""What trainings cost: rented by the hour or the year, leased, bought; from how many hours on to own."""

from __future__ import annotations

from collections.abc import Iterator

from freehold.sizing import costs
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Row, Table
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.training import OnDevice, Pool, pool
from freehold.sizing.ways import Way, ordered, owning, shares_of
from freehold.sizing.workload import Workload

SHOWN = 0.01
"""Share of a year below which nobody looks at devices of one's own: a run of minutes is rented."""


def ways(facts: Facts, work: Workload, trained: tuple[OnDevice, ...]) -> tuple[Way, ...]:
    """All that can train it, the cheapest first, what may not be taken last; people where it is yours."""
    if work.train is None or not trained:
        return ()
    takes, shares = pool(work.train, trained[0]), shares_of(work)
    rent = facts(f"device.{takes.device}.rent") * takes.devices
    found = [
        _rented("cloud", "by the hour, at list price", rent * takes.hours, shares),
        _rented(
            "cloud, committed",
            "by the year, at a contract's price",
            rent * facts("cloud.committed") * HOURS_A_YEAR,
            shares,
        ),
        *owning(facts, work, [takes] * len(shares), shares, takes.hours),
    ]
    return ordered(work, found)


def _rented(name: str, words: str, year: float, shares: tuple[float, ...]) -> Way:
    return Way(name=name, words=words, upfront=0, years=tuple(year * share for share in shares), people=0)


def figures(facts: Facts, work: Workload, trained: tuple[OnDevice, ...]) -> Iterator[Figure]:
    """The hours that are rented; and, where a year is full of them, every other way to pay."""
    if work.train is None or not trained:
        return
    rate, unit = costs.currency(facts, work)
    runs, takes = work.train.times_a_year * work.years, pool(work.train, trained[0])
    found = ways(facts, work, trained)
    rented = next(way for way in found if way.name == "cloud")
    said = f"{runs:g} runs on {trained[0].devices} x {trained[0].device}"
    yield Figure(
        name="training, rented",
        value=rented.total * rate,
        unit=unit,
        formula="; ".join(filter(None, (rented.closed, said))),
    )
    if _rented_alone(takes, found):
        return
    for way in found:
        if way is not rented:
            parts = (way.closed, way.words, f"{way.people * rate:,.0f} of it people" * bool(way.people))
            formula = "; ".join(filter(None, parts))
            yield Figure(name=f"training, {way.name}", value=way.total * rate, unit=unit, formula=formula)
    yield Figure(
        name="trainings take",
        value=100 * takes.hours / HOURS_A_YEAR,
        unit=f"% of a year of {takes.devices} x {takes.device}",
        formula="hours of a run x runs a year",
    )
    yield from _pays(facts, work, takes)


def _rented_alone(takes: Pool, found: tuple[Way, ...]) -> bool:
    """Whether nobody looks at another way: few hours, and they may be rented."""
    return takes.hours < SHOWN * HOURS_A_YEAR and not any(way.closed for way in found)


def _pays(facts: Facts, work: Workload, takes: Pool) -> Iterator[Figure]:
    """Hours at which what one owns, but for its energy, is what renting them costs more than that energy."""
    if facts.get(f"device.{takes.device}.buy") is None:
        return
    held = costs.own_a_year(facts, work, takes, hours=0)
    hour = facts(f"device.{takes.device}.rent") * takes.devices - costs.energy(facts, work, takes, "colo", 1)
    if hour > 0:
        yield Figure(
            name="owning pays for training above",
            value=100 * held / hour / HOURS_A_YEAR,
            unit="% of the hours of a year",
            formula="owned in colocation over rented, less energy; without people",
        )


def table(facts: Facts, work: Workload, trained: tuple[OnDevice, ...]) -> Iterator[Table]:
    """Cash by year, where there is more than one way to look at."""
    found = ways(facts, work, trained)
    if work.train is None or not found:
        return
    if _rented_alone(pool(work.train, trained[0]), found):
        return
    rate, unit = costs.currency(facts, work)
    rows: tuple[Row, ...] = tuple(way.cash_row(rate) for way in found)
    yield Table(title=f"training, cash by year, {unit}", columns=tuple(rows[0]), rows=rows)
