"""`/api/approvals`, `/api/services`: decide, roll back, stop, resume; and the page a notice links to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from freehold.control.applied import wait_applied
from freehold.control.parts import Parts
from freehold.control.routes import attached, notices
from freehold.control.routes.asked import Asked
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.release import approvals, roll, services, stop, versions, words
from freehold.release.approvals import Approval
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.tables import cards, models, releases

Reason = Annotated[str, Field(max_length=words.MOST, pattern=r"^[^\x00]*$")]

Shown = Literal["waiting", "given", "refused", "void", "expired", "all"]

_ID = re.compile(r"^apr_[0-9a-z]{26}$")


class Decision(Asked):
    """Give or refuse, and why."""

    give: bool
    because: Reason = ""


class Because(Asked):
    """Why."""

    because: Reason = ""


def router(parts: Parts) -> APIRouter:
    """The routes of approvals, services, attached services and notices."""
    routes = APIRouter()
    gate, ground = Gate(parts), parts.ground
    _add_approvals(routes, gate, parts)
    _add_services(routes, gate, ground)
    _add_rollback(routes, gate, parts)
    _add_stop(routes, gate, parts)
    _add_models(routes, gate, ground)
    attached.add(routes, gate, parts)
    notices.add(routes, gate, parts)
    _add_page(routes)
    return routes


# -- approvals --------------------------------------------------------------------------------------


def _add_approvals(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/api/approvals")
    def list_approvals(request: Request, state: Shown = "waiting") -> list[dict[str, Any]]:
        """Approvals in the projects you may see; `state=all` for the decided ones too."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = approvals.listed(conn, ground.clock(), state=None if state == "all" else state)
            seen = _seen(gate, who, {a.project for a in found})
            return [_told_approval(ground, conn, who, a) for a in found if a.project in seen]

    @routes.get("/api/approvals/{approval}")
    def show_approval(approval: str, request: Request) -> dict[str, Any]:
        """One approval with its evidence: the card's gates, the others of its set, the model."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = _visible_approval(gate, ground, conn, who, approval)
            return _told_approval(ground, conn, who, found) | _evidence(conn, found, ground.clock())

    @routes.post("/api/approvals/{approval}")
    def decide(approval: str, asked: Decision, request: Request) -> dict[str, Any]:
        """Give or refuse; the last one given lets the journey go on."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = _visible_approval(gate, ground, conn, who, approval)
            facts = _facts(conn, found)
        gate.may(who, "approve", project=found.project, resource=found.id, facts=facts)
        with ground.db.write() as tx:
            done = approvals.decide(
                tx, ground, by=who, approval=approval, give=asked.give, because=asked.because
            )
            standing = approvals.standing(
                tx.connection, done.model, done.serving_digest, service=done.service, at=tx.at
            )
            told = _told_approval(ground, tx.connection, who, done)
        parts.wake()
        return told | {"waiting": [a.role for a in standing.waiting], "complete": standing.complete}


def _visible_approval(gate: Gate, ground: Ground, conn: sa.Connection, who: Principal, id: str) -> Approval:
    """The approval, when its project is one `who` may see; else it is not there."""
    found = approvals.find(conn, id, ground.clock())
    if not gate.would(who, "service:read", project=found.project):
        raise NotFound(kind="approval", name=id[:80], hint="`freehold approve` lists what waits")
    return found


def _facts(conn: sa.Connection, approval: Approval) -> dict[str, str]:
    """What separation of duties needs: ids only."""
    owners = services.owner_ids(conn, str(approval.evidence.get("owner", "")))
    owner = next((o for o in owners if o.startswith("per_")), "")
    return {"submitter": approval.requested_by} | ({"owner": owner} if owner else {})


def _told_approval(ground: Ground, conn: sa.Connection, who: Principal, a: Approval) -> dict[str, Any]:
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


def _evidence(conn: sa.Connection, a: Approval, at: int) -> dict[str, Any]:
    standing = approvals.standing(conn, a.model, a.serving_digest, service=a.service, at=at)
    every = (*standing.given, *standing.waiting, *standing.refused, *standing.void)
    evidence = {name: said for name, said in a.evidence.items() if name != "owner"}
    return {
        "evidence": evidence,
        "card": _card(conn, a),
        "set": [{"id": o.id, "role": o.role, "state": o.state, "decided_by": o.decided_by} for o in every],
    }


def _card(conn: sa.Connection, a: Approval) -> dict[str, Any] | None:
    """The newest card of exactly this model and digest; its body is what an evaluation found."""
    row = conn.execute(
        sa.select(cards.c.id, cards.c.digest, cards.c.passed, cards.c.body)
        .where(cards.c.model == a.model, cards.c.serving_digest == a.serving_digest)
        .order_by(cards.c.created_at.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return {"id": row.id, "digest": row.digest, "passed": row.passed, "body": json.loads(row.body)}


def _add_page(routes: APIRouter) -> None:
    @routes.get("/approvals/{approval}", response_class=HTMLResponse)
    def page(approval: str) -> HTMLResponse:
        """Where a notice's link leads. It reads nothing, so it tells a stranger nothing."""
        if not _ID.match(approval):
            raise NotFound(kind="approval", name=approval[:80])
        return HTMLResponse(_PAGE.replace("APPROVAL", approval), headers=_STRICT)


_STRICT = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "cache-control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>An approval waits</title>
<meta name="viewport" content="width=device-width">
<style>body{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}
pre{background:#8882;padding:.8rem;overflow:auto}</style>
<h1>An approval waits</h1>
<p>See the evidence, then decide, with your own key in <code>FREEHOLD_KEY</code>:</p>
<pre>freehold approve show APPROVAL
freehold approve give APPROVAL
freehold approve refuse APPROVAL --because '…'</pre>
"""


# -- services ---------------------------------------------------------------------------------------


def _add_services(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/api/services")
    def list_services(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """The services of the projects you may see."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            found = services.listed(conn, project)
            seen = _seen(gate, who, {row["project"] for row in found})
            return [_told_service(ground, conn, row) for row in found if row["project"] in seen]

    @routes.get("/api/services/{name}")
    def show_service(name: str, request: Request) -> dict[str, Any]:
        """One service: what was declared, what runs, and every release there was."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = _visible(gate, conn, who, name)
            history = [_told_release(ground, r) for r in _releases(conn, name)]
            declared = services.spec_of(row)
            return _told_service(ground, conn, row) | {"declared": declared, "releases": history}


def _seen(gate: Gate, who: Principal, projects: set[str]) -> set[str]:
    return {project for project in projects if gate.would(who, "service:read", project=project)}


def _visible(gate: Gate, conn: sa.Connection, who: Principal, name: str) -> services.Row:
    """The service, when its project is one `who` may see; else it is not there."""
    row = services.find(conn, name)
    if not gate.would(who, "service:read", project=row["project"]):
        raise NotFound(kind="service", name=name[:80], hint="`freehold status` lists the services")
    return row


def _releases(conn: sa.Connection, service: str) -> list[Mapping[str, Any]]:
    rows = conn.execute(
        sa.select(releases, models.c.name.label("model_name"), models.c.version.label("model_version"))
        .select_from(releases.outerjoin(models, models.c.id == releases.c.model))
        .where(releases.c.service == service)
        .order_by(releases.c.created_at.desc(), releases.c.id.desc())
    )
    return [dict(row) for row in rows.mappings()]


def _told_release(ground: Ground, row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "state", "weight", "serving_digest", "journey", "created_at", "ended_at")
    ref = f"{row['model_name']}@{row['model_version']}" if row["model"] else None
    because = words.open_words(ground, f"release/{row['id']}", row["because"])
    return {
        **{name: row[name] for name in names},
        "model": ref,
        "approvals": json.loads(row["approvals"]),
        "because": because,
    }


def _told_service(ground: Ground, conn: sa.Connection, row: services.Row) -> dict[str, Any]:
    running = [r for r in _releases(conn, row["name"]) if r["state"] in ("canary", "live")]
    provider = json.loads(row["provider"])
    names = ("name", "project", "kind", "purpose", "tier", "state", "owner", "stopped_by", "changed_at")
    return {
        **{name: row[name] for name in names},
        "sensitivity": Sensitivity(row["sensitivity"]).word,
        "because": words.open_words(ground, stop.place(row["name"]), row["because"]),
        "limits": services.spec_of(row)["limits"],
        "provider": provider or None,
        "running": [_told_release(ground, r) for r in running],
    }


# -- roll back, stop, resume ------------------------------------------------------------------------


def _add_rollback(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.get("/api/services/{name}/rollback")
    def plan_rollback(name: str, request: Request) -> dict[str, Any]:
        """What a rollback would do now; changes nothing."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = _visible(gate, conn, who, name)
            gate.may(who, "release:rollback", project=row["project"], resource=name)
            current, target = roll.plan_rollback(conn, name, ground.clock())
            return {"service": name, "ends": _named(conn, current), "serves": _named(conn, target)}

    @routes.post("/api/services/{name}/rollback")
    def rollback(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Give the traffic back to the release before."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = _visible(gate, conn, who, name)
        gate.may(who, "release:rollback", project=row["project"], resource=name)
        with ground.db.write() as tx:
            done, ended = roll.rollback(tx, ground, by=who, service=name, because=asked.because)
            ref = versions.find(tx.connection, done.model).ref
        parts.sequencer.nudge()
        return {
            "service": name,
            "ended": ended,
            "release": done.release,
            "model": ref,
            "serving_digest": done.serving_digest,
            "snapshot": done.snapshot,
            "applied": wait_applied(ground, done.snapshot),
        }


def _named(conn: sa.Connection, release: services.Row) -> dict[str, Any]:
    version = versions.find(conn, release["model"])
    return {"release": release["id"], "model": version.ref, "serving_digest": release["serving_digest"]}


def _add_stop(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    ground = parts.ground

    @routes.post("/api/services/{name}/stop")
    def stop_service(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Refuse every request from now on; answers once the gateways have heard."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = _visible(gate, conn, who, name)
        gate.may(who, "service:stop", project=row["project"], resource=name)
        with ground.db.write() as tx:
            ix = stop.stop(tx, ground, by=who, service=name, because=asked.because)
        return _turned(parts, name, "stopped", ix)

    @routes.post("/api/services/{name}/resume")
    def resume_service(name: str, asked: Because, request: Request) -> dict[str, Any]:
        """Let it answer again; another person than the one who stopped it."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            row = _visible(gate, conn, who, name)
        facts = {"stopped_by": row["stopped_by"]} if row["stopped_by"] else {}
        gate.may(who, "service:resume", project=row["project"], resource=name, facts=facts)
        with ground.db.write() as tx:
            ix = stop.resume(tx, ground, by=who, service=name, because=asked.because)
        return _turned(parts, name, "live", ix)


def _turned(parts: Parts, name: str, state: str, ix: int) -> dict[str, Any]:
    parts.sequencer.nudge()  # gateways hear of it once its entry has its place: a stop does not wait for that
    return {"service": name, "state": state, "snapshot": ix, "applied": wait_applied(parts.ground, ix)}


# -- models -----------------------------------------------------------------------------------------


def _add_models(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/api/models")
    def list_models(request: Request, project: str | None = None) -> list[dict[str, Any]]:
        """Model versions of the projects you may see, the newest first."""
        who = gate.signed_in(request)
        query = sa.select(models).order_by(models.c.created_at.desc(), models.c.id.desc())
        if project is not None:
            query = query.where(models.c.project == project)
        with ground.db.read() as conn:
            found = [dict(row) for row in conn.execute(query).mappings()]
        seen = _seen(gate, who, {row["project"] for row in found})
        return [_told_model(row) for row in found if row["project"] in seen]


def _told_model(row: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "id",
        "project",
        "kind",
        "task",
        "run",
        "digest",
        "serving_digest",
        "state",
        "because",
        "created_at",
    )
    about = json.loads(row["about"])
    return {
        "model": f"{row['name']}@{row['version']}",
        **{name: row[name] for name in names},
        "data": about["data"],
        "sensitivity": Sensitivity(row["sensitivity"]).word,
    }
