"""Services as the API and the console show and turn them: stop, resume, roll back, what is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from freehold.control import abtest
from freehold.control.applied import wait_applied
from freehold.control.parts import Parts
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.release import roll, services, shadows, stop, versions, words
from freehold.release.views import SERVING, silent
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.tables import models, releases

# -- seeing -----------------------------------------------------------------------------------------


def seen(gate: Gate, who: Principal, projects: set[str]) -> set[str]:
    """Those of `projects` whose services `who` may see."""
    return {project for project in projects if gate.would(who, "service:read", project=project)}


def visible(gate: Gate, conn: sa.Connection, who: Principal, name: str) -> services.Row:
    """The service, when its project is one `who` may see; else it is not there. Raises NotFound."""
    row = services.find(conn, name)
    if not gate.would(who, "service:read", project=row["project"]):
        raise NotFound(kind="service", name=name[:80], hint="`freehold status` lists the services")
    return row


def releases_of(conn: sa.Connection, service: str) -> list[Mapping[str, Any]]:
    """Every release there was, the newest first, with its model's name and version."""
    rows = conn.execute(
        sa.select(releases, models.c.name.label("model_name"), models.c.version.label("model_version"))
        .select_from(releases.outerjoin(models, models.c.id == releases.c.model))
        .where(releases.c.service == service)
        .order_by(releases.c.created_at.desc(), releases.c.id.desc())
    )
    return [dict(row) for row in rows.mappings()]


def told_release(ground: Ground, row: Mapping[str, Any]) -> dict[str, Any]:
    """A release in words."""
    names = ("id", "state", "weight", "serving_digest", "journey", "created_at", "ended_at")
    ref = f"{row['model_name']}@{row['model_version']}" if row["model"] else None
    because = words.open_words(ground, f"release/{row['id']}", row["because"])
    return {
        **{name: row[name] for name in names},
        "model": ref,
        "approvals": json.loads(row["approvals"]),
        "because": because,
    }


def told(ground: Ground, conn: sa.Connection, row: services.Row) -> dict[str, Any]:
    """A service in words, with the releases that get traffic."""
    running = [r for r in releases_of(conn, row["name"]) if r["state"] in SERVING]
    provider = json.loads(row["provider"])
    names = ("name", "project", "kind", "purpose", "tier", "state", "owner", "stopped_by", "changed_at")
    return {
        **{name: row[name] for name in names},
        "sensitivity": Sensitivity(row["sensitivity"]).word,
        "because": words.open_words(ground, stop.place(row["name"]), row["because"]),
        "limits": services.spec_of(row)["limits"],
        "provider": provider or None,
        "silent": silent(row, bool(running)),
        "running": [told_release(ground, r) for r in running],
        "shadow": laid.as_json() if (laid := shadows.of_service(conn, row["name"])) else None,
        "abtest": abtest.of_service(conn, row),
    }


# -- turning ----------------------------------------------------------------------------------------


def stop_service(parts: Parts, gate: Gate, who: Principal, name: str, because: str) -> dict[str, Any]:
    """Refuse every request from now on; answers once the gateways have heard."""
    ground = parts.ground
    with ground.db.read() as conn:
        row = visible(gate, conn, who, name)
    gate.may(who, "service:stop", project=row["project"], resource=name)
    with ground.db.write() as tx:
        ix = stop.stop(tx, ground, by=who, service=name, because=because)
    return _turned(parts, name, "stopped", ix)


def resume_service(parts: Parts, gate: Gate, who: Principal, name: str, because: str) -> dict[str, Any]:
    """Let it answer again; another person than the one who stopped it."""
    ground = parts.ground
    with ground.db.read() as conn:
        row = visible(gate, conn, who, name)
    facts = {"stopped_by": row["stopped_by"] or ""}
    gate.may(who, "service:resume", project=row["project"], resource=name, facts=facts)
    with ground.db.write() as tx:
        ix = stop.resume(tx, ground, by=who, service=name, because=because)
    return _turned(parts, name, "live", ix)


def _turned(parts: Parts, name: str, state: str, ix: int) -> dict[str, Any]:
    parts.sequencer.nudge()  # gateways hear of it once its entry has its place: a stop does not wait for that
    return {"service": name, "state": state, "snapshot": ix, "applied": wait_applied(parts.ground, ix)}


def planned_rollback(ground: Ground, conn: sa.Connection, name: str) -> dict[str, Any]:
    """What a rollback would do now. Raises NothingToRollBackTo."""
    current, target = roll.plan_rollback(conn, name, ground.clock())
    return {"service": name, "ends": _named(conn, current), "serves": _named(conn, target)}


def _named(conn: sa.Connection, release: services.Row) -> dict[str, Any]:
    version = versions.find(conn, release["model"])
    return {"release": release["id"], "model": version.ref, "serving_digest": release["serving_digest"]}


def roll_back(parts: Parts, gate: Gate, who: Principal, name: str, because: str) -> dict[str, Any]:
    """Give the traffic back to the release before; answers once the gateways have heard."""
    ground = parts.ground
    with ground.db.read() as conn:
        row = visible(gate, conn, who, name)
    gate.may(who, "release:rollback", project=row["project"], resource=name)
    with ground.db.write() as tx:
        done, ended = roll.rollback(tx, ground, by=who, service=name, because=because)
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
