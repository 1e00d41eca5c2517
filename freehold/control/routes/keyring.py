"""`/api/keyring`: the key that wraps all others."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.data import carried
from freehold.ledger.record import record


def router(parts: Parts) -> APIRouter:
    """Changing the epoch key while everything runs."""
    routes, gate, ground = APIRouter(prefix="/api"), Gate(parts), parts.ground

    @routes.post("/keyring/rotate")
    def rotate(request: Request) -> dict[str, Any]:
        """All keys change to a new epoch key, and the old one is destroyed; recorded before and after."""
        who = gate.signed_in(request)
        gate.may(who, "keyring:rotate")
        before = ground.keyring.epoch
        with ground.db.write() as tx:
            record(tx, "keyring.rotation", by=who, object=ground.origin, detail={"before": before})
        count = ground.keyring.rotate()
        carried.keep(ground)
        after = ground.keyring.epoch
        with ground.db.write() as tx:
            detail = {"before": before, "after": after, "keys": count}
            entry = record(tx, "keyring.rotated", by=who, object=ground.origin, detail=detail)
        return {"keys": count, "epoch": after, "entry": entry}

    return routes
