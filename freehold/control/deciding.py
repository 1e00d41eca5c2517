"""Approvals as the API and the console show and decide them: who sees one, what it rests on, the decision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.release import approvals, services, versions, words
from freehold.release.approvals import Approval, Standing
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.tables import cards


def visible(gate: Gate, ground: Ground, conn: sa.Connection, who: Principal, id: str) -> Approval:
    """The approval, when its project is one `who` may see; else it is not there. Raises NotFound."""
    found = approvals.find(conn, id, ground.clock())
    if not gate.would(who, "service:read", project=found.project):
        raise NotFound(kind="approval", name=id[:80], hint="`freehold approve` lists what waits")
    return found


def decide(parts: Parts, gate: Gate, who: Principal, id: str, *, give: bool, because: str) -> Approval:
    """Give or refuse one approval; the last one given lets the journey go on.

    Raises NotFound, NotAllowed, and what `release.approvals.decide` raises.
    """
    ground = parts.ground
    with ground.db.read() as conn:
        found = visible(gate, ground, conn, who, id)
        facts = _facts(conn, found)
    gate.may(who, "approve", project=found.project, resource=found.id, facts=facts)
    with ground.db.write() as tx:
        done = approvals.decide(tx, ground, by=who, approval=id, give=give, because=because)
    parts.wake()
    return done


def _facts(conn: sa.Connection, approval: Approval) -> dict[str, str]:
    """What separation of duties needs: ids only."""
    owners = services.owner_ids(conn, str(approval.evidence.get("owner", "")))
    owner = next((o for o in owners if o.startswith("per_")), "")
    return {"submitter": approval.requested_by, "owner": owner}


def standing(conn: sa.Connection, a: Approval, at: int) -> Standing:
    """How the set that this approval belongs to stands."""
    return approvals.standing(conn, a.model, a.serving_digest, service=a.service, at=at)


def told(ground: Ground, conn: sa.Connection, who: Principal, a: Approval) -> dict[str, Any]:
    """An approval as `who` is told of it, without its evidence."""
    version = versions.find(conn, a.model)
    return {
        "id": a.id,
        "project": a.project,
        "service": a.service,
        "model": version.ref,
        "serving_digest": a.serving_digest,
        "role": a.role,
        "state": a.state,
        "requested_by": a.requested_by,
        "requested_at": a.requested_at,
        "decided_by": a.decided_by,
        "decided_at": a.decided_at,
        "expires_at": a.expires_at,
        "because": words.open_words(ground, a.place, a.because),
        "journey": a.journey,
        "not_you": approvals.why_not(conn, who, a) if a.state == "waiting" else f"it is {a.state}",
    }


def evidence(conn: sa.Connection, a: Approval, at: int) -> dict[str, Any]:
    """What it rests on: what was asked with, the card, the others of its set."""
    now = standing(conn, a, at)
    every = (*now.given, *now.waiting, *now.refused, *now.void)
    said = {name: value for name, value in a.evidence.items() if name != "owner"}
    return {
        "evidence": said,
        "card": card_of(conn, a.model, a.serving_digest),
        "set": [{"id": o.id, "role": o.role, "state": o.state, "decided_by": o.decided_by} for o in every],
    }


def card_of(conn: sa.Connection, model: str, serving_digest: str) -> dict[str, Any] | None:
    """The newest card of exactly this model and digest; its body is what an evaluation found."""
    row: Mapping[Any, Any] | None = (
        conn.execute(
            sa.select(cards.c.id, cards.c.digest, cards.c.passed, cards.c.body)
            .where(cards.c.model == model, cards.c.serving_digest == serving_digest)
            .order_by(cards.c.created_at.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    return {**row, "body": json.loads(row["body"])} if row is not None else None
