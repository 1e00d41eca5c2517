"""Racks, circuits, cooling and the kind of site that a number of devices asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure

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
FEEDS = 2
"""Independent paths of power, each carrying at most half: 2N."""


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


def facility(facts: Facts, watts: float, largest: float, most: float | None = None) -> Facility:
    """For devices of so many watts together; `largest` are those of one server, which is not divided.

    `most` kW may go into a rack: more of it takes more racks; the mean of the world where nobody says.
    """
    beside = facts("own.watts_beside")
    kilowatts, server = watts * beside / 1000, largest * beside / 1000
    limit = max(server, most if most is not None else facts("power.rack_kw"))
    racks = max(1, math.ceil(kilowatts / limit))
    each = max(server, kilowatts / racks)
    cooling = method(facts, each)
    return Facility(
        kilowatts=kilowatts,
        racks=racks,
        rack_kilowatts=each,
        cooling=cooling,
        site=next(name for top, name in SITES if each <= top),
        figures=tuple(_figures(facts, kilowatts, racks, each, cooling)),
        checklist=tuple(_checklist(each, server, most)),
    )


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
    circuits = FEEDS * math.ceil(each / facts("power.circuit_kw"))
    yield Figure(
        name="circuits a rack",
        value=circuits,
        unit="",
        formula="two independent feeds, each able to carry all",
        facts=("power.circuit_kw",),
    )
    if "air" in cooling:
        yield Figure(
            name="air a rack",
            value=each * 1000 * 3.412 / (1.08 * WARMER),
            unit="CFM",
            formula="W x 3.412 / (1.08 x 25 F)",
        )


def _checklist(each: float, server: float, most: float | None) -> Iterator[str]:
    if most is not None and server > most:
        yield f"one server takes {server:.1f} kW, your racks {most:g}: stronger racks or smaller servers"
    yield "two independent power feeds, generator and batteries tested under load"
    yield "floor load and door width for a full rack"
    if each > 25:
        yield "facility water with leak detection, and somebody who may turn it off"
    yield "inlet air between 18 and 27 C, measured at the top of the rack"
    yield "two paths of network, and one apart from both to manage it"
    yield "who may enter, and where that is recorded"
