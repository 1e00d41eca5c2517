"""Advice and plans as plain data: what `--json` prints and pages are made of; and two plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from freehold.sizing.advise import Advice
from freehold.sizing.figure import Figure, Section, rounded
from freehold.sizing.need import Need
from freehold.sizing.size import Plan


def of_plan(plan: Plan) -> dict[str, Any]:
    """Everything, in JSON's types."""
    return {
        "workload": asdict(plan.work),
        "sections": [_section(section) for section in plan.sections],
        "breaks": list(plan.breaks),
        "trained_on": [asdict(one) for one in plan.trained_on],
        "served_on": [{**asdict(one.fleet), "devices": one.fleet.devices} for one in plan.served_on],
        "moves": [{"fact": m.fact, "low": round(m.low), "high": round(m.high)} for m in plan.moves],
        "disclosure": disclosure(plan),
        "facts": [{**asdict(fact), "as_of": fact.as_of.isoformat()} for fact in plan.facts],
        "warnings": list(plan.warnings),
    }


def disclosure(plan: Plan) -> dict[str, Any]:
    """Energy as it is disclosed (AI Act Annex XI, ISO/IEC 21031): how it was found, of what, how sure."""
    facts = {fact.name: fact for fact in plan.facts}
    grid = facts.get(f"country.{plan.work.country}.grams") or facts.get("energy.grams_per_kwh")
    pue = facts.get("energy.pue")
    read = any(name.startswith("device.") and name.endswith(".draw") for name in facts)
    return {
        "method": "declared power of the devices x mean draw x hours; "
        + ("the draw read from a device's own meter" if read else "not metered"),
        "scope": "the whole site: devices, what stands beside them in the servers, PUE",
        "pue": pue.value if pue else None,
        "grid": {
            "grams_per_kwh": grid.value,
            "of": grid.as_of.isoformat(),
            "source": grid.source,
            "kind": "location",
        }
        if grid
        else None,
        "hardware": [
            *(f"training: {one.devices} x {one.device}" for one in plan.trained_on[:1]),
            *(f"serving: {one.fleet.devices} x {one.fleet.device}" for one in plan.served_on[:1]),
        ],
        "figures": [
            {"name": f.name, "value": f.value, "unit": f.unit, "uncertainty": _uncertainty(f)}
            for section in plan.sections
            if section.name == "energy"
            for f in section.figures
        ],
    }


def _uncertainty(one: Figure) -> str:
    """Per cent below and above."""
    if not one.value or one.low is None or one.high is None:
        return "not told"
    return (
        f"-{100 * (one.value - one.low) / one.value:.0f} % +{100 * (one.high - one.value) / one.value:.0f} %"
    )


def _section(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "figures": [figure(one) for one in section.figures],
        "tables": [
            {"title": t.title, "columns": list(t.columns), "rows": [dict(row) for row in t.rows]}
            for t in section.tables
        ],
        "notes": list(section.notes),
        "breaks": section.breaks,
    }


def figure(one: Figure) -> dict[str, Any]:
    """With its number in words, and its range."""
    return {**asdict(one), "text": one.text(), "range": one.range_text()}


def compared(names: Sequence[str], plans: Sequence[Plan]) -> dict[str, Any]:
    """Each figure of either plan, and how many times the first one the second is."""
    sections = list(dict.fromkeys((s.name, s.title) for plan in plans for s in plan.sections))
    return {
        "columns": ["", *names, "times"],
        "sections": [
            {"name": name, "title": title, "rows": _rows(name, names, plans)} for name, title in sections
        ],
        "breaks": {name: list(plan.breaks) for name, plan in zip(names, plans, strict=True) if plan.breaks},
    }


def _rows(section: str, names: Sequence[str], plans: Sequence[Plan]) -> list[dict[str, Any]]:
    found = [{f.name: f for s in plan.sections if s.name == section for f in s.figures} for plan in plans]
    rows = []
    for name in dict.fromkeys(name for figures in found for name in figures):
        both = [figures.get(name) for figures in found]
        row: dict[str, Any] = {"": name}
        row |= {of: _with_range(each) for of, each in zip(names, both, strict=True)}
        first, second = both[0], both[1]
        alike = first is not None and second is not None and first.unit == second.unit and first.value
        row["times"] = rounded(second.value / first.value) if alike and first and second else ""
        rows.append(row)
    return rows


def _with_range(one: Figure | None) -> str:
    if one is None:
        return "none"
    return f"{one.text()} ({one.range_text()})" if one.range_text() else one.text()


def of_need(need: Need) -> dict[str, Any]:
    """Its answers by name."""
    return asdict(need)


def of_advice(need: Need, told: Advice) -> dict[str, Any]:
    """Nine ways, what would flip the answer, and what it stands on."""
    ways = [
        {
            "way": ranked.option.way.name,
            "words": ranked.option.way.words,
            "open": not ranked.option.closed,
            "good_enough": not ranked.option.short,
            "because": ranked.because,
            "cost": {
                "three_years": round(ranked.option.cost),
                "from": round(ranked.cost.low),
                "to": round(ranked.cost.high),
                "compute": round(ranked.option.compute),
                "people": round(ranked.option.labour),
                "currency": "USD",
                "label": "estimated",
                "how": ranked.option.how,
            },
            "months": ranked.option.way.months,
            "months_range": [round(ranked.months.low, 1), round(ranked.months.high, 1)],
            "energy_kwh": round(ranked.option.energy),
            "energy_kwh_range": [round(ranked.energy.low), round(ranked.energy.high)],
            "risk": ranked.option.way.risk,
            "laws": list(ranked.option.way.laws),
        }
        for ranked in told.ways
    ]
    facts = [{**asdict(fact), "as_of": fact.as_of.isoformat()} for fact in told.facts]
    return {
        "first": told.first,
        "need": asdict(need),
        "ways": ways,
        "flips": list(told.flips),
        "facts": facts,
        "warnings": list(told.warnings),
    }
