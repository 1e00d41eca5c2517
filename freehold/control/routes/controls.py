"""`/api/controls`: every control, proved by its effect."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from freehold.control import controls
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate


def router(parts: Parts) -> APIRouter:
    """Reading what was proved last, and proving it again."""
    routes, gate, ground = APIRouter(prefix="/api"), Gate(parts), parts.ground

    @routes.get("/controls")
    def list_controls(request: Request) -> list[dict[str, Any]]:
        """Every control, and how it did when it was last tried."""
        gate.may(gate.signed_in(request), "ledger:read", resource="controls")
        with ground.db.read() as conn:
            return [asdict(one) for one in controls.latest(conn)]

    @routes.post("/controls")
    def prove_controls(request: Request) -> list[dict[str, Any]]:
        """Try every control now; how each did is an entry of the ledger. Takes a few seconds."""
        who = gate.signed_in(request)
        gate.may(who, "ledger:read", resource="controls")
        return [asdict(one) for one in controls.prove(ground, by=who)]

    return routes
