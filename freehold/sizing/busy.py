"""How busy devices are that are there already: by device, team and phase, what idles, how many would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from freehold.sizing import costs
from freehold.sizing.facts import Facts
from freehold.sizing.figure import Figure, Row, Section, Table
from freehold.sizing.formulas import HOURS_A_YEAR
from freehold.sizing.usage import Used
from freehold.sizing.workload import Workload

MOST = 24
"""Devices that are told one by one, the idlest first."""


def section(facts: Facts, work: Workload, used: Sequence[Used]) -> Section | None:
    """None where nobody watches them."""
    if not used:
        return None
    enough = _enough(facts, used)
    return Section(
        name="busy",
        title="how busy your devices are",
        figures=tuple(_figures(facts, work, used, enough)),
        tables=(
            _by("team", used, lambda one: one.team),
            _by("phase", used, lambda one: one.phase),
            _devices(used),
        ),
        notes=tuple(_notes(facts, used, enough)),
    )


def mean(used: Sequence[Used]) -> float:
    """Share of the time, over all of them."""
    return math.fsum(one.mean for one in used) / len(used)


def _enough(facts: Facts, used: Sequence[Used]) -> int:
    """Devices that carry the busiest hour of all together, as busy as is planned with."""
    hours = sorted({at for one in used for at in one.hours})
    most = max(math.fsum(one.hours.get(at, 0.0) for one in used) for at in hours)
    return min(len(used), max(1, math.ceil(most / facts("serve.utilisation"))))


def _figures(facts: Facts, work: Workload, used: Sequence[Used], enough: int) -> Iterator[Figure]:
    yield Figure(
        name="devices there", value=len(used), unit="", formula="seen in the time looked at", label="measured"
    )
    yield Figure(
        name="busy",
        value=100 * mean(used),
        low=100 * min(one.mean for one in used),
        high=100 * max(one.mean for one in used),
        unit="% of the time",
        formula=f"mean of all, from the idlest to the busiest; said to be usual: {facts('serve.mark'):.0%}",
        label="measured",
    )
    yield Figure(
        name="would do",
        value=enough,
        unit="devices",
        formula="the busiest hour of all together, over the utilisation that is planned with",
        facts=("serve.utilisation",),
        label="estimated",
    )
    rent = facts.get(f"device.{work.device}.rent") if work.device else None
    if rent is not None:
        rate, unit = costs.currency(facts, work)
        yield Figure(
            name="idling costs",
            value=(1 - mean(used)) * len(used) * rent * HOURS_A_YEAR * rate,
            unit=f"{unit} a year",
            formula="hours in which they do nothing, at the device's rent",
            facts=(f"device.{work.device}.rent",),
            label="estimated",
        )


def _by(what: str, used: Sequence[Used], of: Callable[[Used], str]) -> Table:
    """How busy those are that say the same; those that say nothing come last."""
    groups: dict[str, list[Used]] = {}
    for one in used:
        groups.setdefault(of(one), []).append(one)
    rows: tuple[Row, ...] = tuple(
        {what: name or "not told", "devices": len(groups[name]), "busy": f"{mean(groups[name]):.0%}"}
        for name in sorted(groups, key=lambda name: (not name, name))
    )
    return Table(title=f"by {what}", columns=tuple(rows[0]), rows=rows)


def _devices(used: Sequence[Used]) -> Table:
    rows: tuple[Row, ...] = tuple(
        {
            "device": one.name,
            "kind": one.kind,
            "team": one.team,
            "phase": one.phase,
            "busy": f"{one.mean:.0%}",
            "busiest hour": f"{max(one.hours.values()):.0%}",
        }
        for one in sorted(used, key=lambda one: (one.mean, one.name))[:MOST]
    )
    return Table(title="by device, the idlest first", columns=tuple(rows[0]), rows=rows)


def _notes(facts: Facts, used: Sequence[Used], enough: int) -> Iterator[str]:
    share, mark = mean(used), facts("serve.mark")
    than = "less" if share < mark else "more"
    yield f"busy {share:.0%} of the time, {than} than the {mark:.0%} said to be usual"
    if enough < len(used):
        gone = len(used) - enough
        yield f"put together, {enough} of {len(used)} carry the busiest hour: {gone} may go, or train"
    yield "busy is a device while anything runs on it: of its arithmetic it may use far less"
