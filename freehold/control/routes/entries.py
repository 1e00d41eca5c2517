"""`/api/entries`: what happened, by whom, to what; newest first, page by page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request

from freehold.control.found import AskedEntries, behind, page_of_entries, written
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, NotFound
from freehold.identity import projects as known
from freehold.ledger.kinds import KINDS
from freehold.spec.principal import Principal
from freehold.store.tables import entries, ledger

MOST = 1000
Text = Annotated[str | None, Query(max_length=200)]
Moment = Annotated[int | None, Query(ge=0, le=10**17)]


def router(parts: Parts) -> APIRouter:
    """The routes of entries."""
    routes, gate = APIRouter(prefix="/api"), Gate(parts)
    _add_list(routes, gate, parts)
    _add_one(routes, gate, parts)
    return routes


def _add_list(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.get("/entries")
    def list_entries(
        request: Request,
        kind: Text = None,
        actor: Text = None,
        object: Text = None,
        project: Text = None,
        since: Moment = None,
        until: Moment = None,
        older: Text = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> dict[str, Any]:
        """Entries you may read, newest first; times are microseconds UTC.

        `older` continues behind a page: give the `next` that came with it.
        """
        who = gate.signed_in(request)
        if kind is not None and kind not in KINDS:
            raise BadInput(
                what=f"`{kind[:60]}` is no kind of entry",
                why="the taxonomy does not list it",
                hint="`freehold ledger types` has them all",
            )
        asked = AskedEntries(kind=kind, actor=actor, object=object, since=since, until=until)
        with parts.ground.db.read() as conn:
            seen = _seen(gate, conn, who, project)
            page = page_of_entries(conn, seen, asked, behind(older, "an entry"), "older", limit)
        found = [_told(row) for row in sorted(page.rows, key=_moment, reverse=True)]
        return {"entries": found, "next": written(page.older)}


def _add_one(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    @routes.get("/entries/{entry}")
    def show_entry(entry: str, request: Request) -> dict[str, Any]:
        """One entry as it was hashed, and its place."""
        who = gate.signed_in(request)
        both = entries.outerjoin(ledger, ledger.c.id == entries.c.id)
        query = sa.select(entries, ledger.c.ix).select_from(both).where(entries.c.id == entry)
        with parts.ground.db.read() as conn:
            row = conn.execute(query).mappings().first()
        if row is None or not _may(gate, who, row["project"]):
            raise NotFound(kind="entry", name=entry[:80], hint="an id begins with `ent_`")
        return _told(row)


def _may(gate: Gate, who: Principal, project: str | None) -> bool:
    """Entries of a project are for its auditors, all others for the installation's."""
    return gate.would(who, "ledger:read") or bool(project and gate.would(who, "ledger:read", project=project))


def _seen(gate: Gate, conn: sa.Connection, who: Principal, project: str | None) -> list[str] | None:
    """The projects whose entries are told; none means all, and what belongs to no project."""
    if project is not None:
        gate.may(who, "ledger:read", project=project, resource="ledger")
        known.find(conn, project)  # a mistyped one would read as if nothing had happened there
        return [project]
    if gate.would(who, "ledger:read"):
        return None
    return gate.places(conn, who, "ledger:read", resource="ledger")


def _moment(row: Mapping[Any, Any]) -> tuple[int, float]:
    """What was committed together stands in the order of its places; what waits for one is newer."""
    return row["at"], math.inf if row["ix"] is None else row["ix"]


def _told(row: Mapping[Any, Any]) -> dict[str, Any]:
    """An entry as a record, with its place: none while it waits for one."""
    return {"ix": row["ix"], **json.loads(row["body"])}
