"""Runs: what was computed, from what, how it went; two beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from freehold.console import cards
from freehold.console.charts.lines import Curve, curves
from freehold.console.door import Door, Visit
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control import progress
from freehold.control.parts import Parts
from freehold.errors import BadInput, NotFound
from freehold.jobs import queue
from freehold.journeys import cards as kept_cards
from freehold.release import versions

TAB = Tab(path="/runs", word="Runs", needs=("run:read",))

SIZE = 50
"""Runs on a page."""
MOST = 200
"""Lines of a table of settings or figures."""


def router(parts: Parts) -> APIRouter:
    """`/runs`, `/runs/{number}` and `/runs/{number}/compare`."""
    routes, door = APIRouter(), Door(parts)
    ground = parts.ground

    @routes.get("/runs")
    def every(request: Request, before: int | None = None) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            seen = visit.projects_or_refuse(conn, "run:read")
            found = progress.listed_runs(conn, seen, limit=SIZE + 1, before=before)
        older = _number(found[SIZE - 1]) if len(found) > SIZE else None
        return visit.page("runs.html", title="Runs", runs=found[:SIZE], older=older, before=before)

    @routes.get("/runs/{number}")
    def one(number: str, request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            run = _visible(conn, visit, number)
            facts = _facts(conn, run)
        n = _number(run)
        cli = quoted("freehold", "runs", "show", f"run:{n}")
        ways = visit.ways(cli, "GET", f"/api/runs/{n}")
        return visit.page("run.html", title=run["run"], run=run, number=n, ways=ways, **facts)

    @routes.get("/runs/{number}/compare")
    def compare(number: str, request: Request) -> Response:
        visit = door.visit(request)
        other = request.query_params.get("with", "").strip()
        if not other:
            raise BadInput(what="no second run is named", hint="choose one on the run's page")
        with ground.db.read() as conn:
            pair = [_visible(conn, visit, name) for name in (number, other)]
            found = [_card(conn, run) for run in pair]
        return visit.page(
            "runs_compared.html",
            title=f"{pair[0]['run']} and {pair[1]['run']}",
            pair=pair,
            settings=_differing(*(_flat(run["spec"]) for run in pair)),
            metrics=_differing(*(_flat(_plain_metrics(run)) for run in pair)),
            figures=cards.compared(found[0], found[1]) if found[0] and found[1] else [],
            drawn=_curves(pair, f"loss of {pair[0]['run']} and {pair[1]['run']}"),
        )

    return routes


def _visible(conn: sa.Connection, visit: Visit, name: str) -> dict[str, Any]:
    """A run of a project they see; else it is not there."""
    found = progress.run(conn, name)
    if not visit.may_see("run:read", found["project"]):
        raise NotFound(kind="run", name=name[:80], hint="`freehold runs` lists them")
    return found


def _number(run: Mapping[str, Any]) -> int:
    return int(str(run["run"]).removeprefix("run:"))


def _facts(conn: sa.Connection, run: Mapping[str, Any]) -> dict[str, Any]:
    card = _card(conn, run)
    return {
        "metrics": list(_flat(_plain_metrics(run)).items())[:MOST],
        "settings": json.dumps(run["spec"], indent=2, ensure_ascii=False, sort_keys=True),
        "machine": list(_flat(run["machine"]).items())[:MOST],
        "model": versions.find(conn, run["model"]).ref if run["model"] else None,
        "drawn": _curves([run], f"loss of {run['run']}"),
        "gates": cards.gates(card) if card else (),
        "measured": cards.measured(card) if card else (),
        "now": _now(conn, run),
    }


def _card(conn: sa.Connection, run: Mapping[str, Any]) -> dict[str, Any] | None:
    return dict(json.loads(kept_cards.find(conn, run["card"])["body"])) if run["card"] else None


def _now(conn: sa.Connection, run: Mapping[str, Any]) -> dict[str, Any]:
    """What a running job last said of itself."""
    if run["state"] != "running" or not run["journey"]:
        return {}
    job = queue.of_step(conn, run["journey"], run["kind"])
    sign = queue.last_sign(conn, job.id) if job is not None else None
    return dict(sign.progress) if sign else {}


def _plain_metrics(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run["metrics"].items() if name != "curve"}


def _curves(runs: list[Any] | list[dict[str, Any]], label: str) -> Markup | None:
    """Loss by step; none where nothing was learned in steps."""
    lines = [
        Curve(name=run["run"], points=[(float(point[0]), float(point[1])) for point in curve])
        for run in runs
        if (curve := run["metrics"].get("curve"))
    ]
    return curves(lines, label=label, x_word="step", y_word="loss") if lines else None


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested facts as `outer.inner`: text; a number kept as text is shown as it is."""
    if isinstance(value, Mapping):
        if set(value) == {"#decimal"}:
            return {name: str(value["#decimal"])}
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= _flat(inner, f"{name}.{key}" if name else str(key))
        return found
    if isinstance(value, list):
        told = ", ".join(str(each) for each in value[:20] if not isinstance(each, dict | list))
        return {name: told or (f"{len(value)} entries" if value else "none")}
    return {name: "–" if value is None else str(value)}


def _differing(one: Mapping[str, str], two: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = [*one, *(name for name in two if name not in one)]
    pairs = ((name, one.get(name, "–"), two.get(name, "–")) for name in names)
    return [pair for pair in pairs if pair[1] != pair[2]][:MOST]
