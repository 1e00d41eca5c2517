"""How long things are kept, told once by rows and once by entries: rules, holds, purges, what is over."""

from __future__ import annotations

import json

import sqlalchemy as sa

from freehold.ledger.ruled import Found, Row, Rule, Said, last
from freehold.spec.answer import FORGOTTEN
from freehold.store import tables


def _expired(rows: list[Row], said: Said) -> Found:
    """The time of a version is over when an entry says so, and then none of its rows is left."""
    over = last(said, "data.expired", "version")
    for row in rows:
        gone = row["state"] == "expired" and not json.loads(row["layout"])["chunks"]
        if gone != (row["id"] in over):
            yield f"data_versions `{row['id']}`", "whether its time is over is not what the entries say"


def _over(kind: str, field: str) -> Rule:
    """A rule: what has an end has it because an entry says so."""

    def rule(rows: list[Row], said: Said) -> Found:
        over = last(said, kind, field)
        for row in rows:
            if (row["ended_at"] is not None) != (row["id"] in over):
                yield f"{field} `{row['id']}`", "whether it has ended is not what the entries say"

    return rule


def _purges(rows: list[Row], said: Said) -> Found:
    states = ("begun", "removed", "destroyed")
    now = {detail["purge"]: word for word in states for detail in said.get(f"purge.{word}", [])}
    for row in rows:
        if row["state"] != now.get(row["id"]):
            yield f"purges `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _readmissions(rows: list[Row], said: Said) -> Found:
    """What somebody was let in again for, and after which forgettings, is what the entry says."""
    lists = ("purposes", "forgettings")
    begun = last(said, "subject.readmitted", "readmission")
    for row in rows:
        detail = begun.get(row["id"], {})
        if any(json.loads(row[name]) != detail.get(name) for name in lists):
            yield f"readmissions `{row['id']}`", "what it is for, or after, is not what the entry says"


def _incidents(rows: list[Row], said: Said) -> Found:
    """How an incident stands, whom it holds, and that nobody is held back by a closed one."""
    opened, again = (last(said, f"incident.{word}", "incident") for word in ("opened", "again"))
    now = dict.fromkeys(opened, "open")
    for word in ("acknowledged", "closed"):  # in this order, and never back
        now |= dict.fromkeys(last(said, f"incident.{word}", "incident"), word)
    for row in rows:
        place, began = f"incidents `{row['id']}`", opened.get(row["id"], {})
        newest = again.get(row["id"], began)
        if row["state"] != now.get(row["id"]):
            yield place, f"it is {row['state']}, which is not what the entries say"
        holds = row["state"] != "closed" and row["does"] != "observe" and row["subject"] != FORGOTTEN
        if row["held"] != holds:
            yield place, "whether it holds somebody is not what the entries say"
        if (row["until"], row["seen_at"]) != (newest.get("until"), newest.get("seen_at")):
            yield place, "since and until when it holds somebody is not what the entries say"
        if row["does"] == "throttle" and row["pace"] != began.get("pace"):
            yield place, "how much somebody may still ask is not what entry `incident.opened` says"
        if (row["subject"] is not None) != began.get("person"):
            yield place, "whether it is about one person is not what entry `incident.opened` says"
    unnamed = sum(detail["incidents"] for detail in said.get("incident.forgotten", []))
    if sum(row["subject"] == FORGOTTEN for row in rows) != unnamed:
        yield "incidents", "how many were about somebody who was forgotten is not what the entries say"


STATES: tuple[tuple[sa.Table, Rule], ...] = (
    (tables.data_versions, _expired),
    (tables.readmissions, _readmissions),
    (tables.incidents, _incidents),
    (tables.retention, _over("retention.ended", "retention")),
    (tables.holds, _over("hold.ended", "hold")),
    (tables.purges, _purges),
)
