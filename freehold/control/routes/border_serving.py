"""The border towards the serving zone: snapshots and models out, records and reports in.

Only machines with a border key come here. Everything that leaves is signed and verified again on the
other side; everything that enters was sealed to control.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import Field

from freehold.control.held import held
from freehold.control.ingest import take_in
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, Refused, Unavailable
from freehold.release import files, publish, silent
from freehold.spec.principal import Principal
from freehold.store.tables import gateways

HOLD = 20.0
"""Seconds a question for news is held."""
MOST = 64 << 20
"""Bytes of frames in one batch; a gateway sends one record alone when it is larger than its usual."""

MOST_PAGES = 64
"""Pages of a snapshot that are asked for together; a gateway asks for less."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Id = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")]


class NotTheGateway(Refused):
    """only a gateway may do this"""


class NewsHeldBack(Unavailable):
    """there are newer rules, and they may not be handed out yet"""


class NewsUnknown(Unavailable):
    """the gateway goes by rules that are newer than any here"""


class BatchTooLarge(BadInput):
    """a batch of records may have {limit} bytes"""

    status = 413


Words = Annotated[str, Field(max_length=300)]


class Trouble(Asked):
    """One thing that is wrong at a gateway."""

    part: Annotated[str, Field(pattern="^[a-z]{1,20}$")]
    since: Annotated[int, Field(ge=0)]
    what: Words
    why: Words
    lost: Words
    hint: Words


class Report(Asked):
    """What a gateway says of itself."""

    applied: Annotated[int, Field(ge=0)]
    engines: dict[Annotated[str, Field(max_length=80)], Words]
    troubles: Annotated[tuple[Trouble, ...], Field(max_length=10)] = ()


def router(parts: Parts) -> APIRouter:
    """`/border/snapshot`, `/border/pages`, `/border/spool/…`, `/border/gateways/…`, `/border/models/…`."""
    routes, gate = APIRouter(include_in_schema=False), Gate(parts)
    _add_snapshot(routes, parts, gate)
    _add_records(routes, parts, gate)
    _add_models(routes, parts, gate)
    return routes


def _add_snapshot(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    @routes.get("/border/snapshot")
    async def snapshot(request: Request, after: Annotated[int, Query(ge=0)] = 0) -> Response:
        """The newest signed snapshot above `after`, as soon as there is one; 204 when none came.

        An empty answer says that there is nothing newer: it is looked once more before it is given.
        """
        await run_in_threadpool(gate.machine, request)
        with held(parts, "snapshots", "ledger", seconds=HOLD) as again:
            going = True
            while (found := await run_in_threadpool(_newest, parts, after)) is None and going:
                going = await again() and not await request.is_disconnected()
        if found is None:
            return Response(status_code=204)
        return Response(found, media_type="application/json")

    @routes.get("/border/pages")
    def pages(
        request: Request, digest: Annotated[list[Digest], Query(min_length=1, max_length=MOST_PAGES)]
    ) -> Response:
        """Pages that a snapshot names, a line for each in the order asked; an empty one where none is."""
        gate.machine(request)
        with parts.ground.db.read() as conn:
            found = publish.pages(conn, digest)
        return Response(b"\n".join(found), media_type="application/x-ndjson")


def _newest(parts: Parts, after: int) -> str | None:
    """Raises NewsHeldBack where a gateway would take what it has for the newest, and it is not; NewsUnknown
    for one that has newer ones than there are.

    One that was away asks for what it has already, which is the next after `after`: that is no news either.
    """
    with parts.ground.db.read() as conn:
        if after > publish.newest_ix(conn):
            raise NewsUnknown(
                why=f"snapshot {after} was never published here: control may have come back as it was before",
                hint="stop the gateway, remove the folder `snapshot` of its serving folder, start it again",
            )
        ix, text = publish.newest(conn, after) or (after, None)
        if ix <= after + 1 and publish.is_held_back(conn, ix, parts.ground.clock()):
            raise NewsHeldBack(
                why="their entry waits for its place in the ledger",
                hint="`freehold status` says why entries wait",
            )
    return text


def _add_records(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    private = _once(parts.home.spool_key.read_bytes)

    @routes.post("/border/spool/{spool}")
    async def spool(spool: Id, request: Request) -> dict[str, int]:
        """Take frames in; answers how far the spool is taken in. Without frames it only answers."""
        who = await run_in_threadpool(_gateway, gate, request)
        data = await _body(request)
        try:
            taken = await run_in_threadpool(
                take_in, parts.ground, by=who, spool=spool, data=data, private=private()
            )
        except Unavailable as failure:  # the database or its disk: `freehold status` says since when
            parts.intake.refused(parts.ground.clock(), failure)
            raise
        parts.intake.taken()
        await run_in_threadpool(parts.watching.look, parts.ground, taken.ended)
        return {"sequence": taken.sequence}

    @routes.post("/border/gateways/{gateway}")
    def report(gateway: Id, report: Report, request: Request) -> None:
        """Keep what a gateway says of itself."""
        _gateway(gate, request)
        said = {
            "applied": report.applied,
            "engines": json.dumps(report.engines, sort_keys=True),
            "troubles": json.dumps([trouble.model_dump() for trouble in report.troubles]),
        }
        with parts.ground.db.write() as tx:
            here = gateways.c.id == gateway
            known = tx.execute(gateways.update().where(here).values(**said, seen_at=tx.at)).rowcount
            if not known:
                tx.execute(gateways.insert().values(id=gateway, **said, seen_at=tx.at))
                silent.forget_gone(tx)

    @routes.delete("/border/gateways/{gateway}")
    def leave(gateway: Id, request: Request) -> None:
        """Forget a gateway that drained: nobody has to wait for it."""
        _gateway(gate, request)
        with parts.ground.db.write() as tx:
            tx.execute(sa.delete(gateways).where(gateways.c.id == gateway))


def _add_models(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    @routes.get("/border/models/{serving_digest}")
    def model(serving_digest: str, request: Request) -> dict[str, object]:
        """A released model's signed manifest, its files' names, and how it answered when evaluated."""
        gate.machine(request)
        found = files.open_model(parts.ground, serving_digest)
        return {
            "envelope": found.envelope,
            "evidence": files.evidence_of(parts.ground, serving_digest),
            "files": [asdict(entry) for entry in found.files],
        }

    @routes.get("/border/models/{serving_digest}/files/{path:path}")
    def file(serving_digest: str, path: str, request: Request) -> Response:
        """One of them."""
        gate.machine(request)
        content = files.open_model(parts.ground, serving_digest).read(path)
        return Response(content, media_type="application/octet-stream")


def _gateway(gate: Gate, request: Request) -> Principal:
    who = gate.machine(request)
    if who.id != "gateway":
        raise NotTheGateway(why=f"this key belongs to the {who.id}")
    return who


async def _body(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST:
            raise BatchTooLarge(limit=MOST)
        pieces.append(piece)
    return b"".join(pieces)


def _once(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Read a key when it is first needed, and not again."""
    kept: list[bytes] = []

    def get() -> bytes:
        if not kept:
            kept.append(read())
        return kept[0]

    return get
