"""What was live at a moment: told by the ledger's entries, so that who asks can have it proved.

Rows say what is; entries say what was done, when, by whom. What is told here names the entries it comes
from with their places, and each of them has a receipt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from freehold.control.lineage import card_of
from freehold.store.tables import entries, ledger, models, outbox, releases

Row = Mapping[str, Any]

ABOUT = (
    "service.declared",
    "service.attached",
    "service.stopped",
    "service.resumed",
    "release.begun",
    "release.weight",
    "release.kept",
    "release.ended",
)


def live_at(conn: sa.Connection, service: Row, at: int) -> dict[str, Any]:
    """A service as it was at `at` (microseconds UTC): its state, and what got its traffic.

    Gateways follow within a second or so: the answers around a change say which snapshot they obeyed.
    """
    told = [entry for entry in _entries(conn, service["project"], at) if _of(entry, service["name"])]
    running = _running(told, at)
    return {
        "name": service["name"],
        "project": service["project"],
        "at": at,
        "state": _state(told, running),
        "declared": _last(told, ("service.declared", "service.attached")),
        "stopped": _last(told, ("service.stopped", "service.resumed")),
        "snapshot": _snapshot(conn, at),
        "running": [_release(conn, service, release, at) for release in running],
    }


def _entries(conn: sa.Connection, project: str, at: int, kinds: Sequence[str] = ABOUT) -> Iterator[Row]:
    """Entries of these kinds up to a moment, in the order they have in the ledger."""
    e = entries.c
    query = (
        sa.select(e.id, e.kind, e.actor, e.at, e.object, e.body, ledger.c.ix)
        .select_from(entries.outerjoin(ledger, ledger.c.id == e.id).outerjoin(outbox, outbox.c.id == e.id))
        .where(e.kind.in_(kinds), e.project == project, e.at <= at)
        .order_by(ledger.c.ix.is_(None), ledger.c.ix, outbox.c.turn)  # a clock may have been turned back
    )
    for row in conn.execute(query).mappings():
        yield {**row, "detail": json.loads(row["body"])["detail"]}


def _of(entry: Row, service: str) -> bool:
    return bool(entry["detail"].get("service") == service)


def _running(told: Sequence[Row], at: int) -> list[dict[str, Any]]:
    """Releases that had begun and not ended, with the share of traffic that they had then."""
    there: dict[str, dict[str, Any]] = {}
    for entry in told:
        detail, id = entry["detail"], entry["detail"].get("release")
        if entry["kind"] == "release.begun":
            there[id] = {**detail, "since": entry["at"], "entry": _named(entry)}
        elif id in there and entry["kind"] == "release.weight":
            turned = {name: detail[name] for name in ("weight", "state") if name in detail}
            there[id] |= {**turned, "weighed": _named(entry)}
        elif id in there and entry["kind"] == "release.kept":
            there[id]["until"] = detail["until"]
        elif entry["kind"] == "release.ended":
            there.pop(id, None)
    return [one for one in there.values() if at < (one.get("until") or at + 1)]


def _state(told: Sequence[Row], running: Sequence[Row]) -> str:
    if not told:
        return "unknown"  # it was not declared yet
    turned = _last(told, ("service.stopped", "service.resumed"))
    if turned is not None and turned["kind"] == "service.stopped":
        return "stopped"
    return "live" if any(one["weight"] for one in running) else "new"  # a shadow alone answers nobody


def _last(told: Sequence[Row], kinds: Sequence[str]) -> dict[str, Any] | None:
    return next((_named(entry) for entry in reversed(told) if entry["kind"] in kinds), None)


def _named(entry: Row) -> dict[str, Any]:
    """An entry by which something can be proved."""
    return {"entry": entry["id"], "ix": entry["ix"], **{n: entry[n] for n in ("kind", "actor", "at")}}


def _snapshot(conn: sa.Connection, at: int) -> dict[str, Any] | None:
    """The rules that had been published last."""
    e = entries.c
    query = (
        sa.select(e.body)
        .where(e.kind == "snapshot.published", e.project.is_(None), e.at <= at)
        .order_by(e.at.desc(), e.id.desc())
        .limit(1)
    )
    body = conn.scalar(query)
    return dict(json.loads(body)["detail"]) if body else None


def _release(conn: sa.Connection, service: Row, release: dict[str, Any], at: int) -> dict[str, Any]:
    """A release with the model behind it, its card, and who had approved exactly these bytes by then."""
    r, m = releases.c, models.c
    query = (
        sa.select(m.id, m.name, m.version).join(releases, r.model == m.id).where(r.id == release["release"])
    )
    model = conn.execute(query).first()
    card = card_of(conn, model.id, release["serving_digest"]) if model else None
    return {
        **release,
        "model": f"{model.name}@{model.version}" if model else None,
        "card": card["digest"] if card else None,
        "approved": list(_approved(conn, service, release["serving_digest"], at)),
    }


def _approved(conn: sa.Connection, service: Row, serving_digest: str, at: int) -> Iterator[dict[str, Any]]:
    """Approvals of these bytes for this service that had been given and were not void."""
    kinds = ("approval.requested", "approval.given", "approval.void")
    asked: set[str] = set()
    given: dict[str, dict[str, Any]] = {}
    for entry in _entries(conn, service["project"], at, kinds):
        detail = entry["detail"]
        if entry["kind"] == "approval.requested" and _of(entry, service["name"]):
            asked.add(detail["approval"])
        elif entry["kind"] == "approval.void":
            given.pop(detail["approval"], None)
        elif detail["approval"] in asked and detail["serving_digest"] == serving_digest:
            given[detail["approval"]] = {"role": detail["role"], "by": entry["actor"], **_named(entry)}
    yield from given.values()
