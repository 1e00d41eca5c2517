"""Answers: find one, read its record, its words where one may, and why it was given."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from freehold.console import listed
from freehold.console.addresses import address
from freehold.console.charts import graph
from freehold.console.door import Door, Form, Visit
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control import lineage
from freehold.control.day import ENDINGS
from freehold.control.found import Asked, page_of_answers
from freehold.control.parts import Parts
from freehold.control.routes.answers import readable, words_of
from freehold.release import services

TAB = Tab(path="/answers", word="Answers", needs=("answer:read",))

SHOWN = 20_000
"""Characters of an answer's words that a page shows."""


def router(parts: Parts) -> APIRouter:
    """`/answers`, `/answers/{id}` and its words."""
    routes, door = APIRouter(), Door(parts)
    _add_list(routes, door)
    _add_one(routes, door)
    return routes


def _add_list(routes: APIRouter, door: Door) -> None:
    ground = door.parts.ground

    @routes.get("/answers")
    def list_answers(request: Request) -> Response:
        """Search by service, ending, key and time; or go straight to an id."""
        visit = door.visit(request)
        chosen = listed.chosen(request, "id", "service", "ending", "key", "since", "until")
        if chosen["id"]:
            return visit.go(f"/answers/{chosen['id']}" if chosen["id"].startswith("ans_") else "/answers")
        asked = Asked(
            service=chosen["service"] or None,
            ending=chosen["ending"] or None,
            key=chosen["key"] or None,
            since=listed.moment(chosen["since"], door.zone),
            until=listed.moment(chosen["until"], door.zone),
        )
        at = listed.place(request)
        with ground.db.read() as conn:
            seen = visit.projects_or_refuse(conn, "answer:read")
            page = page_of_answers(conn, seen, asked, at.cursor, at.way, listed.SIZE)
            named = [row["name"] for row in services.listed(conn) if row["project"] in seen]
        return visit.page(
            "answers.html",
            "Answers",
            rows=page.rows,
            chosen=chosen,
            services=sorted(named),
            endings=(*ENDINGS, "under way"),
            **listed.beside(request, page),
        )


def _add_one(routes: APIRouter, door: Door) -> None:
    ground = door.parts.ground

    @routes.get("/answers/{answer}")
    def show(answer: str, request: Request) -> HTMLResponse:
        """The record of one answer, and why it was given."""
        return _shown(door, door.visit(request), answer, None)

    @routes.post("/answers/{answer}/words")
    def words(answer: str, request: Request, form: Form) -> HTMLResponse:
        """The same with the words: that they were read is on the record."""
        visit = door.posted(request, form)
        told = words_of(door.gate, ground, visit.who, answer)
        return _shown(door, visit, answer, {name: _readable(text) for name, text in told.items()})


def _shown(door: Door, visit: Visit, answer: str, words: dict[str, str | None] | None) -> HTMLResponse:
    ground = door.parts.ground
    row = readable(door.gate, ground, visit.who, answer)
    may_data = visit.may_see("data:read", row["project"])
    tree, leads = lineage.why(ground, row, lineage.Sight(data=may_data)), partial(address, data=may_data)
    with ground.db.read() as conn:
        places = lineage.places(conn, answer)
    id = row["id"]
    return visit.page(
        "answer.html",
        f"Answer {id}",
        row=row,
        places=places,
        graph=graph.tree(tree, leads, label=f"Why: what stands behind {id}"),
        tree=tree,
        address=leads,
        words=words,
        ways=visit.ways(quoted("freehold", "why", id), "GET", f"/api/why/{id}"),
        words_ways=visit.ways(
            quoted("freehold", "answer", id, "--words"), "POST", f"/api/answers/{id}/words"
        ),
        receipt_ways=visit.ways(quoted("freehold", "receipt", id), "GET", f"/api/receipts/{id}"),
    )


def _readable(text: str | None) -> str | None:
    """JSON laid out in lines; anything else as it is; cut where it is very long."""
    if text is None:
        return None
    try:
        said: Any = json.loads(text)
    except ValueError:
        return text[:SHOWN]
    return json.dumps(said, indent=2, ensure_ascii=False)[:SHOWN]
