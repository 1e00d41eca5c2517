"""Energy as it is disclosed: how it was found, of what, how sure, and beside what was computed with it.

AI Act Annex XI, section 1, point 2 (e): energy known or estimated, and the compute used. ISO/IEC 21031:2024:
(E x I + M) per R, here grams a request, by location, with what making the devices emitted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from freehold.sizing import training
from freehold.sizing.facts import Fact
from freehold.sizing.figure import Figure
from freehold.sizing.size import Plan

STANDARDS = ("AI Act Annex XI, section 1, point 2 (e)", "ISO/IEC 21031:2024")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a kWh emits where it is taken."""

    grams_per_kwh: float
    of: str
    """Date of the figure."""
    source: str
    kind: str
    """location: of the grid there, not of a contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What it was computed for."""

    training_operations: float | None
    """Of one run."""
    training_tokens: float | None
    trainings_a_year: float | None
    requests_a_day: float | None
    """Of the last year."""
    tokens_in: float | None
    """Of one request."""
    tokens_out: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilisation:
    """How much of the devices is used, as shares."""

    training: float | None
    """Of the peak."""
    serving: float | None
    """Of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """One figure."""

    name: str
    value: float
    unit: str
    label: str
    low: float | None
    high: float | None
    uncertainty: str
    """Per cent below and above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """All of it, in JSON's types."""

    standards: tuple[str, ...]
    model: str
    method: str
    scope: str
    pue: float | None
    grid: Grid | None
    hardware: tuple[str, ...]
    computed: Computed
    utilisation: Utilisation
    figures: tuple[Disclosed, ...]


def disclosure(plan: Plan) -> Disclosure:
    """Of a plan: nothing of it was metered but what its facts say was."""
    facts = {fact.name: fact for fact in plan.facts}
    pue = facts.get("energy.pue")
    read = any(name.startswith("device.") and name.endswith(".draw") for name in facts)
    return Disclosure(
        standards=STANDARDS,
        model=plan.work.named or f"{plan.work.model.parameters / 1e9:g} B parameters",
        method="declared power of the devices x mean draw x hours; "
        + ("the draw read from a device's own meter" if read else "not metered"),
        scope="the whole site: devices, what stands beside them in the servers, PUE",
        pue=pue.value if pue else None,
        grid=_grid(plan, facts),
        hardware=(
            *(f"training: {one.devices} x {one.device}" for one in plan.trained_on[:1]),
            *(f"serving: {one.fleet.devices} x {one.fleet.device}" for one in plan.served_on[:1]),
        ),
        computed=_computed(plan),
        utilisation=_utilisation(plan, facts),
        figures=tuple(_figures(plan)),
    )


def as_json(plan: Plan) -> str:
    """The file that is handed on."""
    return json.dumps(asdict(disclosure(plan)), indent=2, ensure_ascii=False) + "\n"


def _grid(plan: Plan, facts: Mapping[str, Fact]) -> Grid | None:
    fact = facts.get(f"country.{plan.work.country}.grams") or facts.get("energy.grams_per_kwh")
    if fact is None:
        return None
    return Grid(grams_per_kwh=fact.value, of=fact.as_of.isoformat(), source=fact.source, kind="location")


def _computed(plan: Plan) -> Computed:
    train, best = plan.work.train, plan.served_on[0] if plan.served_on else None
    return Computed(
        training_operations=training.flops(plan.work.model, train) if train else None,
        training_tokens=train.tokens * train.epochs if train else None,
        trainings_a_year=train.times_a_year if train else None,
        requests_a_day=best.traffic.requests_a_day if best else None,
        tokens_in=best.traffic.tokens_in if best else None,
        tokens_out=best.traffic.tokens_out if best else None,
    )


def _utilisation(plan: Plan, facts: Mapping[str, Fact]) -> Utilisation:
    reached = None
    if plan.work.train and plan.trained_on:
        best = plan.trained_on[0]
        peak = facts[f"device.{best.device}.tflops"].value * 1e12
        work = training.flops(plan.work.model, plan.work.train)
        reached = work / (best.hours * 3600 * best.devices * peak)
    return Utilisation(training=reached, serving=plan.served_on[0].fleet.busy if plan.served_on else None)


def _figures(plan: Plan) -> Iterator[Disclosed]:
    told = {figure.name: figure for s in plan.sections if s.name == "energy" for figure in s.figures}
    for figure in told.values():
        yield _disclosed(figure)


def _disclosed(one: Figure) -> Disclosed:
    return Disclosed(
        name=one.name,
        value=one.value,
        unit=one.unit,
        label=one.label,
        low=one.low,
        high=one.high,
        uncertainty=_uncertainty(one),
    )


def _uncertainty(one: Figure) -> str:
    if not one.value or one.low is None or one.high is None:
        return "not told"
    below, above = 100 * (one.value - one.low) / one.value, 100 * (one.high - one.value) / one.value
    return f"-{below:.0f} % +{above:.0f} %"
