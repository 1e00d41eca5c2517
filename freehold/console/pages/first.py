"""The first page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from freehold.console.door import Door
from freehold.console.registry import Tab
from freehold.control.parts import Parts

TAB = Tab(path="/", word="The line")


def router(parts: Parts) -> APIRouter:
    """`/`."""
    routes, door = APIRouter(), Door(parts)

    @routes.get("/")
    def first(request: Request) -> HTMLResponse:
        return door.visit(request).page("first.html", title="The line")

    return routes
