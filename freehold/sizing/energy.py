"""Energy and what it emits: training beside serving, and the day on which serving overtakes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from freehold.sizing import formulas
from freehold.sizing.devices import SERVER, draw
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section
from freehold.sizing.serving import Choice
from freehold.sizing.training import OnDevice
from freehold.sizing.workload import Workload

_SAID = ("energy.pue", "own.watts_beside")


def section(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Section:
    """kWh at the meter of the site, grams by its grid, and what making the devices emitted."""
    return Section(
        name="energy",
        title="energy",
        figures=tuple(_figures(facts, work, trained, found)),
        notes=(
            "kWh are those of the whole site: devices at their mean draw, what stands beside them, PUE",
            "grams are location-based; those of a supplier's contract are told beside them, not instead",
        ),
    )


def grams(facts: Facts, work: Workload) -> float:
    """CO2e of a kWh, where it stands."""
    own = facts.get(f"country.{work.country}.grams") if work.country else None
    return own if own is not None else facts("energy.grams_per_kwh")


def run_kwh(facts: Facts, trained: tuple[OnDevice, ...]) -> float:
    """Of one training."""
    if not trained:
        return 0.0
    best = trained[0]
    watts = best.devices * facts(f"device.{best.device}.watts") * facts("own.watts_beside")
    return formulas.kilowatt_hours(watts * draw(facts, best.device), best.hours, facts("energy.pue"))


def day_kwh(facts: Facts, found: tuple[Choice, ...]) -> float:
    """Of a day of serving."""
    if not found:
        return 0.0
    fleet = found[0].fleet
    watts = fleet.watts * facts("own.watts_beside") * draw(facts, fleet.device)
    return formulas.kilowatt_hours(watts, 24, facts("energy.pue"))


def _figures(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Iterator[Figure]:
    training, serving = run_kwh(facts, trained), day_kwh(facts, found)
    if training:
        yield Figure(
            name="training",
            value=training,
            unit="kWh a run",
            formula="watts of the servers x draw x hours x PUE",
            facts=_SAID,
        )
        yield Figure(
            name="a training emits",
            value=training * grams(facts, work) / 1000,
            unit="kg CO2e",
            formula="kWh x grams of the grid",
        )
    if serving:
        yield Figure(
            name="serving",
            value=serving * 365,
            unit="kWh a year",
            formula="watts of the servers x draw x PUE, all day",
            facts=_SAID,
        )
    if training and serving:
        yield Figure(
            name="serving overtakes training after",
            value=training / serving,
            unit="days",
            formula="energy of one training over that of a day of serving",
        )
    yield from _split(facts, work, training, serving)
    if serving and work.serve:
        yield from _request(facts, work, found[0], serving)
    yield from _made(facts, found)
    if serving and work.serve:
        yield _intensity(facts, work, found[0], serving)


def _split(facts: Facts, work: Workload, training: float, serving: float) -> Iterator[Figure]:
    times = work.train.times_a_year if work.train else 0
    year = training * times + serving * 365
    if not year:
        return
    by_grid = (f"country.{work.country}.grams",) if work.country else ("energy.grams_per_kwh",)
    yield Figure(
        name="carbon",
        value=year * grams(facts, work) / 1e6,
        unit="t CO2e a year",
        formula="kWh of training and serving x grams of the grid",
        facts=by_grid,
    )
    yield Figure(
        name="water",
        value=year / facts("energy.pue") * facts("energy.water") / 1000,
        unit="m3 a year",
        formula="kWh of the servers x litres; none with closed loops",
        facts=("energy.water",),
    )
    yield from _lifetime(training * times * work.years, serving * 365 * work.years)
    if not serving:
        return
    yield Figure(
        name="share of serving",
        value=100 * serving * 365 / year,
        unit="% of the energy",
        formula="serving over both; said: 80 to 90 % of cost or power, 65 % of one model's carbon (Meta)",
    )


def _lifetime(training: float, serving: float) -> Iterator[Figure]:
    """Of all years that are planned."""
    told = (
        ("all trainings", training, "kWh of a run x runs"),
        ("all serving", serving, "kWh a year x years, with the devices of the last one"),
        ("all of it", training + serving, "all trainings and all serving"),
    )
    for name, value, formula in told:
        if value:
            yield Figure(name=name, value=value, unit="kWh in all years", formula=formula, facts=_SAID)


def _request(facts: Facts, work: Workload, best: Choice, serving: float) -> Iterator[Figure]:
    one = serving / best.traffic.requests_a_day
    yield Figure(
        name="a request",
        value=one * 1000,
        unit="Wh",
        formula="kWh of a day over its requests; a published one is 0.24 (Gemini, 2025)",
        facts=("api.watt_hours",),
    )
    yield Figure(
        name="a request emits",
        value=one * grams(facts, work),
        unit="g CO2e",
        formula="kWh x grams of the grid",
    )


def _intensity(facts: Facts, work: Workload, best: Choice, serving: float) -> Figure:
    requests = best.traffic.requests_a_day
    making = _making(facts, best) * 1000 / 365 / requests
    return Figure(
        name="a request, with what making the devices emitted",
        value=serving / requests * grams(facts, work) + making,
        unit="g CO2e",
        formula="(E x I + M) / R, ISO/IEC 21031:2024",
        facts=("energy.embodied_kg", "energy.embodied_server_kg", "own.life"),
    )


def _making(facts: Facts, best: Choice) -> float:
    """kg CO2e a year of making what serves, over its life."""
    devices = best.fleet.devices
    made = devices * facts("energy.embodied_kg")
    made += math.ceil(devices / SERVER) * facts("energy.embodied_server_kg")
    return made / facts("own.life")


def _made(facts: Facts, found: tuple[Choice, ...]) -> Iterator[Figure]:
    if not found:
        return
    yield Figure(
        name="made",
        value=_making(facts, found[0]) / 1000,
        unit="t CO2e a year",
        formula="making devices and servers, over their life",
        facts=("energy.embodied_kg", "energy.embodied_server_kg", "own.life"),
    )
