"""The paths under `/mlflow-artifacts`: files come as streams and are sealed while they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from freehold.control.tracking import bodies, shapes
from freehold.control.tracking.desk import OPEN, READ, WRITE, Desk
from freehold.control.tracking.wire import NotKept
from freehold.track import artifacts
from freehold.track.artifacts import Arriving

_BYTES = "application/octet-stream"
_RAW = {"requestBody": {"required": True, "content": {_BYTES: {"schema": {"format": "binary"}}}}}


class Listing(bodies.Said):
    """What to list."""

    path: bodies.Text = ""


def add(routes: APIRouter, desk: Desk) -> None:
    """Add the paths."""
    _add_moving(routes, desk)
    _add_rest(routes, desk)


def _add_moving(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.put("/artifacts/{path:path}", openapi_extra=_RAW)
    async def put_file(path: str, request: Request) -> dict[str, Any]:
        """A file, in place of what was there."""
        who = desk.who(request)
        project, place = await run_in_threadpool(desk.spot, who, path, WRITE)
        arriving = await run_in_threadpool(Arriving, ground, project, place, desk.folder)
        try:
            async for piece in request.stream():
                await run_in_threadpool(arriving.feed, piece)
            await run_in_threadpool(arriving.finish, who)
        finally:
            arriving.close()
        return {}

    @routes.get("/artifacts/{path:path}")
    def get_file(path: str, request: Request) -> StreamingResponse:
        """A file as it was brought; whoever opens it knows what it is."""
        project, place = desk.spot(desk.who(request), path, OPEN)
        leaving = artifacts.read(ground, project, place, desk.folder)
        headers = {
            "content-length": str(leaving.bytes),
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
        }
        return StreamingResponse(_checked(leaving.pieces), media_type=_BYTES, headers=headers)


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces


def _add_rest(routes: APIRouter, desk: Desk) -> None:
    ground = desk.ground

    @routes.get("/artifacts")
    def list_files(request: Request, said: Annotated[Listing, Query()]) -> dict[str, Any]:
        """What lies in a folder."""
        _, place = desk.spot(desk.who(request), said.path, READ)
        with ground.db.read() as conn:
            entries = artifacts.listed(conn, ground.keyring, place.of, place.path)
        return {"files": shapes.files(entries, below=place.path)}

    @routes.delete("/artifacts/{path:path}")
    def delete_file(path: str, request: Request) -> dict[str, Any]:
        """Remove a file for good."""
        who = desk.who(request)
        project, place = desk.spot(who, path, WRITE)
        artifacts.delete(ground, by=who, project=project, place=place)
        return {}

    @routes.post("/mpu/{rest:path}")
    def upload_in_parts(rest: str) -> dict[str, Any]:
        """Refused: files come in one stream."""
        raise NotKept(
            what="files come in one stream here, not in parts",
            hint="unset MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD",
        )
