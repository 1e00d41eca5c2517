"""What decides who may do what, told once by rows and once by entries: keys, guards, purposes, stops.

A row that is there with its entry says little when the columns by which somebody is let in were changed.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from freehold.ledger.ruled import Detail, Found, Row, Rule, Said, last, still
from freehold.spec.ids import digest, digest_bytes
from freehold.spec.sensitivity import Sensitivity
from freehold.store import tables


def _keys(rows: list[Row], said: Said) -> Found:
    """A key opens what it was issued for, to whom it was given, until when that was said."""
    issued = last(said, "key.created", "key")
    for row in rows:
        detail = issued.get(row["id"], {})
        now = {
            "project": row["project"] or "",
            "services": json.loads(row["services"]),
            "purpose": row["purpose"] or "",
            "expires_at": row["expires_at"] or 0,
            "guard": (row["guard"] or "").split(),
            "origin": row["origin"] or "",
        }
        for column, value in now.items():
            if value != (detail.get(column) or type(value)()):
                yield f"keys `{row['id']}`", f"its `{column}` is not what entry `key.created` says"
        if row["sensitivity"] != _level(detail):
            yield f"keys `{row['id']}`", "its `sensitivity` is not what entry `key.created` says"
        secret = digest_bytes(row["secret_digest"].encode())
        is_another = detail.get("secret", secret) != secret
        if is_another and row["revoked_at"] is None:  # exports leave out those of void ones
            yield f"keys `{row['id']}`", "it opens with another secret than the one that was issued"


def _guards(rows: list[Row], said: Said) -> Found:
    now = {detail["name"]: detail["guards"] for detail in said.get("project.guarded", [])}
    for row in rows:
        if (row["guards"] or "") != now.get(row["name"], ""):
            yield f"projects `{row['name']}`", "what it is guarded by at least is not what the entries say"


def _datasets(rows: list[Row], said: Said) -> Found:
    """What data may be used for, and where, is what was declared when they came in."""
    added = last(said, "data.added", "dataset")
    for row in rows:
        detail = added.get(row["id"], {})
        for column in ("purposes", "regions"):
            if json.loads(row[column]) != detail.get(column):
                yield f"datasets `{row['id']}`", f"its `{column}` are not what entry `data.added` says"
        if row["sensitivity"] != _level(detail):
            yield f"datasets `{row['id']}`", "its `sensitivity` is not what entry `data.added` says"


def _level(said: Detail) -> int | None:
    """The sensitivity that somebody wrote as a word."""
    return int(Sensitivity.parse(said["sensitivity"])) if "sensitivity" in said else None


def _retention(rows: list[Row], said: Said) -> Found:
    rules = last(said, "retention.set", "retention")
    for row in rows:
        for column in ("purpose", "sensitivity"):
            if row[column] != rules.get(row["id"], {}).get(column):
                yield f"retention `{row['id']}`", f"its `{column}` is not what entry `retention.set` says"


def _stopped(rows: list[Row], said: Said) -> Found:
    """What was stopped, and not resumed after that, is stopped."""
    stopped = still(said, "service.stopped", "service.resumed", "service")
    for row in rows:
        if (row["state"] == "stopped") != (row["name"] in stopped):
            yield f"services `{row['name']}`", "whether it is stopped is not what the entries say"


def _services(rows: list[Row], _said: Said) -> Found:
    """What policies ask of a service is what its declaration says, which an entry cites."""
    for row in rows:
        spec = json.loads(row["spec"])
        now = {"purpose": spec.get("purpose"), "sensitivity": _level(spec), "tier": spec.get("tier")}
        for column, value in now.items():
            if row[column] != value:
                yield f"services `{row['name']}`", f"its `{column}` is not what its declaration says"


def _providers(rows: list[Row], said: Said) -> Found:
    """Who is asked for an attached service is who its last release was begun for."""
    begun = {detail["service"]: detail["serving_digest"] for detail in said.get("release.begun", [])}
    for row in rows:
        if row["kind"] != "attached":
            continue
        provider = {name: value for name, value in json.loads(row["provider"]).items() if name != "has_key"}
        if digest(provider) != begun.get(row["name"]):
            yield f"services `{row['name']}`", "its provider is not the one that its release was begun for"


def _declared(name: str, why: str) -> Rule:
    """A rule: a setting that freehold.yaml makes is the one that was declared last."""

    def rule(rows: list[Row], said: Said) -> Found:
        now = {detail["digest"] for detail in said.get(f"{name}.declared", [])[-1:]}
        for row in rows:
            if row["name"] == name and digest(json.loads(row["value"])) not in now:
                yield f"settings `{name}`", why

    return rule


STATES: tuple[tuple[sa.Table, Rule], ...] = (
    (tables.keys, _keys),
    (tables.projects, _guards),
    (tables.datasets, _datasets),
    (tables.retention, _retention),
    (tables.services, _stopped),
    (tables.services, _services),
    (tables.services, _providers),
    (tables.settings, _declared("callers", "who may ask without a key is not what was declared last")),
    (
        tables.settings,
        _declared("watch", "the rules about who asks are not those that were declared last"),
    ),
)
