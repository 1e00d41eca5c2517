"""Incidents: who looks like an attacker, what was done about it, and what people decide."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from freehold.console import listed
from freehold.console.door import Door, Form
from freehold.console.named import named
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control.found import INCIDENT_STATES, page_of_incidents
from freehold.control.parts import Parts
from freehold.control.routes.incidents import (
    acknowledged,
    closed,
    may_change,
    owner_of,
    readable,
    told_of,
)
from freehold.errors import BadInput
from freehold.release.incidents import rules

TAB = Tab(path="/incidents", word="Incidents", needs=("incident:read",))

SAID = {
    "acknowledged": "That you look into it stands in the ledger.",
    "closed": "It is closed, and nobody is held back by it any more.",
}


def router(parts: Parts) -> APIRouter:
    """`/incidents` and `/incidents/{id}`."""
    routes, door = APIRouter(), Door(parts)
    _add_list(routes, door)
    _add_one(routes, door)
    return routes


def _add_list(routes: APIRouter, door: Door) -> None:
    ground = door.parts.ground

    @routes.get("/incidents")
    def list_incidents(request: Request) -> Response:
        """Newest first; `state` leaves out the others."""
        visit = door.visit(request)
        chosen = listed.chosen(request, "state")
        if chosen["state"] and chosen["state"] not in INCIDENT_STATES:
            raise BadInput(what="incidents are open, acknowledged or closed", hint="choose one of these")
        at = listed.place(request)
        with ground.db.read() as conn:
            seen = visit.projects_or_refuse(conn, "incident:read")
            page = page_of_incidents(conn, seen, chosen["state"] or None, at.cursor, at.way, listed.SIZE)
            watched = {rule.name for rule in rules(conn) if not rule.project or rule.project in seen}
        return visit.page(
            "incidents.html",
            "Incidents",
            rows=page.rows,
            rules=sorted(watched),
            chosen=chosen,
            states=INCIDENT_STATES,
            now=ground.clock(),
            **listed.beside(request, page),
        )


def _add_one(routes: APIRouter, door: Door) -> None:
    ground = door.parts.ground

    @routes.get("/incidents/{id}")
    def one(id: str, request: Request) -> Response:
        """One incident."""
        visit = door.visit(request)
        row = readable(door.gate, ground, visit.who, id)
        with ground.db.read() as conn:
            by = named(visit, conn, row["changed_by"])
        path, cli = f"/api/incidents/{id}/close", ("freehold", "incident", "close", id)
        return visit.page(
            "incident.html",
            f"Incident {id}",
            row=told_of(ground, row),
            by=by,
            may=visit.may_see("incident:change", row["project"]),
            may_answers=visit.may_see("answer:read", row["project"]),
            over=row["until"] is not None and row["until"] <= ground.clock(),
            own=owner_of(ground, row) == visit.who.id,
            said=SAID,
            ways=visit.ways(
                quoted(*cli, "--because", "your reason"), "POST", path, {"because": "your reason"}
            ),
        )

    @routes.post("/incidents/{id}")
    def decide(id: str, request: Request, form: Form) -> Response:
        """Acknowledge or close it."""
        visit = door.posted(request, form)
        row = readable(door.gate, ground, visit.who, id)
        word, because = form.get("decision", ""), form.get("because", "")
        may_change(door.gate, ground, visit.who, row, closes=word == "close")
        if word == "close":
            closed(ground, visit.who, id, because)
            return visit.go(f"/incidents/{id}", said="closed")
        if word != "acknowledge":
            raise BadInput(what="the form says neither acknowledge nor close", hint="reload the page")
        acknowledged(ground, visit.who, id, because)
        return visit.go(f"/incidents/{id}", said="acknowledged")
