"""The ledger over HTTP: checkpoint and tiles for anyone, entries for auditors, receipts for askers."""

from __future__ import annotations

import base64
import time

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from freehold.client import RESTORED
from freehold.control.parts import Parts
from freehold.control.routes import exported
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.ledger.proof import consistency, receipt
from freehold.ledger.tiles import ENTRIES, Tile, TileMissing
from freehold.spec.notes import read_checkpoint
from freehold.store import tables

WAIT = 2.0
"""Seconds a receipt waits for its answer to be taken in, closed and sequenced."""
STEP = 0.05

_NEVER_CHANGES = {"cache-control": "public, max-age=31536000, immutable"}
_ALWAYS_NEW = {"cache-control": "no-store"}


def router(parts: Parts) -> APIRouter:
    """`/ledger/…` in the layout of C2SP tlog-tiles, `/api/receipts/{answer}` and `/api/export`."""
    routes, gate = APIRouter(), Gate(parts)
    _add_public(routes, parts)
    _add_tiles(routes, parts, gate)
    _add_receipts(routes, parts, gate)
    exported.add(routes, parts, gate)
    return routes


def _add_public(routes: APIRouter, parts: Parts) -> None:
    sequencer = parts.sequencer

    @routes.get("/ledger/checkpoint", response_class=PlainTextResponse)
    def checkpoint() -> PlainTextResponse:
        """The newest signed checkpoint."""
        note = sequencer.newest()
        if note is None:
            raise NotFound(kind="checkpoint", name="newest", why="nothing has been sequenced yet")
        return PlainTextResponse(note, headers=_ALWAYS_NEW)

    @routes.get("/ledger/key", response_class=PlainTextResponse)
    def key() -> PlainTextResponse:
        """The key that signs checkpoints, in the form verifiers take; compare it with one you kept."""
        return PlainTextResponse(f"{sequencer.public}\n", headers=_ALWAYS_NEW)

    @routes.get("/ledger/restored")
    def restored() -> list[str]:
        """The proof of each entry that says that this ledger went back to a backup, oldest first."""
        with parts.ground.db.read() as connection:
            e = tables.entries.c
            query = sa.select(e.id).where(e.kind == RESTORED).order_by(e.at)
            found = [id_ for (id_,) in connection.execute(query)]
        return [receipt(sequencer, id_, WAIT).text() for id_ in found]

    @routes.get("/ledger/consistency/{old}/{new}")
    def grown(old: int, new: int) -> list[str]:
        """RFC 6962 hashes that show that the first `old` of `new` entries did not change."""
        return [base64.b64encode(item).decode() for item in consistency(sequencer, old, new)]


def _add_tiles(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    @routes.get("/ledger/tile/{path:path}")
    def tile(path: str, request: Request) -> Response:
        """A tile of hashes, for anyone; a bundle of entries, for who may read the ledger."""
        asked = Tile.parse(f"tile/{path}")
        if asked is None:
            raise NotFound(kind="tile", name=path[:80])
        if asked.level == ENTRIES:
            gate.may(gate.signed_in(request), "ledger:read", resource="ledger")
        return Response(
            tile_bytes(parts, asked), media_type="application/octet-stream", headers=_NEVER_CHANGES
        )


def tile_bytes(parts: Parts, tile: Tile) -> bytes:
    """A tile that a checkpoint covers: one being written is not served before it is signed for."""
    note = parts.sequencer.newest()
    size = read_checkpoint(note, parts.sequencer.public).size if note else 0
    held = size >> (8 * max(tile.level, 0))
    if tile.number * 256 + tile.width > held:
        raise NotFound(kind="tile", name=tile.path, why=f"the ledger has {size} entries")
    try:
        return parts.sequencer.tiles.read(tile)
    except TileMissing as error:
        raise NotFound(kind="tile", name=tile.path, why=error.why, hint=error.hint) from error


def _add_receipts(routes: APIRouter, parts: Parts, gate: Gate) -> None:
    @routes.get("/api/receipts/{answer}", response_class=PlainTextResponse)
    def receipt_of(answer: str, request: Request) -> PlainTextResponse:
        """A proof that the answer stands in the ledger, to keep: a C2SP tlog-proof with its last entry."""
        who, deadline = gate.signed_in(request), time.monotonic() + WAIT
        intent = _entry(parts, answer, "answer.intent", deadline)
        gate.may(who, "answer:read", project=intent.project, resource=answer)
        close = _entry(parts, answer, "answer.close", deadline)
        return PlainTextResponse(receipt(parts.sequencer, close.id, WAIT).text())


def _entry(parts: Parts, answer: str, kind: str, deadline: float) -> sa.Row[str, str]:
    """An answer's entry of a kind; waits while it is still on its way."""
    entries = tables.entries
    query = sa.select(entries.c.id, entries.c.project).where(
        entries.c.object == answer, entries.c.kind == kind
    )
    while True:
        with parts.ground.db.read() as connection:
            row = connection.execute(query).first()
        if row is not None:
            return row
        if time.monotonic() > deadline:
            began = kind == "answer.close"
            raise NotFound(
                kind="receipt",
                name=answer[:80],
                why="the answer has not ended yet" if began else "no such answer was taken in",
                hint="ask again in a moment" if began else "the id is the header `x-freehold-answer`",
            )
        time.sleep(STEP)
