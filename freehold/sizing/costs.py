"""What one thing costs: devices, the ground they stand on, energy, people, a request over an API."""

from __future__ import annotations

import math
from typing import Protocol

from freehold.sizing.devices import SERVER, draw
from freehold.sizing.facts import Facts
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.workload import Workload


class Devices(Protocol):
    """So many of one kind, paid for together: what serves, or what trains."""

    @property
    def device(self) -> str: ...

    @property
    def devices(self) -> int: ...


def currency(facts: Facts, work: Workload) -> tuple[float, str]:
    """How many of what money is told in a dollar is, and its name."""
    rate = 1.0 if work.currency == "usd" else 1 / facts(f"currency.{work.currency}")
    return rate, work.currency.upper()


def price(facts: Facts, fleet: Devices) -> float:
    """USD for the devices and what stands around them in the servers."""
    return fleet.devices * facts(f"device.{fleet.device}.buy") * (1 + facts("own.server"))


def kilowatts(facts: Facts, fleet: Devices) -> float:
    """That the servers draw at most."""
    return fleet.devices * facts(f"device.{fleet.device}.watts") * facts("own.watts_beside") / 1000


def ground(facts: Facts, fleet: Devices) -> float:
    """USD a year in colocation, without energy."""
    return kilowatts(facts, fleet) * facts("colo.kw_month") * 12


def energy(facts: Facts, work: Workload, fleet: Devices, where: str, hours: float = HOURS_A_YEAR) -> float:
    """USD a year for so many hours of it at work; `where`: own, or colo."""
    pue = facts("energy.pue" if where == "own" else "energy.pue_colo")
    watts = kilowatts(facts, fleet) * draw(facts, fleet.device)
    return watts * hours * pue * kilowatt_hour(facts, work)


def staff(facts: Facts, fleet: Devices) -> float:
    """USD a year for people who keep servers of your own running."""
    servers = math.ceil(fleet.devices / SERVER)
    return (facts("people.first_server") + (servers - 1) / facts("people.servers")) * facts("people.year")


def kilowatt_hour(facts: Facts, work: Workload) -> float:
    """USD, where it stands."""
    own = facts.get(f"country.{work.country}.kwh") if work.country else None
    return own if own is not None else facts("energy.kwh")


def own_a_year(facts: Facts, work: Workload, fleet: Devices, hours: float = HOURS_A_YEAR) -> float:
    """USD a year for devices of the house's own in colocation: price over life, support, ground, energy."""
    worth = price(facts, fleet)
    written_off = worth * (1 - facts("own.residual")) / facts("own.life")
    power = energy(facts, work, fleet, "colo", hours)
    return written_off + worth * facts("own.support") + ground(facts, fleet) + power


def api_a_request(facts: Facts, work: Workload) -> float:
    """USD of a mean request: what was paid where that is known, else the list price of a small model."""
    assert work.serve is not None
    paid = facts.get("api.paid")
    if paid is not None:
        return paid * (work.serve.tokens_in + work.serve.tokens_out) / 1e6
    read = work.serve.tokens_in * (1 - work.serve.cached * (1 - facts("api.cached")))
    return (read * facts("api.small.in") + work.serve.tokens_out * facts("api.small.out")) / 1e6
