"""Racks, circuits, cooling and the kind of site that a number of devices asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.sizing import formulas
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Row
from freehold.spec.sensitivity import Sensitivity

COOLING = (
    ("cooling.air", "room air"),
    ("cooling.contained", "air in contained aisles"),
    ("cooling.rear_door", "rear-door heat exchangers"),
    ("cooling.liquid", "liquid to the chip"),
)
"""Up to how many kW a rack which method does, in order; beyond the last one it is immersion."""
SITES = (
    (5.0, "edge: a branch, a hospital, a factory"),
    (15.0, "traditional colocation"),
    (60.0, "hybrid cooled colocation"),
    (math.inf, "a hall built for AI"),
)
"""Up to how many kW a rack which kind of site is enough."""
WARMER = 25.0
"""Degrees Fahrenheit that air takes up on its way."""
DOWN = {"n": 28.8, "n+1": 1.6, "2n": 0.4}
"""Hours a year without power, as Tiers I, III and IV are said to have (believed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """What has to stand around the devices."""

    kilowatts: float
    racks: int
    rack_kilowatts: float
    cooling: str
    site: str
    figures: tuple[Figure, ...]
    checklist: tuple[str, ...]


def facility(
    facts: Facts, watts: float, largest: float, most: float | None = None, feeds: str = "2n"
) -> Facility:
    """For devices of so many watts together; `largest` are those of one server, which is not divided.

    `most` kW may go into a rack: more of it takes more racks; the mean of the world where nobody says.
    `feeds`: n, n+1 (one unit to spare) or 2n (two whole paths).
    """
    beside = facts("own.watts_beside")
    kilowatts, server = watts * beside / 1000, largest * beside / 1000
    limit = max(server, most if most is not None else facts("power.rack_kw"))
    racks = max(1, math.ceil(kilowatts / limit))
    each = max(server, kilowatts / racks)
    cooling = method(facts, each)
    figures = (*_figures(facts, kilowatts, racks, each, cooling), *_power(facts, kilowatts, each, feeds))
    return Facility(
        kilowatts=kilowatts,
        racks=racks,
        rack_kilowatts=each,
        cooling=cooling,
        site=next(name for top, name in SITES if each <= top),
        figures=figures,
        checklist=tuple(_checklist(each, server, most, feeds)),
    )


def kinds_of_site(rack_kilowatts: float, sensitivity: str) -> tuple[Row, ...]:
    """Each kind of site, what it is like, and whether it fits."""
    rows: list[Row] = []
    for (most, name), (cooled, far) in zip(SITES, _LIKE, strict=True):
        fits = "yes" if rack_kilowatts <= most else f"no: a rack takes {rack_kilowatts:.1f} kW"
        up_to = f"{most:g}" if most < math.inf else "150 and more"
        rows.append({"kind": name, "kW a rack": up_to, "cooled by": cooled, "to users": far, "fits": fits})
    restricted = Sensitivity.parse(sensitivity) >= Sensitivity.RESTRICTED
    fits = "no: Restricted stays on your ground" if restricted else "yes, for bursts and trials"
    cloud = {"kind": "cloud", "kW a rack": "theirs", "cooled by": "theirs", "to users": "10 to 150 ms"}
    return (*rows, {**cloud, "fits": fits})


_LIKE = (
    ("room air", "below 5 ms"),
    ("air", "5 to 30 ms"),
    ("contained aisles, rear doors", "5 to 40 ms"),
    ("liquid to the chip", "20 to 100 ms"),
)
"""How sites are cooled, and how far users are; believed."""


def method(facts: Facts, rack_kilowatts: float) -> str:
    """How a rack of so many kW is cooled."""
    return next((name for fact, name in COOLING if rack_kilowatts <= facts(fact)), "immersion")


def _figures(facts: Facts, kilowatts: float, racks: int, each: float, cooling: str) -> Iterator[Figure]:
    yield Figure(
        name="power",
        value=kilowatts,
        unit="kW",
        formula="watts of all devices x what stands beside them",
        facts=("own.watts_beside",),
    )
    yield Figure(name="racks", value=racks, unit="", formula="power over what a rack may take")
    yield Figure(name="a rack", value=each, unit="kW", formula="power over racks; a server is not divided")
    if "air" in cooling:
        yield Figure(
            name="air a rack",
            value=formulas.airflow(each * 1000, WARMER),
            unit="CFM",
            formula="W x 3.412 / (1.08 x 25 F)",
        )


def _power(facts: Facts, kilowatts: float, each: float, feeds: str) -> Iterator[Figure]:
    one = math.ceil(each / facts("power.circuit_kw"))
    circuits = {"n": one, "n+1": one + 1, "2n": 2 * one}[feeds]
    said = {"n": "one feed", "n+1": "one feed and one to spare", "2n": "two feeds, each able to carry all"}
    yield Figure(
        name="circuits a rack", value=circuits, unit="", formula=said[feeds], facts=("power.circuit_kw",)
    )
    enough = math.ceil(kilowatts / facts("power.unit_kw"))
    yield Figure(
        name="units of backed-up power",
        value={"n": enough, "n+1": enough + 1, "2n": 2 * enough}[feeds],
        unit=f"of {facts('power.unit_kw'):.0f} kW, {feeds.upper()}",
        formula="power over that of a unit, and what is to spare",
        facts=("power.unit_kw",),
    )
    yield Figure(
        name="without power",
        value=DOWN[feeds],
        unit="hours a year",
        formula="what sites built like this are said to have",
        label="estimated",
    )
    pue = pue_name(facts, each)
    yield Figure(
        name="from the grid",
        value=kilowatts * facts(pue),
        unit="kW",
        formula="power x PUE of such a site",
        facts=(pue, "own.watts_beside"),
    )


def pue_name(facts: Facts, rack_kilowatts: float) -> str:
    """The fact that says what such a site takes beside the servers."""
    if rack_kilowatts <= SITES[0][0]:
        return "energy.pue_edge"
    return "energy.pue_colo" if rack_kilowatts <= facts("cooling.rear_door") else "energy.pue_liquid"


def _checklist(each: float, server: float, most: float | None, feeds: str) -> Iterator[str]:
    if most is not None and server > most:
        yield f"one server takes {server:.1f} kW, your racks {most:g}: stronger racks or smaller servers"
    if feeds == "2n":
        yield "two independent power feeds, generator and batteries tested under load"
    else:
        yield f"{feeds.upper()}: who stops what when a feed is lost; batteries tested under load"
    if each > 10.2 and feeds != "n":
        yield "servers whose six supplies need four: three feeds keep full power where two do not"
    yield "floor load and door width for a full rack"
    if each > 25:
        yield "facility water with leak detection, and somebody who may turn it off"
    yield "inlet air between 18 and 27 C, measured at the top of the rack"
    yield "two paths of network, and one apart from both to manage it"
    yield "who may enter, and where that is recorded"
