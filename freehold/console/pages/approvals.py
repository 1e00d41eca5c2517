"""Approvals: what waits, the evidence beside the button, and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from freehold.console import cards
from freehold.console.door import Door, Form, Visit
from freehold.console.named import named
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control import compared, deciding, turning
from freehold.control.parts import Parts
from freehold.data import diff, versions
from freehold.errors import BadInput, NotFound
from freehold.jobs import steps
from freehold.journeys.candidate import declared
from freehold.release import approvals, services
from freehold.release.approvals import Approval
from freehold.store.ground import Ground

TAB = Tab(path="/approvals", word="Approvals", needs=("approve", "service:read"))

SAID = {
    "given": "Your approval is given and stands in the ledger.",
    "refused": "Your refusal stands in the ledger. The candidate is held.",
}
ROWS_COMPARED = 200_000
"""Larger versions are compared on their own page: an approval opens at once."""


def router(parts: Parts) -> APIRouter:
    """`/approvals` and `/approvals/{id}`."""
    routes, door = APIRouter(), Door(parts)
    ground = parts.ground

    @routes.get("/approvals")
    def every(request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            seen = set(visit.projects_or_refuse(conn, "service:read"))
            found = [a for a in approvals.listed(conn, ground.clock()) if a.project in seen]
            shown = [_line(ground, conn, visit, a) for a in found[:200]]
        waiting = [line for line in shown if line["state"] == "waiting"]
        decided = [line for line in shown if line["state"] != "waiting"]
        return visit.page("approvals.html", title="Approvals", waiting=waiting, decided=decided)

    @routes.get("/approvals/{id}")
    def one(id: str, request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            found = deciding.visible(door.gate, ground, conn, visit.who, id)
            facts = _facts(ground, conn, visit, found)
        changes = _data_changes(ground, visit, found, facts["live"])
        title = f"{found.role} for {found.service}"
        return visit.page("approval.html", title=title, said=SAID, changes=changes, **facts)

    @routes.post("/approvals/{id}")
    def decide(id: str, request: Request, form: Form) -> Response:
        visit = door.posted(request, form)
        give = _gives(form)
        deciding.decide(parts, door.gate, visit.who, id, give=give, because=form.get("because", ""))
        return visit.go(f"/approvals/{id}", said="given" if give else "refused")

    return routes


def _gives(form: Mapping[str, str]) -> bool:
    word = form.get("decision", "")
    if word not in ("give", "refuse"):
        raise BadInput(what="the form says neither give nor refuse", hint="reload the page and try again")
    return word == "give"


def _line(ground: Ground, conn: sa.Connection, visit: Visit, a: Approval) -> dict[str, Any]:
    told = deciding.told(ground, conn, visit.who, a)
    return told | {"decided_by": named(visit, conn, a.decided_by), "mine": not told["not_you"]}


def _facts(ground: Ground, conn: sa.Connection, visit: Visit, a: Approval) -> dict[str, Any]:
    """Everything the page shows beside what needs the rows of the data."""
    evidence = deciding.evidence(conn, a, ground.clock())
    service = services.find(conn, a.service)
    live = next((r for r in turning.releases_of(conn, a.service) if r["state"] == "live"), None)
    card = evidence["card"]
    live_card = deciding.card_of(conn, live["model"], live["serving_digest"]) if live else None
    is_new = live is not None and live["serving_digest"] != a.serving_digest
    bodies = (found["body"] if found else None for found in (card, live_card))
    return {
        "approval": _line(ground, conn, visit, a),
        "requested_by": named(visit, conn, a.requested_by),
        "set": [one | {"decided_by": named(visit, conn, one["decided_by"])} for one in evidence["set"]],
        "evidence": evidence["evidence"],
        "card": card,
        "gates": _gates(evidence),
        "measured": cards.measured(card["body"]) if card else (),
        "compared": cards.beside(card["body"]) if card else None,
        "service": service,
        "rollout": _rollout(conn, a),
        "live": _live(live, live_card) if is_new else None,
        "serves": live is not None and not is_new,
        "figures": cards.side_by_side(compared.figures(*bodies)) if is_new else [],
        "settings": _settings(card, live_card) if is_new else [],
        "ways_give": _ways(visit, a, give=True),
        "ways_refuse": _ways(visit, a, give=False),
    }


def _gates(evidence: Mapping[str, Any]) -> tuple[cards.Line, ...]:
    """As they were put to the approvers; from the card where an approval was asked for without."""
    if evidence["evidence"].get("gates"):
        return tuple(cards.gate(said) for said in evidence["evidence"]["gates"])
    return cards.gates(evidence["card"]["body"]) if evidence["card"] else ()


def _rollout(conn: sa.Connection, a: Approval) -> list[str]:
    """How the candidate comes to its traffic, as it was submitted; none where no journey asks."""
    if a.journey is None:
        return []
    service = declared(steps.find(conn, a.journey).spec)
    return list((service.get("serve") or {}).get("rollout") or ())


def _live(live: Mapping[str, Any] | None, card: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if live is None:
        return None
    return {
        "model": f"{live['model_name']}@{live['model_version']}" if live["model"] else "its provider",
        "since": live["created_at"],
        "data": card["body"]["data"]["ref"] if card else None,
    }


def _settings(card: Mapping[str, Any] | None, live: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Settings of the training that differ."""
    if card is None or live is None:
        return []
    now, before = (_set(one["body"]) for one in (card, live))
    names = sorted(set(now) | set(before))
    differ = [name for name in names if now.get(name) != before.get(name)]
    return [{"name": n, "before": before.get(n, "–"), "after": now.get(n, "–")} for n in differ]


def _set(body: Mapping[str, Any]) -> dict[str, Any]:
    model, data = body["model"], body["data"]
    own = {"trainer": model["trainer"], "engine": model["engine"], "target": data["target"]}
    return {**own, **data["settings"]}


def _data_changes(
    ground: Ground, visit: Visit, a: Approval, live: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What changed in the data since the version the live model learned from; counts only."""
    after, before = a.evidence.get("data_ref"), live["data"] if live else None
    if not after or not before or after == before:
        return None
    said: dict[str, Any] = {"before": before, "after": after, "diff": None, "may": False, "large": False}
    if not visit.may_see("data:read", a.project):
        return said
    try:
        with ground.db.read() as conn:
            rows = sum(versions.find(conn, a.project, ref).rows for ref in (before, after))
        if rows > ROWS_COMPARED:
            return said | {"may": True, "large": True}
        return said | {"may": True, "diff": asdict(diff.compare(ground, a.project, before, after))}
    except (NotFound, BadInput):
        return said


def _ways(visit: Visit, a: Approval, *, give: bool) -> Any:
    word = "give" if give else "refuse"
    cli = quoted("freehold", "approve", word, a.id, "--because", "your reason")
    return visit.ways(cli, "POST", f"/api/approvals/{a.id}", {"give": give, "because": "your reason"})
