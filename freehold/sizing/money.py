"""Serving: own, colocate, lease, rent or buy by the token; cash by year; from how many tokens a day on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from freehold.sizing import breakeven, costs, formulas, training_money
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Row, Section, Table
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.serve import Fleet, Traffic, of_year, peak
from freehold.sizing.serving import Choice, traffic_of
from freehold.sizing.training import OnDevice
from freehold.sizing.ways import Way, ordered, owning, shares_of
from freehold.sizing.workload import Workload

GROWN = (1.0, 1.5, 2.0, 3.0)
"""Traffic of a year over that of the year before, for which the ways are told."""


def ways(facts: Facts, work: Workload, best: Choice | None) -> tuple[Way, ...]:
    """All that can serve it, the cheapest first, what may not be taken last; training is apart."""
    if work.serve is None:
        return ()
    traffics = [of_year(traffic_of(work.serve), work.growth, year) for year in range(math.ceil(work.years))]
    shares = shares_of(work)
    found = [_api(facts, work, traffics, shares)]
    if best is not None:
        fleets = [best.replica.fleet(facts, traffic) for traffic in traffics]
        found += [_rented(facts, fleets, shares), _committed(facts, fleets, shares)]
        found += owning(facts, work, fleets, shares)
    return ordered(work, found)


def _api(facts: Facts, work: Workload, traffics: Sequence[Traffic], shares: Sequence[float]) -> Way:
    request = costs.api_a_request(facts, work)
    years = tuple(t.requests_a_day * 365 * request * share for t, share in zip(traffics, shares, strict=True))
    paid = facts.get("api.paid") is not None
    words = "by the token, at what was paid" if paid else "by the token, at the list price of a small model"
    return Way(name="API", words=words, upfront=0, years=years, people=0)


def _rented(facts: Facts, fleets: Sequence[Fleet], shares: Sequence[float]) -> Way:
    people = facts("people.rented") * facts("people.year")
    years = tuple((f.hourly * HOURS_A_YEAR + people) * share for f, share in zip(fleets, shares, strict=True))
    return Way(
        name="cloud", words="by the hour, at list price", upfront=0, years=years, people=people * sum(shares)
    )


def _committed(facts: Facts, fleets: Sequence[Fleet], shares: Sequence[float]) -> Way:
    people, off = facts("people.rented") * facts("people.year"), facts("cloud.committed")
    years = tuple(
        (f.hourly * off * HOURS_A_YEAR + people) * share for f, share in zip(fleets, shares, strict=True)
    )
    return Way(
        name="cloud, committed",
        words="by the year, at a contract's price",
        upfront=0,
        years=years,
        people=people * sum(shares),
    )


# -- the section ------------------------------------------------------------------------------------


def section(
    facts: Facts,
    work: Workload,
    trained: tuple[OnDevice, ...],
    found: tuple[Choice, ...],
    brief: bool = False,
) -> Section:
    """USD, or the currency that was asked for; `brief`: the figures alone."""
    rate, unit = costs.currency(facts, work)
    best = found[0] if found else None
    paid = ways(facts, work, best)
    return Section(
        name="money",
        title=f"money, {unit}",
        figures=tuple(_figures(facts, work, trained, found, paid, rate, unit)),
        tables=()
        if brief
        else (
            *training_money.table(facts, work, trained),
            *_tables(facts, work, found, paid, rate, unit),
        ),
        notes=() if brief else tuple(_notes(facts, work, found, trained, rate, unit)),
    )


def _figures(
    facts: Facts,
    work: Workload,
    trained: tuple[OnDevice, ...],
    found: tuple[Choice, ...],
    paid: Sequence[Way],
    rate: float,
    unit: str,
) -> Iterator[Figure]:
    yield from training_money.figures(facts, work, trained)
    if work.serve is None:
        return
    tokens = _tokens(work)
    for way in paid:
        yield Figure(
            name=f"serving, {way.name}",
            value=way.total * rate,
            unit=unit,
            formula="; ".join(
                filter(None, (way.closed, way.words, f"{way.people * rate:,.0f} of it people"))
            ),
        )
    if paid:
        yield Figure(
            name="a million tokens",
            value=paid[0].total / tokens * 1e6 * rate,
            unit=unit,
            formula=f"{paid[0].name} over all tokens",
        )
    if found:
        yield from _turning(facts, work, found)


_BEATS = ((False, "rented devices beat the API above"), (True, "owned devices beat the API above"))


def _turning(facts: Facts, work: Workload, found: tuple[Choice, ...]) -> Iterator[Figure]:
    """From where on another way of paying is the cheaper one."""
    for own, name in _BEATS:
        at = breakeven.beats_the_api(facts, work, found, own)
        if at is not None:
            yield Figure(
                name=name,
                value=at / 1e6,
                unit="M tokens a day",
                formula="above it they always cost less than its tokens; "
                + ("with people" if own else "without people"),
                facts=("api.small.in", "api.small.out", "serve.utilisation"),
            )
    best = found[0].fleet
    if facts.get(f"device.{best.device}.buy") is not None:
        owned, rented = costs.own_a_year(facts, work, best), best.hourly * HOURS_A_YEAR
        yield Figure(
            name="owning pays above",
            value=100 * owned / rented,
            unit="% of the hours of a year",
            formula="owned a year over rented a year; without people",
        )
        running = owned - costs.price(facts, best) * (1 - facts("own.residual")) / facts("own.life")
        if rented > running:
            months = costs.price(facts, best) / (rented - running) * 12
            yield Figure(
                name="a purchase is paid back after",
                value=months,
                unit="months",
                formula="price over what renting costs more a year",
            )


def _tables(
    facts: Facts,
    work: Workload,
    found: tuple[Choice, ...],
    paid: Sequence[Way],
    rate: float,
    unit: str,
) -> Iterator[Table]:
    if not paid:
        return
    capital = facts("money.capital")
    rows = []
    for way in paid:
        worth = formulas.present_value((way.upfront, *way.years), capital)
        rows.append({**way.cash_row(rate), "worth today": f"{worth * rate:,.0f}"})
    yield Table(
        title=f"cash by year, {unit}; worth today at {capital:.0%} a year",
        columns=tuple(rows[0]),
        rows=tuple(rows),
    )
    if found:
        grown = tuple(_grown(facts, work, found[0], growth, rate) for growth in GROWN)
        yield Table(title=f"if traffic grows, {unit} in all", columns=tuple(grown[0]), rows=grown)
        yield Table(
            title="what moves break-even, M tokens a day",
            columns=("if", "rented", "owned"),
            rows=tuple(breakeven.moves(facts, work, found)),
        )


def _grown(facts: Facts, work: Workload, best: Choice, growth: float, rate: float) -> Row:
    """The same devices under another growth, and what is cheapest then."""
    paid = ways(facts, replace(work, growth=growth), best)
    row: Row = {"times a year": f"{growth:g}", "cheapest": paid[0].name}
    return {**row, **{way.name: f"{way.total * rate:,.0f}" for way in sorted(paid, key=lambda way: way.name)}}


def _notes(
    facts: Facts,
    work: Workload,
    found: tuple[Choice, ...],
    trained: tuple[OnDevice, ...],
    rate: float,
    unit: str,
) -> Iterator[str]:
    if work.currency != "usd":
        yield f"1 {unit} is taken as {1 / rate:.4g} USD: a fact with a date, currency.{work.currency}"
    if work.train and work.train.method == "scratch" and trained:
        yield (
            f"such runs are repeated and go wrong: reported hours are {facts('train.repeats'):g} times "
            f"those of a clean run, {trained[0].cost * facts('train.repeats') * rate:,.0f} {unit}; people, "
            "data and failed attempts come on top"
        )
    for own, name in _BEATS if found else ():
        if breakeven.beats_the_api(facts, work, found, own) is None:
            yield f"{name}: no traffic; at this price of its tokens they never cost less"
    if found and found[0].fleet.busy < facts("serve.utilisation") / peak(facts, found[0].traffic) * 0.5:
        yield "there are two replicas at least, one of them spare: at this traffic that is what costs"


def _tokens(work: Workload) -> float:
    """Of all years."""
    assert work.serve is not None
    day = work.serve.requests_a_day * (work.serve.tokens_in + work.serve.tokens_out)
    whole = int(work.years)
    grown = sum(day * work.growth**year for year in range(whole))
    return 365 * (grown + day * work.growth**whole * (work.years - whole))
