"""`/api/energy`: what each model took so far, training beside answering."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.control.spent import spent
from freehold.policy.decide import Action

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
            found = spent(conn, gate.places(conn, who, *READ), parts.config, service)
        return {
            "models": [asdict(one) for one in found],
            "method": METHOD,
            "label": "estimated",
            "watts_per_core": float(parts.config.watts_per_core),
            "grams_per_kwh": float(parts.config.grams_per_kwh),
        }

    return routes
