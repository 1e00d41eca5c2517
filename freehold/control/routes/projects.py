"""`/api/projects`: the walls between teams."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control.applied import wait_applied
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.identity import floors, projects
from freehold.identity.projects import Project
from freehold.release.publish import publish
from freehold.spec.floor import Floor
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground


class NewProject(Asked):
    """A project to begin."""

    name: Plain
    timezone: Plain = "UTC"
    currency: Plain = "EUR"


class NewGuards(Asked):
    """What services are guarded by at least; no words lift what was said of this purpose and sensitivity."""

    guard: Annotated[tuple[Plain, ...], Field(max_length=16)]
    purpose: Plain = ""
    sensitivity: Plain = "Public"


class NewLimits(Asked):
    """What a project may use: `600/min, 50 EUR/day`; empty lifts it."""

    limits: Plain


def add(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    """Add the routes of projects to identity's."""

    @routes.get("/projects")
    def list_projects(request: Request) -> list[dict[str, Any]]:
        """The projects this key may see."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            every = projects.listed(conn)
        return [_told(p) for p in every if gate.would(who, "project:read", project=p.name)]

    @routes.post("/projects", status_code=201)
    def add_project(asked: NewProject, request: Request) -> dict[str, Any]:
        """Begin a project. Gateways learn of it at once: they need its key to recognise subjects."""
        who = gate.signed_in(request)
        gate.may(who, "project:manage", resource=asked.name)
        with ground.db.write() as tx:
            project = projects.add(
                tx, by=who, name=asked.name, timezone=asked.timezone, currency=asked.currency
            )
            publish(tx, ground, by=who)
        return _told(project)

    @routes.post("/projects/{name}/limits")
    def limit_project(name: str, asked: NewLimits, request: Request) -> dict[str, Any]:
        """Say what all its services may use together, from the next snapshot on."""
        who = gate.signed_in(request)
        gate.may(who, "project:manage", project=name, resource=name)
        with ground.db.write() as tx:
            project = projects.limit(tx, by=who, name=name, limits=asked.limits)
            snapshot = publish(tx, ground, by=who)
        return {**_told(project), "applied": wait_applied(ground, snapshot)}

    @routes.post("/projects/{name}/guards")
    def guard_project(name: str, asked: NewGuards, request: Request) -> dict[str, Any]:
        """Say what its services are guarded by at least, whatever they declare, from the next snapshot on."""
        who = gate.signed_in(request)
        gate.may(who, "project:manage", project=name, resource=name)
        floor = Floor(
            purpose=asked.purpose, sensitivity=int(Sensitivity.parse(asked.sensitivity)), guard=asked.guard
        )
        with ground.db.write() as tx:
            project = floors.guard(tx, by=who, name=name, floor=floor)
            snapshot = publish(tx, ground, by=who)
        return {**_told(project), "applied": wait_applied(ground, snapshot)}


def _told(project: Project) -> dict[str, Any]:
    return {**asdict(project), "guards": floors.in_words(project.guards)}
