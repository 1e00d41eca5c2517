"""Models: what came from what, and one version: its card, its approvals, where it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from freehold.console import cards
from freehold.console.door import Door, Visit
from freehold.console.named import named
from freehold.console.registry import Tab
from freehold.console.ways import quoted
from freehold.control import deciding
from freehold.control.parts import Parts
from freehold.release import versions
from freehold.release.views import SERVING
from freehold.spec.sensitivity import Sensitivity
from freehold.store.tables import approvals, models, releases, runs

TAB = Tab(path="/models", word="Models", needs=("service:read",))

MOST = 1000
"""Versions in the tree; the newest."""


def router(parts: Parts) -> APIRouter:
    """`/models` and `/models/{project}/{ref}`."""
    routes, door = APIRouter(), Door(parts)
    ground = parts.ground

    @routes.get("/models")
    def every(request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            seen = visit.projects_or_refuse(conn, "service:read")
            found = _listed(conn, seen)
        return visit.page("models.html", title="Models", projects=_trees(found))

    @routes.get("/models/{project}/{ref}")
    def one(project: str, ref: str, request: Request) -> Response:
        visit = door.visit(request)
        visit.or_not_there("service:read", project, "model version", ref)
        with ground.db.read() as conn:
            version = versions.by_reference(conn, project, ref)
            facts = _facts(conn, visit, version.id)
        about = f"model:{version.ref}"
        cli = quoted("freehold", "impact", about)
        ways = visit.ways(cli, "GET", f"/api/impact/{about}")
        return visit.page("model.html", title=version.ref, ways=ways, **facts)

    return routes


def _listed(conn: sa.Connection, projects: list[str]) -> list[dict[str, Any]]:
    columns = ("id", "project", "name", "version", "kind", "task", "state", "parent", "about", "created_at")
    query = (
        sa.select(*(models.c[name] for name in columns))
        .where(models.c.project.in_(projects))
        .order_by(models.c.created_at.desc(), models.c.id.desc())
        .limit(MOST)
    )
    serving = set(conn.scalars(sa.select(releases.c.model).where(releases.c.state.in_(SERVING))))
    rows = [dict(row) for row in conn.execute(query).mappings()]
    return [_told(row) | {"id": row["id"], "serves": row["id"] in serving} for row in rows]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    about = json.loads(row["about"])
    names = ("project", "name", "version", "kind", "task", "state", "parent", "created_at")
    return {
        **{name: row[name] for name in names},
        "ref": f"{row['name']}@{row['version']}",
        "data": about.get("data", ""),
        "trainer": about.get("trainer", ""),
    }


def _trees(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per project, the versions that come from no other one here; each with what came from it."""
    there = {one["id"] for one in found}
    children: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        children.setdefault(one["parent"] if one["parent"] in there else one["project"], []).append(one)

    def grown(one: dict[str, Any], depth: int) -> dict[str, Any]:
        below = children.get(one["id"], []) if depth < 8 else []  # a base, its adapters, what is merged
        return one | {"children": [grown(child, depth + 1) for child in below]}

    names = dict.fromkeys(one["project"] for one in found)
    return {name: [grown(one, 0) for one in children.get(name, ())] for name in sorted(names)}


def _facts(conn: sa.Connection, visit: Visit, id: str) -> dict[str, Any]:
    row = dict(conn.execute(sa.select(models).where(models.c.id == id)).mappings().one())
    card = deciding.card_of(conn, id, row["serving_digest"])
    parent = versions.find(conn, row["parent"]).ref if row["parent"] else None
    return {
        "model": _told(row) | {name: row[name] for name in ("digest", "serving_digest", "because")},
        "sensitivity": Sensitivity(row["sensitivity"]).word,
        "parent": parent,
        "may_data": visit.may_see("data:read", row["project"]),
        "run": conn.scalar(sa.select(runs.c.number).where(runs.c.id == row["run"])) if row["run"] else None,
        "files": _files(row["files"]),
        "card": card,
        "gates": cards.gates(card["body"]) if card else (),
        "measured": cards.measured(card["body"]) if card else (),
        "compared": cards.beside(card["body"]) if card else None,
        "approvals": _approvals(conn, visit, id),
        "releases": _releases(conn, id),
    }


def _files(text: str) -> list[dict[str, Any]]:
    """Path, size and digest, for files as versions and bases keep them."""
    said = json.loads(text)
    rows = [{"path": path, **file} for path, file in said.items()] if isinstance(said, dict) else said
    return sorted(({k: row[k] for k in ("path", "bytes", "digest")} for row in rows), key=lambda f: f["path"])


def _approvals(conn: sa.Connection, visit: Visit, id: str) -> list[dict[str, Any]]:
    query = sa.select(
        approvals.c.id, approvals.c.role, approvals.c.state, approvals.c.decided_by, approvals.c.decided_at
    ).where(approvals.c.model == id)
    rows = conn.execute(query.order_by(approvals.c.requested_at, approvals.c.id)).mappings().all()
    return [dict(row) | {"decided_by": named(visit, conn, row["decided_by"])} for row in rows]


def _releases(conn: sa.Connection, id: str) -> list[dict[str, Any]]:
    names = ("service", "state", "weight", "created_at", "ended_at")
    query = sa.select(*(releases.c[name] for name in names)).where(releases.c.model == id)
    return [dict(row) for row in conn.execute(query.order_by(releases.c.created_at.desc())).mappings()]
