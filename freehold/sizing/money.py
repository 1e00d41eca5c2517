"""Rent, own or buy by the token: what each costs over the years, and from how many tokens a day on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.serve import Fleet
from freehold.sizing.workload import Workload

if TYPE_CHECKING:
    from freehold.sizing.size import OnDevice

MOST = 1e10
"""Requests a day up to which it is looked for."""


def paid(
    facts: Facts, work: Workload, trained_on: tuple[OnDevice, ...], served_on: tuple[Fleet, ...]
) -> Iterator[Figure]:
    """USD over all years, and where one becomes cheaper than the other."""
    years = work.years
    if work.train and trained_on:
        runs = work.train.times_a_year * years
        yield Figure(
            name="training, rented",
            value=trained_on[0].cost * runs,
            unit="USD",
            formula=f"{runs:g} runs on {trained_on[0].device}",
        )
    if work.serve is None:
        return
    by_token = _api_a_token(facts, work)
    yield Figure(
        name="serving, by an API",
        value=by_token * _tokens(work) * 365,
        unit="USD",
        formula="list price of a small model",
        facts=("api.small.in", "api.small.out"),
    )
    if not served_on:
        return
    best = served_on[0]
    rented, owned = best.hourly * HOURS_A_YEAR, own_a_year(facts, best)
    yield Figure(
        name="serving, rented", value=rented * years, unit="USD", formula=f"{best.devices} x {best.device}"
    )
    yield Figure(
        name="serving, owned",
        value=owned * years,
        unit="USD",
        formula="price over its life, support, colocation, energy; without people",
        facts=("own.server", "own.support", "own.life", "colo.kw_month", "energy.kwh"),
    )
    yield Figure(
        name="owning pays above",
        value=100 * owned / rented,
        unit="% of the hours of a year",
        formula="owned a year over rented a year",
    )


def beats_the_api(facts: Facts, work: Workload, cheapest: Callable[[float], Fleet | None]) -> Figure | None:
    """From how many tokens a day on rented devices cost less than the API; none where they never do.

    `cheapest(requests a day)` is the fleet for that traffic.
    """
    assert work.serve is not None
    into_and_out = work.serve.tokens_in + work.serve.tokens_out
    by_token = _api_a_token(facts, work)

    def pays(requests: float) -> bool:
        fleet = cheapest(requests)
        return fleet is not None and fleet.hourly * 24 < requests * into_and_out * by_token

    low, high = 1.0, 1.0
    while not pays(high):
        low, high = high, high * 2
        if high > MOST:
            return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if pays(middle) else (middle, high)
    return Figure(
        name="rented devices beat the API above",
        value=high * into_and_out / 1e6,
        unit="M tokens a day",
        formula="the first traffic whose devices cost less than its tokens; without people",
        facts=("api.small.in", "api.small.out"),
    )


def own_a_year(facts: Facts, fleet: Fleet) -> float:
    """USD a year for the same devices on the house's own ground, or in colocation."""
    price = fleet.devices * facts(f"device.{fleet.device}.buy") * (1 + facts("own.server"))
    kilowatts = fleet.watts * facts("own.watts_beside") / 1000
    ground = kilowatts * facts("colo.kw_month") * 12
    energy = kilowatts * facts("energy.draw") * HOURS_A_YEAR * facts("energy.pue") * facts("energy.kwh")
    return price / facts("own.life") + price * facts("own.support") + ground + energy


def _tokens(work: Workload) -> float:
    """Tokens of a mean day, summed over the years with their growth."""
    assert work.serve is not None
    day = work.serve.requests_a_day * (work.serve.tokens_in + work.serve.tokens_out)
    whole = int(work.years)
    return sum(day * work.growth**year for year in range(whole)) + day * work.growth**whole * (
        work.years - whole
    )


def _api_a_token(facts: Facts, work: Workload) -> float:
    """USD of a mean token."""
    assert work.serve is not None
    into, out = work.serve.tokens_in, work.serve.tokens_out
    return (into * facts("api.small.in") + out * facts("api.small.out")) / (into + out) / 1e6
