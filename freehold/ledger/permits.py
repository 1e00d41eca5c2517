"""What decides who may do what, told once by rows and once by entries: keys, guards, purposes, stops.

A row that is there with its entry says little when the columns by which somebody is let in were changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.spec.ids import digest, digest_bytes
from freehold.spec.sensitivity import Sensitivity
from freehold.store import tables

Row = Mapping[str, Any]
Said = Mapping[str, list[Mapping[str, Any]]]
Found = Iterator[tuple[str, str]]
Rule = Callable[[list[Row], Said], Found]


def _keys(rows: list[Row], said: Said) -> Found:
    """A key opens what it was issued for, to whom it was given, until when that was said."""
    issued = {detail["key"]: detail for detail in said.get("key.created", [])}
    for row in rows:
        detail = issued.get(row["id"], {})
        now = {
            "project": row["project"] or "",
            "services": json.loads(row["services"]),
            "purpose": row["purpose"] or "",
            "expires_at": row["expires_at"] or 0,
            "guard": (row["guard"] or "").split(),
            "origin": row.get("origin") or "",
        }
        for column, value in now.items():
            if value != (detail.get(column) or type(value)()):
                yield f"keys `{row['id']}`", f"its `{column}` is not what entry `key.created` says"
        if row.get("sensitivity") != _level(detail):  # the most that its requests may hold, where it says so
            yield f"keys `{row['id']}`", "its `sensitivity` is not what entry `key.created` says"
        secret = digest_bytes(row["secret_digest"].encode())
        if (
            row["revoked_at"] is None and detail.get("secret", secret) != secret
        ):  # exports leave out void ones'
            yield f"keys `{row['id']}`", "it opens with another secret than the one that was issued"


def _guards(rows: list[Row], said: Said) -> Found:
    now = {detail["name"]: detail["guards"] for detail in said.get("project.guarded", [])}
    for row in rows:
        if (row["guards"] or "") != now.get(row["name"], ""):
            yield f"projects `{row['name']}`", "what it is guarded by at least is not what the entries say"


def _datasets(rows: list[Row], said: Said) -> Found:
    """What data may be used for, and where, is what was declared when they came in."""
    added = {detail["dataset"]: detail for detail in said.get("data.added", [])}
    for row in rows:
        detail = added.get(row["id"], {})
        for column in ("purposes", "regions"):
            if json.loads(row[column]) != detail.get(column):
                yield f"datasets `{row['id']}`", f"its `{column}` are not what entry `data.added` says"
        if row["sensitivity"] != _level(detail):
            yield f"datasets `{row['id']}`", "its `sensitivity` is not what entry `data.added` says"


def _level(said: Row) -> int | None:
    """The sensitivity that somebody wrote as a word."""
    return int(Sensitivity.parse(said["sensitivity"])) if "sensitivity" in said else None


def _retention(rows: list[Row], said: Said) -> Found:
    rules = {detail["retention"]: detail for detail in said.get("retention.set", [])}
    for row in rows:
        for column in ("purpose", "sensitivity"):
            if row[column] != rules.get(row["id"], {}).get(column):
                yield f"retention `{row['id']}`", f"its `{column}` is not what entry `retention.set` says"


def _stopped(rows: list[Row], said: Said) -> Found:
    """How often a service was stopped and resumed says what it is now: the two alternate."""
    stops: dict[str, int] = {}
    for kind, step in (("service.stopped", 1), ("service.resumed", -1)):
        for detail in said.get(kind, []):
            stops[detail["service"]] = stops.get(detail["service"], 0) + step
    for row in rows:
        if (row["state"] == "stopped") != (stops.get(row["name"], 0) > 0):
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


def _callers(rows: list[Row], said: Said) -> Found:
    """Who may ask without a key is what was declared last."""
    now = {detail["digest"] for detail in said.get("callers.declared", [])[-1:]}
    for row in rows:
        if row["name"] == "callers" and digest(json.loads(row["value"])) not in now:
            yield "settings `callers`", "who may ask without a key is not what was declared last"


def _watch(rows: list[Row], said: Said) -> Found:
    """By what control judges who asks is what was declared last."""
    now = {detail["digest"] for detail in said.get("watch.declared", [])[-1:]}
    for row in rows:
        if row["name"] == "watch" and digest(json.loads(row["value"])) not in now:
            yield "settings `watch`", "the rules about who asks are not those that were declared last"


STATES: tuple[tuple[sa.Table, Rule], ...] = (
    (tables.keys, _keys),
    (tables.projects, _guards),
    (tables.datasets, _datasets),
    (tables.retention, _retention),
    (tables.services, _stopped),
    (tables.services, _services),
    (tables.services, _providers),
    (tables.settings, _callers),
    (tables.settings, _watch),
)
