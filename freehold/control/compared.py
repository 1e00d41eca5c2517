"""Two runs beside each other: what was asked differently, what came out differently, what it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.journeys import cards
from freehold.spec.figures import plural
from freehold.store.tables import models

MOST = 200
"""Lines of a table of settings or figures."""


def beside(conn: sa.Connection, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What differs between two runs as `progress.run` tells them. Raises BadInput for the same one twice."""
    if one["id"] == other["id"]:
        raise BadInput(
            what=f"{one['run']} is compared with itself", hint="name two runs; `freehold runs` lists them"
        )
    return {
        "runs": [_run(run) | {"model_bytes": size_of(conn, run["model"])} for run in (one, other)],
        "figures": figures(card_of(conn, one), card_of(conn, other)),
        "spec": differing(flat(one["spec"]), flat(other["spec"])),
        "metrics": differing(flat(plain_metrics(one)), flat(plain_metrics(other))),
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    names = ("run", "kind", "service", "state", "data_digest", "cpu_seconds", "wall_seconds", "watt_hours")
    curve = run["metrics"].get("curve") or [[None, None]]
    return {name: run[name] for name in names} | {"last_loss": curve[-1][1], "curve": curve_of(run)}


def size_of(conn: sa.Connection, model: str | None) -> int | None:
    """Bytes of all files of a model version, in clear; none where a run has no model."""
    files = conn.scalar(sa.select(models.c.files).where(models.c.id == model)) if model else None
    return sum(file["bytes"] for file in json.loads(files).values()) if files else None


def card_of(conn: sa.Connection, run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The card of an evaluation, or of the evaluation that measured what a training made."""
    card = run["card"] or cards.of_model(conn, run["model"])
    return dict(json.loads(cards.find(conn, card)["body"])) if card else None


def figures(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What two cards have on the same rows: {on, name, one, other}; a figure is {value, low, high}."""
    found = []
    for against, said in sorted(one["measured"].items()) if one and other else ():
        there = other["measured"].get(against) if other else None
        for name, figure in said["metrics"].items():
            beside_it = there["metrics"].get(name) if there else None
            if figure and beside_it:
                found.append({"on": against, "name": name, "one": figure, "other": beside_it})
    return found


def curve_of(run: Mapping[str, Any]) -> list[list[float]]:
    """Loss by step: [step, loss]; empty where nothing was learned in steps."""
    return [[float(point[0]), float(point[1])] for point in run["metrics"].get("curve") or ()]


def plain_metrics(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run reported, without its curve."""
    return {name: value for name, value in run["metrics"].items() if name != "curve"}


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested facts as `outer.inner`: text; a number kept as text is shown as it is."""
    if isinstance(value, Mapping):
        if set(value) == {"#decimal"}:
            return {name: str(value["#decimal"])}
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{name}.{key}" if name else str(key))
        return found
    if isinstance(value, list):
        told = ", ".join(str(each) for each in value[:20] if not isinstance(each, dict | list))
        return {name: told or (plural(len(value), "entry", "entries") if value else "none")}
    return {name: "–" if value is None else str(value)}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[dict[str, str]]:
    """What is not the same: {name, one, other}."""
    names = [*one, *(name for name in other if name not in one)]
    pairs = ({"name": name, "one": one.get(name, "–"), "other": other.get(name, "–")} for name in names)
    return [pair for pair in pairs if pair["one"] != pair["other"]][:MOST]
