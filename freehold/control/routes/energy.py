"""`/api/energy`: what each model took so far, training beside answering."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.control.spent import spent
from freehold.policy.decide import Action
from freehold.spec.principal import Principal
from freehold.store.tables import projects

READ: tuple[Action, ...] = ("answer:read", "run:read")
METHOD = "CPU seconds of runs and time of answers x watts of a busy core; no meter was read"


def router(parts: Parts) -> APIRouter:
    """The one route."""
    routes = APIRouter(prefix="/api")
    gate, ground = Gate(parts), parts.ground

    @routes.get("/energy")
    def energy(request: Request, service: str | None = None) -> dict[str, Any]:
        """Watt-hours by model in the projects whose runs and answers you may both read, or of one service."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = spent(conn, _projects(gate, conn, who), parts.config, service)
        return {
            "models": [asdict(one) for one in found],
            "method": METHOD,
            "label": "estimated",
            "watts_per_core": float(parts.config.watts_per_core),
            "grams_per_kwh": float(parts.config.grams_per_kwh),
        }

    return routes


def _projects(gate: Gate, conn: sa.Connection, who: Principal) -> list[str]:
    """A refusal is told when there is none."""
    named = list(conn.scalars(sa.select(projects.c.name).order_by(projects.c.name)))
    seen = [name for name in named if all(gate.would(who, action, project=name) for action in READ)]
    if not seen:
        for action in READ:
            gate.may(who, action)
    return seen
