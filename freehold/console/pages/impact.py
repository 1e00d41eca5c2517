"""Impact: from a data set or model version, a row or a person, forward to every model and answer."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from freehold.console.addresses import address
from freehold.console.charts import graph
from freehold.console.door import Door, Form, Visit
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control.parts import Parts
from freehold.control.routes.answers import About, look_forward
from freehold.errors import BadInput

TAB = Tab(path="/impact", word="Impact", needs=("data:read", "service:read"))


def router(parts: Parts) -> APIRouter:
    """`/impact` and `/impact/{ref}`."""
    routes, door = APIRouter(), Door(parts)

    @routes.get("/impact")
    def ask(request: Request) -> Response:
        """Name what to begin with."""
        visit = door.visit(request)
        ref = request.query_params.get("ref", "").strip()
        if not ref:
            return visit.page("impact_ask.html", "Impact")
        row = request.query_params.get("row", "").strip()
        return visit.go(f"/impact/{quote(ref[:120], safe='@:')}" + (f"?row={quote(row[:12])}" if row else ""))

    @routes.get("/impact/{ref}")
    def show(ref: str, request: Request) -> HTMLResponse:
        """Forward from `claims@7`, `data:claims@7` or `model:claims@7`, or from one of its rows."""
        visit = door.visit(request)
        return _shown(door, visit, _about(ref, request.query_params.get("row", "")), "")

    @routes.post("/impact/{ref}")
    def about_person(ref: str, request: Request, form: Form) -> HTMLResponse:
        """The same for a person: who they are travels in the form, never in an address."""
        visit = door.posted(request, form)
        subject = form.get("subject", "").strip()[:500]
        return _shown(door, visit, _about(ref, "", subject), subject)

    return routes


def _about(ref: str, row: str, subject: str = "") -> About:
    if row and not (row.isdecimal() and row.isascii() and 0 < int(row[:18]) < 10**12):
        raise BadInput(what=f"`{row[:20]}` is no number of a row", why="rows are counted from 1")
    said: dict[str, Any] = {"ref": ref[:120]}
    if row:
        said["row"] = int(row)
    if subject:
        said["subject"] = subject
    return About(**said)


def _shown(door: Door, visit: Visit, asked: About, subject: str) -> HTMLResponse:
    tree = look_forward(door.gate, door.parts.ground, visit.who, asked)
    leads = partial(address, data=True)  # who may not read data was refused
    more = ["--row", str(asked.row)] if asked.row else ["--subject", "PERSON"] if subject else []
    path = f"/api/impact/{quote(asked.ref, safe='@:')}" + (f"?row={asked.row}" if asked.row else "")
    body = {"ref": asked.ref, "subject": "PERSON"} if subject else None
    ways = visit.ways(
        quoted("freehold", "impact", asked.ref, *more),
        "POST" if body else "GET",
        "/api/impact" if body else path,
        body,
    )
    return visit.page(
        "impact.html",
        f"Impact of {asked.ref}",
        ref=asked.ref,
        row=asked.row,
        tree=tree,
        is_data=not asked.ref.startswith("model:") and tree.kind != "model",
        is_person=bool(subject),
        graph=graph.tree(tree, leads, label=f"What came of {asked.ref}"),
        address=leads,
        ways=ways,
    )
