"""`/api/approvals`, `/api/services`, `/api/models`: decide, roll back, stop, resume; what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request

from freehold.control import deciding, turning
from freehold.control.parts import Parts
from freehold.control.routes import attached, notices
from freehold.control.routes.asked import Asked, Because, Reason
from freehold.control.signed_in import Gate
from freehold.release import approvals, services
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.tables import models

Shown = Literal["waiting", "given", "refused", "void", "expired", "all"]


class Decision(Asked):
    """Give or refuse, and why."""

    give: bool
    because: Reason = ""


def router(parts: Parts) -> APIRouter:
    """The routes of approvals, services, attached services and notices."""
    routes = APIRouter()
    gate, ground = Gate(parts), parts.ground
    _add_approvals(routes, gate, parts)
    _add_services(routes, gate, parts)
    _add_rollback(routes, gate, parts)
    _add_stop(routes, gate, parts)
    _add_models(routes, gate, ground)
    attached.add(routes, gate, parts)
    notices.add(routes, gate, parts)
    return routes


# -- approvals --------------------------------------------------------------------------------------


def _add_approvals(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/api/approvals")
    def list_approvals(request: Request, state: Shown = "waiting") -> list[dict[str, Any]]:
        """Approvals in the projects you may see; `state=all` for the decided ones too."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = approvals.listed(conn, ground.clock(), state=None if state == "all" else state)
            seen = turning.seen(gate, who, {a.project for a in found})
            return [deciding.told(ground, conn, who, a) for a in found if a.project in seen]

    @routes.get("/api/approvals/{approval}")
    def show_approval(approval: str, request: Request) -> dict[str, Any]:
        """One approval with its evidence: the card's gates, the others of its set, the model."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = deciding.visible(gate, ground, conn, who, approval)
            return deciding.told(ground, conn, who, found) | deciding.evidence(conn, found, ground.clock())

    @routes.post("/api/approvals/{approval}")
    def decide(approval: str, asked: Decision, request: Request) -> dict[str, Any]:
        """Give or refuse; the last one given lets the journey go on."""
        who = gate.signed_in(request)
        done = deciding.decide(parts, gate, who, approval, give=asked.give, because=asked.because)
        with ground.db.read() as conn:
            standing = deciding.standing(conn, done, ground.clock())
            told = deciding.told(ground, conn, who, done)
        return told | {"waiting": [a.role for a in standing.waiting], "complete": standing.complete}


# -- services ---------------------------------------------------------------------------------------


def _add_services(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/api/services")
    def list_services(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """The services of the projects you may see."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = services.listed(conn, project)
            seen = turning.seen(gate, who, {row["project"] for row in found})
            return [turning.told(ground, conn, row) for row in found if row["project"] in seen]

    @routes.get("/api/services/{name}")
    def show_service(name: str, request: Request) -> dict[str, Any]:
        """One service: what was declared, whether it is kept, what runs, and every release there was."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = turning.visible(gate, conn, who, name)
            history = [turning.told_release(ground, r) for r in turning.releases_of(conn, name)]
            kept = [one.as_json() for one in parts.objectives.of(conn, row, ground.clock())]
            more = {"declared": services.spec_of(row), "objectives": kept, "releases": history}
            return turning.told(ground, conn, row) | more


# -- roll back, stop, resume ------------------------------------------------------------------------


def _add_rollback(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/api/services/{name}/rollback")
    def plan_rollback(name: str, request: Request) -> dict[str, Any]:
        """What a rollback would do now; changes nothing."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = turning.visible(gate, conn, who, name)
        gate.may(who, "release:rollback", project=row["project"], resource=name)
        with ground.db.read() as conn:
            return turning.planned_rollback(ground, conn, name)

    @routes.post("/api/services/{name}/rollback")
    def rollback(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Give the traffic back to the release before."""
        return turning.roll_back(parts, gate, gate.signed_in(request), name, asked.because)


def _add_stop(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.post("/api/services/{name}/stop")
    def stop_service(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Refuse every request from now on; answers once the gateways have heard."""
        return turning.stop_service(parts, gate, gate.signed_in(request), name, asked.because)

    @routes.post("/api/services/{name}/resume")
    def resume_service(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Let it answer again; another person than the one who stopped it."""
        return turning.resume_service(parts, gate, gate.signed_in(request), name, asked.because)


# -- models -----------------------------------------------------------------------------------------


def _add_models(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/api/models")
    def list_models(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """Model versions of the projects you may see, the newest first."""
        who = gate.signed_in(request)
        query = sa.select(models).order_by(models.c.created_at.desc(), models.c.id.desc())
        if project is not None:
            query = query.where(models.c.project == project)
        with ground.db.read() as conn:
            found = [dict(row) for row in conn.execute(query).mappings()]
        seen = turning.seen(gate, who, {row["project"] for row in found})
        return [_told_model(row) for row in found if row["project"] in seen]


def _told_model(row: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "id",
        "project",
        "kind",
        "task",
        "run",
        "digest",
        "serving_digest",
        "state",
        "because",
        "created_at",
    )
    about = json.loads(row["about"])
    return {
        "model": f"{row['name']}@{row['version']}",
        **{name: row[name] for name in names},
        "data": about["data"],
        "sensitivity": Sensitivity(row["sensitivity"]).word,
    }
