"""The ledger: explore its entries, and verify it in the browser with nothing but the public key."""

from __future__ import annotations

import json

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from freehold.console import listed
from freehold.console.door import Door, Visit
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control.found import AskedEntries, page_of_entries
from freehold.control.parts import Parts
from freehold.control.routes.ledger import tile_bytes
from freehold.errors import NotFound
from freehold.ledger.kinds import KINDS
from freehold.ledger.proof import receipt
from freehold.ledger.tiles import ENTRIES, Tile
from freehold.store.tables import entries, ledger

TAB = Tab(path="/ledger", word="Ledger", needs=("ledger:read", "answer:read"))


def router(parts: Parts) -> APIRouter:
    """`/ledger`, its entries, and the page that verifies."""
    routes, door = APIRouter(), Door(parts)
    _add_list(routes, door)
    _add_verify(routes, door)
    _add_entry(routes, door)
    return routes


# -- explore ------------------------------------------------------------------------------------------


def _add_list(routes: APIRouter, door: Door) -> None:
    @routes.get("/ledger")
    def explore(request: Request) -> Response:
        """Entries, newest first; who may not read them is led to the page that verifies."""
        visit = door.visit(request)
        chosen = listed.chosen(request, "kind", "actor", "object", "since", "until")
        at = listed.place(request)
        asked = AskedEntries(
            kind=chosen["kind"] or None,
            actor=chosen["actor"] or None,
            object=chosen["object"] or None,
            since=listed.moment(chosen["since"], door.zone),
            until=listed.moment(chosen["until"], door.zone),
        )
        with door.parts.ground.db.read() as conn:
            seen = _seen(conn, visit)
            if seen == []:
                return visit.go("/ledger/verify")
            page = page_of_entries(conn, seen, asked, at.cursor, at.way, listed.SIZE)
        return visit.page(
            "ledger.html",
            "Ledger",
            # entries of one transaction have one time: their places tell their order
            rows=sorted(page.rows, key=lambda row: (row["at"], row["ix"] or 0), reverse=True),
            chosen=chosen,
            kinds=KINDS,
            controls=visit.may_see("ledger:read"),
            ways=visit.ways(quoted("freehold", "verify"), "GET", "/ledger/checkpoint"),
            **listed.beside(request, page),
        )


def _seen(conn: sa.Connection, visit: Visit) -> list[str] | None:
    """The projects whose entries somebody may read; none means the whole installation's."""
    return None if visit.may_see("ledger:read") else visit.projects(conn, "ledger:read")


# -- one entry ----------------------------------------------------------------------------------------


def _add_entry(routes: APIRouter, door: Door) -> None:
    @routes.get("/ledger/entries/{entry}")
    def show(entry: str, request: Request) -> HTMLResponse:
        """One entry as it was hashed."""
        visit = door.visit(request)
        row = _entry(door, visit, entry)
        return visit.page(
            "entry.html",
            f"Entry {row.id}",
            row=row,
            may_answers=bool(row.project) and visit.may_see("answer:read", row.project),
            about=KINDS[row.kind].about if row.kind in KINDS else "",
            body=json.dumps(json.loads(row.body), indent=2, ensure_ascii=False),
        )

    @routes.get("/ledger/entries/{entry}/receipt")
    def proof(entry: str, request: Request) -> PlainTextResponse:
        """The proof that it is in the ledger; for an answer's id, of its last entry."""
        row = _entry(door, door.visit(request), entry)
        return PlainTextResponse(receipt(door.parts.sequencer, row.id).text())


def _entry(door: Door, visit: Visit, name: str) -> sa.Row[str, str, str, str | None, str, str, int, int]:
    """An entry, by its id or as the newest about an answer. Raises NotFound where it may not be read."""
    e = entries.c
    which = e.object == name if name.startswith("ans_") else e.id == name
    query = (
        sa.select(e.id, e.kind, e.actor, e.project, e.object, e.body, e.at, ledger.c.ix)
        .select_from(entries.outerjoin(ledger, ledger.c.id == e.id))
        .where(which)
        .order_by(e.at.desc(), e.id.desc())
        .limit(1)
    )
    with door.parts.ground.db.read() as conn:
        row = conn.execute(query).first()
    if row is None or not _may_read(visit, row.kind, row.project):
        raise NotFound(kind="entry", name=name[:80], hint="an id begins with `ent_`, an answer’s with `ans_`")
    return row


def _may_read(visit: Visit, kind: str, project: str | None) -> bool:
    """Entries are for auditors; an answer's own also for who may read the answer."""
    if visit.may_see("ledger:read") or (project and visit.may_see("ledger:read", project)):
        return True
    return kind.startswith("answer.") and bool(project) and visit.may_see("answer:read", project)


# -- verify -------------------------------------------------------------------------------------------


def _add_verify(routes: APIRouter, door: Door) -> None:
    @routes.get("/ledger/verify")
    def verify(request: Request) -> HTMLResponse:
        """A page that computes everything itself, from files that anyone may fetch."""
        visit = door.visit(request)
        return visit.page(
            "verify.html",
            "Verify the ledger",
            bundles=visit.may_see("ledger:read"),
            ways=visit.ways(quoted("freehold", "verify"), "GET", "/ledger/checkpoint"),
        )

    @routes.get("/ledger/bundle/{path:path}")
    def bundle(path: str, request: Request) -> Response:
        """A bundle of entries for that page; for who may read the whole ledger."""
        visit = door.visit(request)
        door.gate.may(visit.who, "ledger:read", resource="ledger")
        asked = Tile.parse(f"tile/entries/{path}")
        if asked is None or asked.level != ENTRIES:
            raise NotFound(kind="bundle", name=path[:80])
        return Response(tile_bytes(door.parts, asked), media_type="application/octet-stream")
