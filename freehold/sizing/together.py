"""Several workloads beside each other and in all: a house that trains and serves more than one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freehold.sizing.figure import Figure, Row, Section, Table, rounded
from freehold.sizing.size import Plan
from freehold.sizing.ways import CLOSED
from freehold.sizing.workload import BadWorkload

Keys = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """One figure of all plans: what of each is added."""

    name: str
    unit: str
    parts: Keys
    """(section, figure), as many of them as a plan has."""
    formula: str


SUMS = (
    Sum(
        name="power",
        unit="kW",
        parts=(("hall", "power"), ("facility", "power")),
        formula="all that trains and all that serves, were it yours",
    ),
    Sum(
        name="racks",
        unit="",
        parts=(("hall", "racks"), ("facility", "racks")),
        formula="of each plan by itself; whoever shares racks needs fewer",
    ),
    Sum(
        name="energy",
        unit="kWh in all years",
        parts=(("energy", "all of it"),),
        formula="all trainings and all serving",
    ),
    Sum(name="carbon", unit="t CO2e a year", parts=(("energy", "carbon"),), formula="by the grid of each"),
    Sum(name="to be kept", unit="GB", parts=(("storage", "to be kept"),), formula="of each plan"),
    Sum(
        name="answers at the peak",
        unit="a second",
        parts=(("house", "answers at the peak"),),
        formula="were all busiest hours the same one",
    ),
    Sum(
        name="harvested",
        unit="device hours a day",
        parts=(("pools", "harvested"),),
        formula="what idles beside serving, for training that can be stopped",
    ),
)


def together(names: Sequence[str], plans: Sequence[Plan]) -> Section:
    """Each plan in a row, and the sums. Raises BadWorkload where they are told in several currencies.

    A range of a sum is the sum of the ends: the facts are the same ones in every plan and move together.
    """
    units = sorted({plan.work.currency for plan in plans})
    if len(units) > 1:
        why = f"these plans are told in {' and '.join(units)}"
        raise BadWorkload(field="currency", why=why, hint=f"write `currency: {units[0]}` in all of them")
    rows = tuple(_row(name, plan) for name, plan in zip(names, plans, strict=True))
    return Section(
        name="together",
        title=f"all {len(plans)} of them",
        figures=tuple(_figures(plans, units[0].upper())),
        tables=(Table(title="one by one", columns=tuple(rows[0]), rows=rows),),
        notes=tuple(f"{n}: {broken}" for n, p in zip(names, plans, strict=True) for broken in p.breaks),
    )


def _row(name: str, plan: Plan) -> Row:
    unit = plan.work.currency.upper()
    train, serve = _cheapest(plan, "training, "), _cheapest(plan, "serving, ")
    return {
        "plan": name,
        "trains on": f"{plan.trained_on[0].devices} x {plan.trained_on[0].device}" if plan.trained_on else "",
        f"for {unit}": _paid(train, "training, "),
        "serves on": "".join(f"{one.fleet.devices} x {one.fleet.device}" for one in plan.served_on[:1]),
        f"for {unit} in all": _paid(serve, "serving, "),
        "possible": "no" if plan.breaks else "yes",
    }


def _paid(figure: Figure | None, kind: str) -> str:
    return f"{rounded(figure.value)} ({figure.name.removeprefix(kind)})" if figure else ""


def _figures(plans: Sequence[Plan], unit: str) -> Iterator[Figure]:
    for kind in ("training", "serving"):
        paid = [way for plan in plans if (way := _cheapest(plan, f"{kind}, ")) is not None]
        if paid:
            yield _sum(kind, unit, "the cheapest way of each that it may take", paid)
    for one in SUMS:
        parts = [part for plan in plans for key in one.parts for part in _figure(plan, *key)]
        if parts:
            yield _sum(one.name, one.unit, one.formula, parts)


def _sum(name: str, unit: str, formula: str, parts: Sequence[Figure]) -> Figure:
    return Figure(
        name=name,
        value=sum(one.value for one in parts),
        low=sum(one.value if one.low is None else one.low for one in parts),
        high=sum(one.value if one.high is None else one.high for one in parts),
        unit=unit,
        formula=formula,
        facts=tuple(sorted({fact for one in parts for fact in one.facts})),
        label="estimated" if any(one.label == "estimated" for one in parts) else "derived",
    )


def _cheapest(plan: Plan, kind: str) -> Figure | None:
    """Of the ways to pay that are open; what is closed says so first."""
    found = [one for s in plan.sections if s.name == "money" for one in s.figures]
    ways = [one for one in found if one.name.startswith(kind) and not one.formula.startswith(CLOSED)]
    return min(ways, key=lambda one: one.value, default=None)


def _figure(plan: Plan, section: str, name: str) -> list[Figure]:
    """The one of that name, if the plan has it."""
    return [f for s in plan.sections if s.name == section for f in s.figures if f.name == name]
