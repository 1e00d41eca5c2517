"""`/api/incidents`: who looks like an attacker, what was done, and what people do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request

from freehold.control.applied import wait_applied
from freehold.control.found import behind, page_of_incidents, written
from freehold.control.parts import Parts
from freehold.control.routes.asked import Because, Plain
from freehold.control.signed_in import Gate
from freehold.identity import keys
from freehold.release import incidents, words
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.tables import incidents as table

State = Literal["open", "acknowledged", "closed"]


def router(parts: Parts) -> APIRouter:
    """The routes of incidents."""
    routes, gate = APIRouter(prefix="/api"), Gate(parts)
    _add_reading(routes, gate, parts.ground)
    _add_changing(routes, gate, parts.ground)
    return routes


def _add_reading(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/incidents")
    def list_incidents(
        request: Request,
        project: Plain | None = None,
        state: State | None = None,
        older: Plain | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Incidents in the projects where you may read them, newest first.

        `older` continues behind a page: give the `next` that came with it.
        """
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            seen = seen_in(gate, conn, who, project)
            page = page_of_incidents(conn, seen, state, behind(older, "an incident"), "older", limit)
        told = [told_of(ground, row) for row in page.rows]
        return {"incidents": told, "next": written(page.older)}

    @routes.get("/incidents/{incident}")
    def show_incident(incident: str, request: Request) -> dict[str, Any]:
        """One incident."""
        return told_of(ground, readable(gate, ground, gate.signed_in(request), incident))


def seen_in(gate: Gate, conn: sa.Connection, who: Principal, project: str | None) -> list[str]:
    """Where `who` may read incidents; a refusal is told when that is nowhere."""
    if project is None:
        return gate.places(conn, who, "incident:read", resource="incidents")
    gate.may(who, "incident:read", project=project, resource="incidents")
    return [project]


def readable(gate: Gate, ground: Ground, who: Principal, incident: str) -> Mapping[str, Any]:
    """An incident, once `who` may read it; in a project not theirs it is not there. Raises NotFound."""
    with ground.db.read() as conn:
        row = incidents.find(conn, incident)
    not_there = incidents.none_such(incident)
    gate.may_read(who, "incident:read", project=row["project"], resource=row["id"], not_there=not_there)
    return row


def told_of(ground: Ground, row: Mapping[str, Any]) -> dict[str, Any]:
    """As it is shown; of a person the HMAC that answers carry, too."""
    said = dict(row)
    said["because"] = words.open_words(ground, incidents.place(row["id"]), row["because"])
    return said


def _add_changing(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/incidents/{incident}/acknowledge")
    def acknowledge(incident: str, asked: Because, request: Request) -> dict[str, Any]:
        """Somebody looks into it; who is held back stays so."""
        who = gate.signed_in(request)
        may_change(gate, ground, who, readable(gate, ground, who, incident), closes=False)
        return acknowledged(ground, who, incident, asked.because)

    @routes.post("/incidents/{incident}/close")
    def close(incident: str, asked: Because, request: Request) -> dict[str, Any]:
        """It is dealt with; nobody is held back by it any more."""
        who = gate.signed_in(request)
        may_change(gate, ground, who, readable(gate, ground, who, incident), closes=True)
        return closed(ground, who, incident, asked.because)

    @routes.post("/keys/{key}/unlock")
    def unlock(key: Plain, asked: Because, request: Request) -> dict[str, Any]:
        """Free a key from whatever holds it back, and close the incidents that did."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            project, owner = _project_of(conn, key), keys.owner_of(conn, key)
        gate.may(who, "incident:change", project=project, resource=key, facts={"owner": owner})
        with ground.db.write() as tx:
            done, ix = incidents.unlock(tx, ground, by=who, key=key, because=asked.because)
        return {"key": key, "closed": list(done), "applied": wait_applied(ground, ix)}


def acknowledged(ground: Ground, who: Principal, incident: str, because: str) -> dict[str, Any]:
    """Note that somebody looks into one, once `who` may."""
    with ground.db.write() as tx:
        incidents.acknowledge(tx, ground, by=who, incident=incident, because=because)
        row = incidents.find(tx.connection, incident)
    return told_of(ground, row)


def closed(ground: Ground, who: Principal, incident: str, because: str) -> dict[str, Any]:
    """Close one, once `who` may; `applied` says whether every gateway has heard."""
    with ground.db.write() as tx:
        ix = incidents.close(tx, ground, by=who, incident=incident, because=because)
        row = incidents.find(tx.connection, incident)
    return {**told_of(ground, row), "applied": ix is None or wait_applied(ground, ix)}


def may_change(gate: Gate, ground: Ground, who: Principal, row: Mapping[str, Any], *, closes: bool) -> None:
    """Pass when `who` may.

    Closing frees a key and begins to count anew, so whoever answers for the key does not do that.
    """
    owner = owner_of(ground, row) if closes else ""
    gate.may(who, "incident:change", project=row["project"], resource=row["id"], facts={"owner": owner})


def owner_of(ground: Ground, row: Mapping[str, Any]) -> str:
    """Who answers for the key that an incident is about; empty for the holder of a token."""
    with ground.db.read() as conn:
        return keys.owner_of(conn, row["key"])


def _project_of(conn: sa.Connection, key: str) -> str:
    """Where what holds a key was seen: the holder of a token has no key of ours. Raises NotFound."""
    found = conn.scalar(sa.select(table.c.project).where(table.c.key == key).limit(1))
    return str(found) if found else keys.find(conn, key).project or ""
