"""Data: which versions there are, what stands in their columns in bins, what changed between two."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from freehold.console.charts import bars
from freehold.console.charts.svg import Screen
from freehold.console.door import Door, Visit
from freehold.console.registry import Tab
from freehold.console.ways import Ways, quoted
from freehold.control.parts import Parts
from freehold.data import diff, shapes, versions
from freehold.data.shapes import Shape
from freehold.data.versions import DataVersion
from freehold.errors import Failure
from freehold.store.ground import Ground

_SMALL = Screen(name="wide", width=330, letters=6.2)

TAB = Tab(path="/data", word="Data", needs=("data:read",))


def router(parts: Parts) -> APIRouter:
    """`/data`, `/data/{project}/{ref}` and `/data/{project}/{ref}/diff/{other}`."""
    routes, door = APIRouter(), Door(parts)
    ground = parts.ground

    @routes.get("/data")
    def every(request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            places = visit.projects_or_refuse(conn, "data:read")
            found = [version for place in places for version in reversed(versions.list(conn, place))]
        return visit.page("data.html", title="Data", versions=found)

    @routes.get("/data/{project}/{ref}")
    def one(project: str, ref: str, request: Request) -> Response:
        visit = door.visit(request)
        door.gate.may(visit.who, "data:read", project=project, resource=ref)
        with ground.db.read() as conn:
            version = versions.find(conn, project, ref)
            others = versions.of_dataset(conn, version.dataset)
        return visit.page(
            "data_version.html",
            title=version.ref,
            version=version,
            others=list(reversed(others)),
            before=next((v for v in reversed(others) if v.version < version.version), None),
            ways=_ways(visit, project, quoted("freehold", "data", "show", ref), ref),
            **_columns(ground, version),
        )

    @routes.get("/data/{project}/{ref}/diff/{other}")
    def compare(project: str, ref: str, other: str, request: Request) -> Response:
        visit = door.visit(request)
        door.gate.may(visit.who, "data:read", project=project, resource=ref)
        found = diff.compare(ground, project, ref, other)
        cli = quoted("freehold", "data", "diff", ref, other)
        ways = _ways(visit, project, cli, f"{ref}/diff/{other}")
        return visit.page("data_diff.html", title=f"{ref} → {other}", diff=found, project=project, ways=ways)

    return routes


def _ways(visit: Visit, project: str, cli: str, path: str) -> Ways:
    return visit.ways(f"{cli} --project {quoted(project)}", "GET", f"/api/data/{path}?project={project}")


def _columns(ground: Ground, version: DataVersion) -> dict[str, Any]:
    """Each column with its drawing; a version that cannot be opened any more still has its page."""
    try:
        seen = shapes.shapes(ground, version)
    except Failure as failure:
        return {"columns": [(column, None, "") for column in version.columns], "seen": 0, "shut": failure}
    by_name = {shape.column: shape for shape in seen.columns}
    drawn = [
        (column, _drawn(by_name[column.name]), _note(by_name[column.name])) for column in version.columns
    ]
    return {"columns": drawn, "seen": seen.rows, "shut": None}


def _drawn(shape: Shape) -> Markup | None:
    if not shape.bins:
        return None
    words = {"length": "length in characters", "range": "values", "value": "values"}[shape.by]
    told = "; ".join(f"{word}: {rows}" for word, rows in shape.bins[:30])
    return bars.histogram(shape.bins[:24], label=f"{shape.column}, {words}. {told}", height=110, wide=_SMALL)


def _note(shape: Shape) -> str:
    if shape.by == "hidden":
        return f"not shown: {shape.because}"
    words = {"length": "by length in characters", "range": "by range", "value": "by value"}[shape.by]
    if not shape.bins:
        return "not shown: fewer than 5 rows stand together"
    return words + (f"; {shape.left_out} rows in no bin, too few together" if shape.left_out else "")
