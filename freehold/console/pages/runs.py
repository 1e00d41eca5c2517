"""Runs: what was computed, from what, how it went; two beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from freehold.control import compared, progress
from freehold.control.parts import Parts
from freehold.errors import BadInput, NotFound
from freehold.journeys import cards as kept_cards
from freehold.release import versions

TAB = Tab(path="/runs", word="Runs", needs=("run:read",))

SIZE = 50
"""Runs on a page."""


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
            one, two = (_visible(conn, visit, name) for name in (number, other))
            found = compared.beside(conn, one, two)
        names = (one["run"], two["run"])
        return visit.page(
            "runs_compared.html",
            title=" and ".join(names),
            pair=(one, two),
            found=found,
            figures=cards.side_by_side(found["figures"]),
            drawn=_curves((one, two), f"loss of {' and '.join(names)}"),
            ways=visit.ways(quoted("freehold", "compare", *names), "GET", _place(one, two)),
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


def _place(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    return f"/api/runs/{_number(one)}/compare/{_number(two)}"


def _facts(conn: sa.Connection, run: Mapping[str, Any]) -> dict[str, Any]:
    card = _card(conn, run)
    return {
        "metrics": list(compared.flat(compared.plain_metrics(run)).items())[: compared.MOST],
        "settings": json.dumps(run["spec"], indent=2, ensure_ascii=False, sort_keys=True),
        "machine": list(compared.flat(run["machine"]).items())[: compared.MOST],
        "model": versions.find(conn, run["model"]).ref if run["model"] else None,
        "drawn": _curves([run], f"loss of {run['run']}"),
        "gates": cards.gates(card) if card else (),
        "measured": cards.measured(card) if card else (),
        "compared": cards.beside(card) if card else None,
        "now": run["progress"],
    }


def _card(conn: sa.Connection, run: Mapping[str, Any]) -> dict[str, Any] | None:
    return dict(json.loads(kept_cards.find(conn, run["card"])["body"])) if run["card"] else None


def _curves(runs: Sequence[Mapping[str, Any]], label: str) -> Markup | None:
    """Loss by step; none where nothing was learned in steps."""
    lines = [
        Curve(name=run["run"], points=[(step, loss) for step, loss in curve])
        for run in runs
        if (curve := compared.curve_of(run))
    ]
    return curves(lines, label=label, x_word="step", y_word="loss") if lines else None
