"""What a workload takes: memory, devices, hours, money and energy, each figure with its formula and facts."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from freehold.sizing import formulas, money
from freehold.sizing.facility import Facility, facility
from freehold.sizing.facts import Fact, Facts
from freehold.sizing.figure import Figure
from freehold.sizing.serve import Fleet, Shape, Traffic, Wanted, cheapest, fleets, why_none
from freehold.sizing.workload import Model, Serve, Train, Workload

ACTIVATION = 28
"""Bytes over (batch x sequence x hidden x bytes) that one layer keeps; measured for an 8 B model."""
SAVED = 2
"""Bytes of an activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """A training, on the fewest devices of one kind that hold it."""

    device: str
    devices: int
    hours: float
    """Of one run."""
    cost: float
    """USD of one run, rented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that came of a workload."""

    training: tuple[Figure, ...]
    trained_on: tuple[OnDevice, ...]
    """The cheapest first."""
    serving: tuple[Figure, ...]
    served_on: tuple[Fleet, ...]
    """The cheapest first; of the last year, with its growth."""
    impossible: str
    """Why nothing that is known can serve it; empty when something can."""
    paid: tuple[Figure, ...]
    energy: tuple[Figure, ...]
    facility: Facility | None
    """For the cheapest devices that serve it, where they are your own."""
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]


def size(facts: Facts, work: Workload, today: dt.date) -> Plan:
    """Plan it. Pure: the same facts and workload give the same plan."""
    training, trained_on = _train(facts, work.model, work.train) if work.train else ((), ())
    served_on, impossible = _serve(facts, work) if work.serve else ((), "")
    serving = tuple(_serving(facts, work.model, work.serve, served_on)) if work.serve else ()
    paid = (*money.paid(facts, work, trained_on, served_on), *_break_even(facts, work, served_on))
    energy = tuple(_energy(facts, work, trained_on, served_on))
    around = _facility(facts, work, served_on[0]) if served_on else None
    used = tuple(facts.used[name] for name in sorted(facts.used))
    return Plan(
        training=training,
        trained_on=trained_on,
        serving=serving,
        served_on=served_on,
        impossible=impossible,
        paid=paid,
        energy=energy,
        facility=around,
        facts=used,
        warnings=tuple(facts.warnings(today)),
    )


# -- training ---------------------------------------------------------------------------------------


def _train(facts: Facts, model: Model, train: Train) -> tuple[tuple[Figure, ...], tuple[OnDevice, ...]]:
    memory = tuple(_memory(model, train))
    total = sum(figure.value for figure in memory)
    tokens = train.tokens * train.epochs
    light = train.method in ("lora", "qlora")
    flops = (formulas.lora_flops if light else formulas.training_flops)(model.used, tokens)
    mfu = "train.mfu" if light else "train.mfu_large"
    kept = 14 * (model.parameters * (train.adapter if light else 1)) / 1e9
    figures = (
        *memory,
        Figure(name="memory", value=total, unit="GB", formula="the parts above; without the logits"),
        Figure(name="operations", value=flops, unit="FLOP", formula="4 N D" if light else "6 N D"),
        Figure(name="one checkpoint", value=kept, unit="GB", formula="14 bytes a trained parameter"),
    )
    on = (_on(facts, device, total, flops, mfu) for device in facts.devices())
    return figures, tuple(sorted(on, key=lambda one: (one.cost, one.device)))


def _memory(model: Model, train: Train) -> Iterator[Figure]:
    """GB by part."""
    trained = model.parameters * (train.adapter if train.method in ("lora", "qlora") else 1)
    weight = {"lora": 2.0, "qlora": 0.52}.get(train.method, 6.0)
    yield Figure(
        name="weights",
        value=weight * model.parameters / 1e9,
        unit="GB",
        formula=f"{weight:g} bytes a parameter",
    )
    yield Figure(name="gradients", value=4 * trained / 1e9, unit="GB", formula="4 bytes a trained one")
    yield Figure(name="optimizer", value=8 * trained / 1e9, unit="GB", formula="Adam: 8 bytes a trained one")
    row = train.batch * train.sequence * model.hidden * SAVED
    yield Figure(
        name="activations",
        value=(model.layers + ACTIVATION) * row / 1e9,
        unit="GB",
        formula="recomputed: one for each layer, and one layer whole (28 times)",
    )


def _on(facts: Facts, device: str, memory: float, flops: float, mfu: str) -> OnDevice:
    count = max(1, math.ceil(memory / (0.9 * facts(f"device.{device}.memory_gb"))))
    hours = formulas.device_hours(flops, facts(f"device.{device}.tflops"), facts(mfu))
    cost = hours * facts(f"device.{device}.rent")
    return OnDevice(device=device, devices=count, hours=hours / count, cost=cost)


# -- serving ----------------------------------------------------------------------------------------


def shape_of(model: Model) -> Shape:
    """What of it decides how fast it answers."""
    return Shape(
        parameters=model.used,
        weight_bytes=model.parameters * model.bytes,
        kv_bytes=formulas.kv_bytes(int(model.layers), int(model.kv_heads), int(model.head)),
    )


def traffic_of(work: Workload, year: float = 0) -> Traffic:
    """What is asked in a year from now on, with growth."""
    assert work.serve is not None
    grown = work.serve.requests_a_day * work.growth**year
    return Traffic(requests_a_day=grown, tokens_in=work.serve.tokens_in, tokens_out=work.serve.tokens_out)


def _serve(facts: Facts, work: Workload) -> tuple[tuple[Fleet, ...], str]:
    assert work.serve is not None
    traffic = traffic_of(work, work.years - 1)
    wanted = _wanted(work.serve)
    shape = shape_of(work.model)
    found = sorted(fleets(facts, shape, traffic, wanted), key=lambda fleet: (fleet.hourly, fleet.device))
    return tuple(found), "" if found else why_none(facts, shape, traffic, wanted)


def _wanted(serve: Serve) -> Wanted:
    return Wanted(first_token=serve.first_token_ms / 1000, token=serve.token_ms / 1000)


def _serving(facts: Facts, model: Model, serve: Serve, found: tuple[Fleet, ...]) -> Iterator[Figure]:
    shape = shape_of(model)
    yield Figure(
        name="cache", value=shape.kv_bytes, unit="bytes a token", formula="2 layers x heads x width x 2 bytes"
    )
    yield Figure(
        name="weights", value=shape.weight_bytes / 1e9, unit="GB", formula=f"{model.bytes:g} bytes each"
    )
    if not found:
        return
    best = found[0]
    stays = best.first_token + serve.tokens_out * best.token
    arrivals = serve.requests_a_day / 86_400 * facts("serve.peak")
    yield Figure(
        name="in flight at the peak",
        value=formulas.in_flight(arrivals, stays),
        unit="requests",
        formula="Little: arrivals a second x seconds each stays",
        facts=("serve.peak",),
    )
    yield Figure(
        name="busy",
        value=100 * best.busy,
        unit="% of the time, over a mean day",
        formula="seconds of work a second over replicas; the usual is 15 %",
        facts=("serve.peak", "serve.utilisation"),
    )


def _break_even(facts: Facts, work: Workload, found: tuple[Fleet, ...]) -> Iterator[Figure]:
    if not (work.serve and found):
        return
    traffic, wanted = traffic_of(work), _wanted(work.serve)

    def best(requests: float) -> Fleet | None:
        return cheapest(facts, shape_of(work.model), replace(traffic, requests_a_day=requests), wanted)

    if (figure := money.beats_the_api(facts, work, best)) is not None:
        yield figure


def _facility(facts: Facts, work: Workload, fleet: Fleet) -> Facility:
    server = fleet.each * facts(f"device.{fleet.device}.watts")
    return facility(facts, fleet.watts, server, work.rack_kw or None)


# -- energy -----------------------------------------------------------------------------------------


def _energy(
    facts: Facts, work: Workload, trained_on: tuple[OnDevice, ...], served_on: tuple[Fleet, ...]
) -> Iterator[Figure]:
    training = _training_energy(facts, work, trained_on)
    serving = _serving_energy(facts, served_on)
    said = ("energy.pue", "energy.draw")
    if training:
        yield Figure(
            name="training",
            value=training,
            unit="kWh a run",
            formula="devices x watts x hours x PUE",
            facts=said,
        )
    if serving:
        yield Figure(
            name="serving", value=serving * 365, unit="kWh a year", formula="watts x draw x PUE", facts=said
        )
    if training and serving:
        yield Figure(
            name="serving overtakes training after",
            value=training / serving,
            unit="days",
            formula="energy of one training over that of a day of serving",
        )
    times = work.train.times_a_year if work.train else 0
    year = training * times + serving * 365
    if year:
        grams = facts("energy.grams_per_kwh")
        yield Figure(
            name="carbon",
            value=year * grams / 1e6,
            unit="t CO2e a year",
            formula="kWh x grams of the grid",
            facts=("energy.grams_per_kwh",),
        )
        yield Figure(
            name="share of serving",
            value=100 * serving * 365 / year,
            unit="% of the energy; published: 80 to 90",
            formula="serving over both",
        )


def _training_energy(facts: Facts, work: Workload, on: tuple[OnDevice, ...]) -> float:
    if not (work.train and on):
        return 0.0
    best = on[0]
    watts = best.devices * facts(f"device.{best.device}.watts") * facts("energy.draw")
    return formulas.kilowatt_hours(watts, best.hours, facts("energy.pue"))


def _serving_energy(facts: Facts, on: tuple[Fleet, ...]) -> float:
    """kWh a day."""
    if not on:
        return 0.0
    return formulas.kilowatt_hours(on[0].watts * facts("energy.draw"), 24, facts("energy.pue"))
