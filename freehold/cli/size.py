"""`freehold size`: what a workload takes. Needs no installation and no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

import click

from freehold.cli.show import say, table

if TYPE_CHECKING:
    from freehold.sizing.facility import Facility
    from freehold.sizing.figure import Figure
    from freehold.sizing.size import Plan


@click.command()
@click.argument("file", type=click.File("r"))
@click.option("--facts", "own", type=click.File("r"), help="your own prices and figures, in place of ours")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def size(file: IO[str], own: IO[str] | None, as_json: bool) -> None:
    """Memory, devices, hours, money and energy of what FILE wants to train and to serve.

    FILE is YAML with `model`, `train` and `serve`. Every figure tells its formula and the facts it stands on:
    `--json` shows them all.
    """
    import datetime as dt

    from freehold.sizing import facts as figures
    from freehold.sizing.size import size as planned
    from freehold.sizing.workload import from_text

    work = from_text(file.read())
    plan = planned(figures.load(own.read() if own else ""), work, dt.datetime.now(dt.UTC).date())
    say(_plain(plan), as_json, _page)


def _plain(plan: Plan) -> dict[str, Any]:
    def told(figures: Iterable[Figure]) -> list[dict[str, Any]]:
        return [{**asdict(figure), "text": figure.text()} for figure in figures]

    return {
        "training": told(plan.training),
        "trained_on": [asdict(one) for one in plan.trained_on],
        "serving": told(plan.serving),
        "served_on": [{**asdict(fleet), "devices": fleet.devices} for fleet in plan.served_on],
        "impossible": plan.impossible,
        "money": told(plan.paid),
        "energy": told(plan.energy),
        "facility": _facility(plan.facility) if plan.facility else None,
        "facts": [{**asdict(fact), "as_of": fact.as_of.isoformat()} for fact in plan.facts],
        "warnings": list(plan.warnings),
    }


def _facility(around: Facility) -> dict[str, Any]:
    figures = [{**asdict(figure), "text": figure.text()} for figure in around.figures]
    names = ("kilowatts", "racks", "rack_kilowatts", "cooling", "site", "checklist")
    return {**{name: getattr(around, name) for name in names}, "figures": figures}


def _page(told: Mapping[str, Any]) -> str:
    parts = []
    if told["training"]:
        parts.append("to train\n" + _figures(told["training"]))
        parts.append(_trained_on(told["trained_on"]))
    if told["serving"]:
        parts.append("to serve\n" + _figures(told["serving"]))
        parts.append(_served_on(told["served_on"]) or f"  impossible: {told['impossible']}")
    parts += ["money\n" + _figures(told["money"]), "energy\n" + _figures(told["energy"])]
    if around := told["facility"]:
        parts.append("where it stands, if it is yours\n" + _around(around))
    unsourced = ", ".join(fact["name"] for fact in told["facts"] if fact["unsourced"])
    said = f"all derived, from {len(told['facts'])} facts; nobody confirmed yet: {unsourced}"
    parts.append("\n".join([said, *(f"  {line}" for line in told["warnings"])]))
    return "\n\n".join(parts)


def _around(told: Mapping[str, Any]) -> str:
    lines = [_figures(told["figures"]), f"  cooled by {told['cooling']}; enough is {told['site']}"]
    return "\n".join([*lines, *(f"  - {line}" for line in told["checklist"])])


def _figures(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [{"": f["name"], "figure": f["text"], "because": f["formula"]} for f in figures]
    return _indented(table(rows, ("", "figure", "because")))


def _trained_on(on: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        {
            "device": one["device"],
            "devices": one["devices"],
            "hours a run": f"{one['hours']:,.2f}",
            "USD a run": f"{one['cost']:,.2f}",
        }
        for one in on
    ]
    return _indented(table(rows, ("device", "devices", "hours a run", "USD a run")))


def _served_on(on: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        {
            "device": fleet["device"],
            "devices": fleet["devices"],
            "replicas": fleet["replicas"],
            "at a time": fleet["rows"],
            "first token": f"{fleet['first_token'] * 1000:,.0f} ms",
            "token": f"{fleet['token'] * 1000:.1f} ms",
            "USD an hour": f"{fleet['hourly']:,.2f}",
        }
        for fleet in on
    ]
    columns = ("device", "devices", "replicas", "at a time", "first token", "token", "USD an hour")
    return _indented(table(rows, columns)) if rows else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
