"""One pool for training and serving against two; what idle devices could train; what a wrong place costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from freehold.sizing import costs, formulas
from freehold.sizing.devices import device
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Section
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.serve import replicas
from freehold.sizing.serving import Choice, day
from freehold.sizing.training import OnDevice, flops, mfu, mfu_name
from freehold.sizing.workload import Workload

HARVESTED = 0.9
"""Of what idles, that training beside serving can use; what Freehold promises itself up to 60 % load."""


def section(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Section | None:
    """None where nothing serves."""
    if not found or work.serve is None:
        return None
    best = found[0]
    hours = day(facts, work.serve, best)
    figures = list(_idle(facts, work, best, hours))
    if work.train and trained:
        figures += _pools(facts, work, best, hours)
    figures += _misplaced(facts, work, trained, found)
    return Section(
        name="pools",
        title="one pool or two",
        figures=tuple(figures),
        notes=tuple(_notes(work, figures)),
    )


def _idle(facts: Facts, work: Workload, best: Choice, hours: Sequence[int]) -> Iterator[Figure]:
    most = max(hours)
    idle = sum(most - hour for hour in hours) * best.replica.each
    rate, unit = costs.currency(facts, work)
    yield Figure(
        name="idle",
        value=idle,
        unit="device hours a day",
        formula="most replicas less those of each hour; the spare is not idle",
        facts=("serve.utilisation", "serve.peak"),
    )
    yield Figure(
        name="harvested",
        value=HARVESTED * idle,
        unit="device hours a day",
        formula=f"{HARVESTED:.0%} of what idles, for training that can be stopped",
    )
    yield Figure(
        name="worth of it",
        value=HARVESTED * idle * 365 * best.replica.device.rent * rate,
        unit=f"{unit} a year",
        formula="harvested hours at the device's rent",
        facts=(f"device.{best.fleet.device}.rent",),
    )


def training_hours(facts: Facts, work: Workload, best: Choice) -> float:
    """Device hours a day that the workload's trainings take on the devices that serve."""
    assert work.train is not None
    run = formulas.device_hours(
        flops(work.model, work.train),
        best.replica.device.tflops,
        mfu(facts, work.train, best.replica.device.name),
    )
    return run * work.train.times_a_year / 365


def _pools(facts: Facts, work: Workload, best: Choice, hours: Sequence[int]) -> Iterator[Figure]:
    serving = max(hours) * best.replica.each
    takes = training_hours(facts, work, best)
    apart = serving + max(1, math.ceil(takes / 24))
    idle = HARVESTED * sum(max(hours) - hour for hour in hours) * best.replica.each
    together = serving + math.ceil(max(0.0, takes - idle) / 24)
    rate, unit = costs.currency(facts, work)
    rent = best.replica.device.rent * HOURS_A_YEAR * rate
    yield Figure(
        name="training takes",
        value=takes,
        unit="device hours a day",
        formula="device hours of a run x runs a year / 365, on the device that serves",
        facts=(mfu_name(facts, work.train, best.fleet.device) if work.train else "",),
    )
    yield Figure(name="two pools", value=apart, unit="devices", formula="serving's most, and training's own")
    yield Figure(
        name="one pool",
        value=together,
        unit="devices",
        formula="serving's most, and what its idle hours cannot train",
    )
    yield Figure(
        name="one pool saves",
        value=(apart - together) * rent,
        unit=f"{unit} a year",
        formula="devices fewer x rent",
        facts=(f"device.{best.fleet.device}.rent",),
    )


def _misplaced(
    facts: Facts, work: Workload, trained: tuple[OnDevice, ...], found: tuple[Choice, ...]
) -> Iterator[Figure]:
    """Inference on the training pool, and how much of its arithmetic it would use."""
    best = found[0]
    wrong = trained_on(facts, work, trained)
    there = device(facts, wrong)
    fit = [
        one.fleet(facts, best.traffic)
        for one in replicas(facts, there, best.shape, best.traffic, best.wanted)
    ]
    if not fit:
        return
    fleet = min(fit, key=lambda one: one.hourly)
    rate, unit = costs.currency(facts, work)
    yield Figure(
        name="inference on the training pool costs",
        value=(fleet.hourly - best.fleet.hourly) * HOURS_A_YEAR * rate,
        unit=f"{unit} a year more",
        formula=f"{fleet.devices} x {wrong} instead of {best.fleet.devices} x {best.fleet.device}",
        facts=(f"device.{wrong}.rent", f"device.{best.fleet.device}.rent"),
    )
    size = best.shape.weight_bytes / max(1.0, best.shape.parameters)
    critical = formulas.critical_batch(there.tflops, there.bandwidth, size)
    used = min(1.0, fleet.rows / critical)
    yield Figure(
        name="of its arithmetic",
        value=100 * used,
        unit="% used while it writes",
        formula=f"{fleet.rows} rows over the {critical:.0f} at which arithmetic binds",
    )


def trained_on(facts: Facts, work: Workload, trained: tuple[OnDevice, ...]) -> str:
    """The device of the training pool: what this workload trains on, else the strongest."""
    if trained:
        return trained[0].device
    return max(facts.devices(), key=lambda name: facts(f"device.{name}.tflops"))


def _notes(work: Workload, figures: Sequence[Figure]) -> Iterator[str]:
    told = {figure.name: figure.value for figure in figures}
    if told.get("one pool saves", 0) > 0:
        yield "one pool: training takes the nights, and is stopped when serving needs its devices"
    elif work.train:
        yield "one pool saves nothing here: serving leaves too little idle"
    if told.get("inference on the training pool costs", 0) > 0:
        cost = f"{told['inference on the training pool costs']:,.0f} {work.currency.upper()}"
        yield f"warning: serving from the training pool costs {cost} a year more than from its own"
