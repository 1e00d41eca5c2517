"""`/api/answers`, `/api/why`, `/api/impact`: records of answers, and lineage both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import Field

from freehold.control import impact, lineage
from freehold.control.found import Asked as Wanted
from freehold.control.found import Cursor, page_of_answers
from freehold.control.openlineage import openlineage
from freehold.control.parts import Parts
from freehold.control.prov import prov
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.ledger.record import record
from freehold.spec.principal import Principal
from freehold.spec.tree import Tree
from freehold.store import contents
from freehold.store.ground import Ground
from freehold.store.keyring import KeyDestroyed
from freehold.store.tables import answers, projects
from freehold.store.tables import contents as contents_table

Ending = Literal["answered", "denied", "cut off", "failed"]
Page = Annotated[int, Query(ge=1, le=1000)]
Form = Literal["tree", "prov", "openlineage"]


class About(Asked):
    """Whom or what an impact is asked for. A person's identifier travels in a body, never in a path."""

    ref: Plain
    project: Plain | None = None
    row: Annotated[int, Field(ge=1)] | None = None
    subject: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = impact.IDS_SHOWN


def router(parts: Parts) -> APIRouter:
    """The routes of answers and lineage."""
    routes = APIRouter(prefix="/api")
    gate, ground = Gate(parts), parts.ground
    _add_answers(routes, gate, ground)
    _add_words(routes, gate, ground)
    _add_lineage(routes, gate, ground)
    return routes


# -- records ----------------------------------------------------------------------------------------


def _add_answers(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/answers")
    def list_answers(
        request: Request,
        project: str | None = None,
        service: str | None = None,
        release: str | None = None,
        subject: str | None = None,
        ending: Ending | None = None,
        after: str | None = None,
        limit: Page = 100,
    ) -> dict[str, Any]:
        """Records in the projects whose answers you may read, newest first.

        `after` continues behind an answer: give the `next` that came with a page. `subject` is the HMAC
        that records carry.
        """
        who = gate.signed_in(request)
        wanted = Wanted(service=service, release=release, subject=subject, ending=ending)
        with ground.db.read() as conn:
            seen = [name for name in gate.places(conn, who, "answer:read") if project in (None, name)]
            page = page_of_answers(conn, seen, wanted, _behind(conn, seen, after), "older", limit)
        return {"answers": page.rows, "next": page.older[1] if page.older else None}

    @routes.get("/answers/{answer}")
    def show_answer(answer: str, request: Request) -> dict[str, Any]:
        """One record with its places in the ledger; waits a moment for one that is on its way."""
        row = readable(gate, ground, gate.signed_in(request), answer)
        with ground.db.read() as conn:
            return dict(row) | {"ledger": lineage.places(conn, answer)}


def _behind(conn: sa.Connection, seen: list[str], after: str | None) -> Cursor | None:
    """Where a page begins: behind an answer, or at the newest one. Raises NotFound."""
    if after is None:
        return None
    at = conn.scalar(sa.select(answers.c.at).where(answers.c.id == after, answers.c.project.in_(seen)))
    if at is None:
        raise NotFound(kind="answer", name=after[:80], hint="give the `next` of the page before")
    return at, after


def readable(gate: Gate, ground: Ground, who: Principal, answer: str) -> Mapping[str, Any]:
    """An answer's record, once `who` may read it; in a project not theirs it is not there."""
    row = lineage.find_answer(ground, answer)
    not_there = NotFound(kind="answer", name=answer[:80])
    gate.may_read(who, "answer:read", project=row["project"], resource=row["id"], not_there=not_there)
    return row


def _add_words(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/answers/{answer}/words")
    def read_words(answer: str, request: Request) -> dict[str, Any]:
        """What was asked and answered. Reading it is recorded: these are somebody's words."""
        return {"answer": answer} | words_of(gate, ground, gate.signed_in(request), answer)


def words_of(gate: Gate, ground: Ground, who: Principal, answer: str) -> dict[str, str | None]:
    """What was asked and answered, recorded as read by `who`; none for what can no longer be opened."""
    row = readable(gate, ground, who, answer)
    gate.may(who, "answer:read", project=row["project"], resource=answer)
    told = {"asked": _words(ground, answer, "request"), "answered": _words(ground, answer, "response")}
    with ground.db.write() as tx:
        detail = {"answer": answer}
        record(tx, "answer.read", by=who, object=answer, project=row["project"], detail=detail)
    return told


def _words(ground: Ground, answer: str, part: str) -> str | None:
    with ground.db.read() as conn:
        row = conn.execute(
            sa.select(contents_table).where(contents_table.c.answer == answer, contents_table.c.part == part)
        ).first()
    if row is None:
        return None
    try:
        words = contents.open_words(ground.keyring, row.key, answer, part, row.sealed)
    except KeyDestroyed:
        return None
    return words.decode(errors="replace")


# -- lineage ----------------------------------------------------------------------------------------


def _add_lineage(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/why/{answer}")
    def why(
        answer: str, request: Request, rows: Page = lineage.ROWS_SHOWN, form: Form = "tree"
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """From an answer back to the rows, people and gates behind it: a tree, PROV-JSON or OpenLineage."""
        who = gate.signed_in(request)
        row = readable(gate, ground, who, answer)
        sight = lineage.Sight(data=gate.would(who, "data:read", project=row["project"]), rows=rows)
        return _told(lineage.why(ground, row, sight), form, ground.origin, backward=True)

    @routes.get("/impact/{ref}")
    def impact_of(
        ref: Plain,
        request: Request,
        project: Plain | None = None,
        row: Annotated[int | None, Query(ge=1)] = None,
        limit: Page = impact.IDS_SHOWN,
        form: Form = "tree",
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """From a data set or model version forward to models, releases and answers, in the same forms."""
        who = gate.signed_in(request)
        asked = About(ref=ref, project=project, row=row, limit=limit)
        return _told(look_forward(gate, ground, who, asked), form, ground.origin, backward=False)

    @routes.post("/impact")
    def impact_about(
        asked: About, request: Request, form: Form = "tree"
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The same for a person: `subject` is compared as its HMAC and kept nowhere."""
        found = look_forward(gate, ground, gate.signed_in(request), asked)
        return _told(found, form, ground.origin, backward=False)


def _told(tree: Tree, form: Form, origin: str, *, backward: bool) -> dict[str, Any] | list[dict[str, Any]]:
    if form == "prov":
        return prov(tree, origin, backward=backward)
    return openlineage(tree, origin) if form == "openlineage" else tree.as_json()


def look_forward(gate: Gate, ground: Ground, who: Principal, asked: About) -> Tree:
    """Forward from what is asked about, as far as `who` may see. Raises NotFound, WhichOne."""
    with ground.db.read() as conn:
        every = [asked.project] if asked.project else list(conn.scalars(sa.select(projects.c.name)))
        seen = [name for name in every if gate.would(who, "service:read", project=name)]
        found = impact.resolve(conn, asked.ref, seen)
    if found.data is not None:
        gate.may(who, "data:read", project=found.project, resource=found.data.ref)
    ids = gate.would(who, "answer:read", project=found.project)
    subject = ground.keyring.subject(found.project, asked.subject) if asked.subject else None
    reader = impact.Reader(ids=ids, most=asked.limit)
    return impact.of_version(ground, found, reader, row=asked.row, subject=subject)
