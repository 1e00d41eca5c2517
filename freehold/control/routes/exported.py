"""`POST /api/export`: everything as one tar, for whoever runs the installation."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from freehold.control.export import archive, begin
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate


def add(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    """Add the route to the ledger's."""

    @routes.post("/api/export", response_class=StreamingResponse)
    def export(request: Request, exact: bool = False) -> StreamingResponse:
        """Everything in open formats, recorded before the first byte; `MANIFEST.json` comes last.

        `exact`: with what an import needs.
        """
        who = gate.signed_in(request)
        gate.may(who, "export:make")
        entry = begin(parts, who)
        headers = {"content-disposition": 'attachment; filename="freehold-export.tar"'}
        return StreamingResponse(
            archive(parts, entry, exact=exact),
            media_type="application/x-tar",
            headers=headers | {"x-freehold-entry": entry},
        )
