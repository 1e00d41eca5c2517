"""Advice and plans as plain data: what `--json` prints and pages are made of; and two plans side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from freehold.sizing.advise import Advice
from freehold.sizing.disclosure import disclosure
from freehold.sizing.figure import Figure, Section, rounded
from freehold.sizing.need import Need
from freehold.sizing.size import Plan
from freehold.sizing.together import together as several


def of_plan(plan: Plan) -> dict[str, Any]:
    """Everything, in JSON's types."""
    return {
        "workload": asdict(plan.work),
        "sections": [_section(section) for section in plan.sections],
        "breaks": list(plan.breaks),
        "trained_on": [asdict(one) for one in plan.trained_on],
        "served_on": [{**asdict(one.fleet), "devices": one.fleet.devices} for one in plan.served_on],
        "moves": [{"fact": m.fact, "low": round(m.low), "high": round(m.high)} for m in plan.moves],
        "disclosure": asdict(disclosure(plan)),
        "facts": [{**asdict(fact), "as_of": fact.as_of.isoformat()} for fact in plan.facts],
        "warnings": list(plan.warnings),
    }


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


def together(names: Sequence[str], plans: Sequence[Plan]) -> dict[str, Any]:
    """Several plans in all, and each by its name. Raises BadWorkload."""
    whole = _section(several(names, plans))
    return {"together": whole, "plans": {n: of_plan(plan) for n, plan in zip(names, plans, strict=True)}}


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
