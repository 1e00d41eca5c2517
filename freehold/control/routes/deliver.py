"""`/api/plans`, `/api/journeys`, `/api/runs`, `/api/cards`, `/api/status`."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from freehold.control import compared, delivery, past, progress
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, NotFound
from freehold.evaluate import page
from freehold.identity import projects
from freehold.jobs import steps, walls
from freehold.journeys import cards
from freehold.journeys.stories import STORIES
from freehold.policy.decide import Action
from freehold.release import services
from freehold.spec.principal import Principal
from freehold.spec.service import Service
from freehold.spec.yaml import MAX_BYTES
from freehold.store.tables import models

_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class Submission(Asked):
    """A service file; or, to retrain, a live service and a new version of its data, or its changed file."""

    kind: Literal["deliver", "retrain"] = "deliver"
    spec: str = Field(default="", max_length=MAX_BYTES)
    service: Plain = ""
    data: Plain = ""
    until: Plain | None = None


class Stop(Asked):
    """Why a journey is stopped, as a fixed word."""

    because: Plain = "stopped by a person"


def router(parts: Parts) -> APIRouter:
    """The routes of deliveries."""
    routes = APIRouter(prefix="/api")
    gate = Gate(parts)
    _add_submitting(routes, gate, parts)
    _add_journeys(routes, gate, parts)
    _add_runs(routes, gate, parts)
    _add_status(routes, gate, parts)
    return routes


@cache
def _walls() -> walls.Walls:
    """Of this machine; they do not change while it is up."""
    return walls.offered()


def _add_submitting(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/plans")
    def plan(asked: Submission, request: Request) -> dict[str, Any]:
        """What applying the file, or retraining, would do; changes nothing."""
        who = gate.signed_in(request)
        service = _meant(gate, parts, who, asked)
        return delivery.plan(parts, who, service, _walls(), STORIES[asked.kind])

    @routes.post("/journeys", status_code=201)
    def apply(asked: Submission, request: Request) -> dict[str, Any]:
        """Do it; the same again joins what is under way, or finds nothing to do."""
        who = gate.signed_in(request)
        service = _meant(gate, parts, who, asked)
        submitted = delivery.submit(parts, who, service, asked.until, STORIES[asked.kind])
        return {
            "journey": submitted.journey,
            "state": submitted.state,
            "became": submitted.became,
            "superseded": list(submitted.superseded),
        }


class OneOrTheOther(BadInput):
    """a submission is a service file, or a service and its data"""


def _meant(gate: Gate, parts: Parts, who: Principal, asked: Submission) -> Service:
    """The declaration that is asked for, when `who` may submit it."""
    by_name = asked.kind == "retrain" and not asked.spec
    if bool(asked.service) != by_name or bool(asked.data) != by_name or not (by_name or asked.spec):
        raise OneOrTheOther(hint="`spec` to deliver; `service` and `data`, or `spec`, to retrain")
    if not by_name:
        service = delivery.read(parts, asked.spec)
        gate.may(who, "train:submit", project=service.project)
        return service
    with parts.ground.db.read() as conn:
        row = services.find(conn, asked.service)
        if not gate.would(who, "service:read", project=row["project"]):
            raise NotFound(kind="service", name=asked.service[:80])
    gate.may(who, "train:submit", project=row["project"], resource=asked.service)
    with parts.ground.db.read() as conn:
        return delivery.with_data(conn, asked.service, asked.data)


def _add_journeys(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/journeys")
    def list_journeys(request: Request, limit: int = 100) -> list[dict[str, Any]]:
        """The journeys of your projects, the newest first."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            seen = _projects(conn, gate, who)
            return progress.listed(conn, seen, limit=max(1, min(limit, 1000)))

    @routes.get("/journeys/{journey}")
    def get_journey(journey: str, request: Request) -> dict[str, Any]:
        """One journey with its steps."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            project = steps.find(conn, journey).project
        gate.may(who, "run:read", project=project, resource=journey)
        with ground.db.read() as conn:
            return progress.journey(conn, journey, ground.clock())

    @routes.post("/journeys/{journey}/stop")
    def stop_journey(journey: str, asked: Stop, request: Request) -> dict[str, str]:
        """Turn it round: its job is cancelled, its steps are taken back."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            project = steps.find(conn, journey).project
        gate.may(who, "train:submit", project=project, resource=journey)
        with ground.db.write() as tx:
            steps.stop(tx, by=who, journey=journey, because=asked.because)
        parts.wake()
        return {"journey": journey, "state": "stopping"}


def _add_runs(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/runs")
    def list_runs(request: Request, limit: int = 100) -> list[dict[str, Any]]:
        """The runs of your projects, the newest first."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            seen = _projects(conn, gate, who)
            return progress.listed_runs(conn, seen, limit=max(1, min(limit, 1000)))

    @routes.get("/runs/{run}")
    def get_run(run: str, request: Request) -> dict[str, Any]:
        """One run: specification, figures, machine, cost."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = progress.run(conn, run)
        gate.may(who, "run:read", project=found["project"], resource=found["id"])
        return found

    @routes.get("/runs/{run}/compare/{other}")
    def compare_runs(run: str, other: str, request: Request) -> dict[str, Any]:
        """Two runs beside each other: figures on the same rows, what differs, what each took."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = [progress.run(conn, name) for name in (run, other)]
        for one in found:
            gate.may(who, "run:read", project=one["project"], resource=one["id"])
        with ground.db.read() as conn:
            return compared.beside(conn, found[0], found[1])

    @routes.get("/cards/{card}.html", response_class=HTMLResponse)
    def get_card_page(card: str, request: Request) -> HTMLResponse:
        """A card as a page."""
        row = _card(gate, parts, card, request)
        headers = {"content-security-policy": _PAGE_POLICY, "x-content-type-options": "nosniff"}
        return HTMLResponse(page.render(json.loads(row["body"]), row["digest"]), headers=headers)

    @routes.get("/cards/{card}")
    def get_card(card: str, request: Request) -> dict[str, Any]:
        """A card: what was measured, on what, and whether it passes."""
        row = _card(gate, parts, card, request)
        names = ("id", "model", "serving_digest", "digest", "passed", "created_at")
        return {**{name: row[name] for name in names}, "card": json.loads(row["body"])}


def _card(gate: Gate, parts: Parts, card: str, request: Request) -> dict[str, Any]:
    who = gate.signed_in(request)
    with parts.ground.db.read() as conn:
        row = dict(cards.find(conn, card))
        project = conn.scalar(sa.select(models.c.project).where(models.c.id == row["model"]))
    gate.may(who, "run:read", project=project, resource=card)
    return row


def _add_status(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.get("/status")
    def status(request: Request) -> dict[str, Any]:
        """What runs, what waits, what is wrong."""
        who = gate.signed_in(request)
        with parts.ground.db.read() as conn:
            seen, watched = _projects(conn, gate, who), _projects(conn, gate, who, "incident:read")
        return progress.status(parts, seen, watched)

    @routes.get("/status/{service}")
    def traffic(
        service: str, request: Request, at: Annotated[int | None, Query(ge=0, le=10**17)] = None
    ) -> dict[str, Any]:
        """How the traffic of one service is shared, how the answers of each share ended, and whether it
        keeps its objectives.

        With `at` (microseconds UTC): what got its traffic then, as the ledger's entries tell it.
        """
        who = gate.signed_in(request)
        with parts.ground.db.read() as conn:
            row = services.find(conn, service)
            if not gate.would(who, "service:read", project=row["project"]):
                raise NotFound(kind="service", name=service[:80], hint="`freehold status` lists the services")
            if at is None:
                kept = parts.objectives.of(conn, row, parts.ground.clock())
                return progress.traffic(conn, row) | {"objectives": [one.as_json() for one in kept]}
            if at > parts.ground.clock():
                raise BadInput(
                    what="that time has not come yet",
                    why="the ledger says what was, by the clock of this machine",
                    hint="without --at it says what is now",
                )
            return past.live_at(conn, row, at)


def _projects(conn: sa.Connection, gate: Gate, who: Principal, does: Action = "run:read") -> list[str] | None:
    """The projects whose runs and services, or what `does` says, somebody may see; none means all of them."""
    if gate.would(who, does):
        return None
    names = [project.name for project in projects.listed(conn)]
    return [name for name in names if gate.would(who, does, project=name)]
