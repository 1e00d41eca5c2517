"""The controls: what each one is for, and how it did when it was last tried."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from freehold.console.door import Door
from freehold.console.ways import quoted
from freehold.control import controls
from freehold.control.parts import Parts


def router(parts: Parts) -> APIRouter:
    """`/controls`; the first page's strip and the ledger lead to it."""
    routes, door = APIRouter(), Door(parts)

    @routes.get("/controls")
    def show(request: Request) -> HTMLResponse:
        """Every control there is, tried or not; for who may read the whole ledger."""
        visit = door.visit(request)
        door.gate.may(visit.who, "ledger:read", resource="controls")
        with parts.ground.db.read() as conn:
            found = controls.latest(conn)
        return visit.page(
            "controls.html",
            "Controls",
            found=found,
            held=sum(one.passed is True for one in found),
            failed=[one.control for one in found if one.passed is False],
            ways=visit.ways(quoted("freehold", "doctor"), "POST", "/api/controls"),
        )

    return routes
