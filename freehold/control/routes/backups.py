"""`/api/backups`: everything, sealed, as one tar; and what became of the backups there were."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.types import Receive, Scope, Send

from freehold.control import backup
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.errors import Tampered
from freehold.store.backed_up import Statement


class Arrived(BaseModel):
    """The signed statement of a backup, from its manifest."""

    model_config = ConfigDict(extra="forbid")

    statement: dict[str, Any]
    signature: dict[str, Any]


class StatementForged(Tampered):
    """this is no statement that control signed"""

    status = 400  # it is the caller's proof that does not hold


class _Leaving(StreamingResponse):
    """Gives the copies back however it ends: whoever asked may hang up before the first byte."""

    def __init__(self, parts: Parts, copy: backup.Copy, headers: dict[str, str]) -> None:
        super().__init__(backup.archive(parts, copy), media_type="application/x-tar", headers=headers)
        self._copy = copy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._copy.close()


def router(parts: Parts) -> APIRouter:
    """Making, confirming, listing and crossing out backups; all for who may take everything out."""
    routes, gate = APIRouter(), Gate(parts)

    @routes.post("/api/backups", response_class=StreamingResponse)
    def make(request: Request) -> StreamingResponse:
        """Everything, sealed; recorded before the first byte; `MANIFEST.json` comes last."""
        who = gate.signed_in(request)
        gate.may(who, "export:make")
        copy = backup.begin(parts, who)
        headers = {"x-freehold-backup": copy.backup, "x-freehold-bytes": str(backup.size(parts, copy))}
        return _Leaving(parts, copy, headers)

    @routes.post("/api/backups/made")
    def made(body: Arrived, request: Request) -> dict[str, str]:
        """It arrived whole; the statement is the one that control signed."""
        who = gate.signed_in(request)
        gate.may(who, "export:make")
        try:
            statement = Statement.read(body.statement)
            return {"backup": statement.backup, "entry": backup.made(parts, who, statement, body.signature)}
        except Tampered as wrong:
            raise StatementForged(why=f"{wrong.what}, {wrong.why}", hint=wrong.hint) from wrong

    @routes.get("/api/backups")
    def listed(request: Request) -> list[dict[str, Any]]:
        """Every backup there was, newest first."""
        gate.may(gate.signed_in(request), "export:make")
        with parts.ground.db.read() as conn:
            return backup.listed(conn)

    @routes.delete("/api/backups/{id}")
    def gone(id: str, request: Request) -> dict[str, str]:
        """It was destroyed where it lay."""
        who = gate.signed_in(request)
        gate.may(who, "export:make")
        return {"backup": id, "entry": backup.gone(parts, who, id)}

    return routes
