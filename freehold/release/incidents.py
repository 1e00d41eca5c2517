"""Incidents: that somebody looks like an attacker, what was done, and what became of it.

`open` → `acknowledged` → `closed`. Who is held back stays so until a throttle is over or a person ends it.
Each change stands in the ledger with it and, where it holds or frees somebody, in a new snapshot. A row names
a key, and a person by HMAC at most; an entry names no person at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.release import notices, settings, words
from freehold.release.publish import publish
from freehold.release.views import holds_at
from freehold.spec.ids import digest, new_id
from freehold.spec.principal import SYSTEM, Principal
from freehold.spec.watching import MANY, WORST, Reaction, Rule, Watch, plain_rules, rules_from
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import incidents as table

SETTING = "watch"
_SECOND = 1_000_000


class IncidentClosed(Conflict):
    """incident `{incident}` is closed"""


class NotHeld(Conflict):
    """the key `{key}` is held back by nothing"""


class KeyHeld(Conflict):
    """the key `{key}` is locked"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Enough that looks like an attack, of one key, or of one person with one key."""

    project: str
    service: str
    key: str
    subject: str | None
    count: int
    seen_at: int
    """When the newest of it was asked, microseconds UTC."""
    reacts: bool = True
    """False: it is only told, whatever the rule does."""


# -- rules ----------------------------------------------------------------------------------------------


def declare(tx: Tx, *, rules: Sequence[Watch]) -> bool:
    """Judge by these from now on; whether anything changed."""
    said, before = plain_rules(rules), settings.said(tx.connection, SETTING) or []
    if said == before:
        return False
    settings.keep(tx, SETTING, said)
    detail = {"digest": digest(said), "rules": len(said), "before": digest(before)}
    record(tx, "watch.declared", by=SYSTEM, object=SETTING, detail=detail)
    return True


def rules(conn: sa.Connection) -> tuple[Rule, ...]:
    """The rules that count; none where nobody is watched."""
    return rules_from(settings.said(conn, SETTING) or [])


# -- what control finds -----------------------------------------------------------------------------------


def seen(tx: Tx, ground: Ground, rule: Rule, found: Sighting) -> str | None:
    """Open an incident, or hold anew whom an open one held; its id.

    None when nothing is new: the same or worse is done already, or it was looked into after it was seen. What
    is stricter than what was done so far is done, too.
    """
    found = _bounded(tx, rule, found)
    if since(tx.connection, rule, found.key, found.subject) >= found.seen_at:
        return None
    strictest = _strictest(tx.connection, rule, found.project, found.key, found.subject)
    does = _does(rule, found.reacts)
    if strictest is None or _is_stricter(does, strictest):
        return _open(tx, ground, rule, found)
    return _again(tx, ground, strictest, rule, found) if _is_new(strictest, does, found.seen_at) else None


def is_dealt_with(
    conn: sa.Connection, rule: Rule, *, project: str, key: str, subject: str | None, reacts: bool, at: int
) -> bool:
    """Whether nothing comes of seeing the same once more at `at`: for leaving out to count it."""
    strictest, does = _strictest(conn, rule, project, key, subject), _does(rule, reacts)
    return strictest is not None and not _is_stricter(does, strictest) and not _is_new(strictest, does, at)


def _does(rule: Rule, reacts: bool) -> Reaction:
    return rule.then if reacts else "observe"


def _is_stricter(does: Reaction, strictest: Mapping[str, Any]) -> bool:
    return WORST.index(does) > WORST.index(strictest["does"])


def _is_new(strictest: Mapping[str, Any], does: Reaction, at: int) -> bool:
    """Whether who is held already is held anew: a throttle that is over, or a renewal that was of no use."""
    if does not in ("throttle", "renew") or does != strictest["does"] or not strictest["held"]:
        return False
    return strictest["until"] is None or bool(strictest["until"] <= at)


def _bounded(tx: Tx, rule: Rule, found: Sighting) -> Sighting:
    """The same; or that the key is noticed, when many of its persons are: they may all be invented.

    Who invents persons fills neither the ledger, nor mail, nor snapshots with them.
    """
    if found.subject is None:
        return found
    i = table.c
    noticed = sa.select(i.subject).where(
        i.key == found.key, i.rule == rule.name, i.state != "closed", i.subject.is_not(None)
    )
    known = set(tx.execute(noticed).scalars())
    if found.subject in known or len(known) < MANY:
        return found
    return replace(found, subject=None, reacts=False)


def since(conn: sa.Connection, rule: Rule, key: str, subject: str | None) -> int:
    """From when on records count: nobody is accused twice of what was looked into.

    Nor of what they are to renew a key or a token for: that takes as many again.
    """
    i = table.c
    dealt_with = i.state == "closed"
    if rule.then == "renew":
        dealt_with = sa.or_(dealt_with, sa.and_(i.does == "renew", i.held.is_(True)))
    query = sa.select(i.state, i.changed_at, i.seen_at, i.within).where(
        i.key == key, i.rule == rule.name, dealt_with, _whom(subject)
    )
    return max((_looked_into(dict(row)) for row in conn.execute(query).mappings()), default=0)


def _looked_into(row: Mapping[str, Any]) -> int:
    """Until when: clocks of control and of gateways may differ, but not by more than a rule looks back."""
    if row["state"] != "closed":
        return int(row["seen_at"])
    changed, seen, within = (int(row[name]) for name in ("changed_at", "seen_at", "within"))
    return max(changed, min(seen, changed + within * _SECOND))


def _strictest(
    conn: sa.Connection, rule: Rule, project: str, key: str, subject: str | None
) -> Mapping[str, Any] | None:
    """Of what is not closed about the same the incident that does most, the newest of those."""
    i = table.c
    query = (
        sa.select(table)
        .where(i.key == key, i.rule == rule.name, i.project == project, _whom(subject))
        .where(i.state != "closed")
        .order_by(i.at.desc(), i.id.desc())
    )
    rows = [dict(row) for row in conn.execute(query).mappings()]
    return max(rows, key=lambda row: WORST.index(row["does"]), default=None)


def _whom(subject: str | None) -> sa.ColumnElement[bool]:
    return table.c.subject.is_(None) if subject is None else table.c.subject == subject


def _open(tx: Tx, ground: Ground, rule: Rule, found: Sighting) -> str:
    id, does = new_id("inc"), _does(rule, found.reacts)
    until = _until(rule, found) if does == "throttle" else None
    row: dict[str, Any] = {
        "id": id,
        "project": found.project,
        "service": found.service,
        "rule": rule.name,
        "key": found.key,
        "subject": found.subject,
        "does": does,
        "pace": rule.pace,
        "held": does != "observe",
        "state": "open",
        "count": found.count,
        "within": rule.within,
        "changed_by": SYSTEM.id,
        "because": "",
        "seen_at": found.seen_at,
        "until": until,
        "at": tx.at,
        "changed_at": tx.at,
    }
    tx.execute(table.insert().values(row))
    detail = {name: row[name] for name in _TOLD} | {"incident": id, "person": found.subject is not None}
    detail |= {"until": until, "pace": rule.pace} if until is not None else {}
    record(tx, "incident.opened", by=SYSTEM, object=id, project=found.project, detail=detail)
    notices.tell_incident(tx, incident=row)
    if row["held"]:
        publish(tx, ground, by=SYSTEM)
    return id


_TOLD = ("service", "rule", "key", "does", "count", "within", "seen_at")


def _again(tx: Tx, ground: Ground, row: Mapping[str, Any], rule: Rule, found: Sighting) -> str:
    """A throttle is for longer; what is to be renewed has to be newer than what was seen now."""
    until = _until(rule, found) if row["does"] == "throttle" else None
    values = {"until": until, "seen_at": found.seen_at, "count": found.count, "changed_at": tx.at}
    tx.execute(table.update().where(table.c.id == row["id"]).values(**values))
    detail = {"incident": row["id"], "count": found.count, "seen_at": found.seen_at}
    detail |= {"until": until} if until is not None else {}
    record(tx, "incident.again", by=SYSTEM, object=row["id"], project=row["project"], detail=detail)
    publish(tx, ground, by=SYSTEM)
    return str(row["id"])


def _until(rule: Rule, found: Sighting) -> int:
    return found.seen_at + rule.lasts * _SECOND


# -- what people do ----------------------------------------------------------------------------------------


def find(conn: sa.Connection, incident: str) -> Mapping[str, Any]:
    """The incident with this id. Raises NotFound."""
    row = conn.execute(sa.select(table).where(table.c.id == incident)).mappings().first()
    if row is None:
        raise none_such(incident)
    return dict(row)


def none_such(incident: str) -> NotFound:
    """The same for one that is not there and for one that is not theirs."""
    return NotFound(kind="incident", name=incident[:80], hint="`freehold incident list` shows ids")


def acknowledge(tx: Tx, ground: Ground, *, by: Principal, incident: str, because: str = "") -> None:
    """Somebody looks into it; who is held back stays so. Raises NotFound, IncidentClosed."""
    row = _unclosed(tx, incident)
    _turn(tx, ground, by, row, "incident.acknowledged", {"state": "acknowledged"}, because)


def close(tx: Tx, ground: Ground, *, by: Principal, incident: str, because: str) -> int | None:
    """It is dealt with, and nobody is held back by it any more; the snapshot that says so, if one has to.

    Raises NotFound, IncidentClosed, BadInput without a reason.
    """
    row = _unclosed(tx, incident)
    because = words.checked_reason(because, needed_for="closing an incident")
    _close(tx, ground, by, row, because)
    return publish(tx, ground, by=by) if row["held"] else None


def unlock(tx: Tx, ground: Ground, *, by: Principal, key: str, because: str) -> tuple[tuple[str, ...], int]:
    """Free a key from everything that holds it, and close what did; those incidents, and the snapshot.

    Raises NotHeld, BadInput without a reason.
    """
    because = words.checked_reason(because, needed_for="unlocking a key")
    held = tx.execute(sa.select(table).where(_holds(key)).order_by(table.c.id)).mappings().all()
    if not held:
        raise NotHeld(key=key[:40], why="no open incident holds it", hint="`freehold incident list`")
    for row in map(dict, held):
        _close(tx, ground, by, row, because)
    return tuple(str(row["id"]) for row in held), publish(tx, ground, by=by)


def asks_to_renew(conn: sa.Connection, key: str) -> bool:
    """Whether an incident holds a key until it is renewed."""
    i = table.c
    return conn.scalar(sa.select(i.id).where(_holds(key), i.does == "renew").limit(1)) is not None


def renewed(tx: Tx, ground: Ground, *, by: Principal, key: str, new: str) -> None:
    """Close the incidents that held `key` until it was renewed: that is done, as `new`."""
    query = sa.select(table).where(_holds(key), table.c.does == "renew").order_by(table.c.id)
    for row in map(dict, tx.execute(query).mappings().all()):
        _close(tx, ground, by, row, f"renewed as {new}")


def _holds(key: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.key == key, table.c.held.is_(True))


def refuse_locked(conn: sa.Connection, key: str, at: int) -> None:
    """Raise KeyHeld for a key that an incident locks or throttles, itself or somebody's requests with it.

    A throttle whose time is over at `at` holds nobody.
    """
    i = table.c
    query = sa.select(i.id).where(i.key == key, holds_at(at), i.does.in_(("lock", "throttle"))).limit(1)
    if (incident := conn.scalar(query)) is not None:
        raise KeyHeld(key=key, why=f"incident `{incident}` holds it", hint=f"freehold keys unlock {key}")


def holding(conn: sa.Connection, at: int) -> dict[str, Mapping[str, Any]]:
    """What holds each key as a whole at a time: the strictest incident, of those alike the first."""
    whole = sa.select(table).where(holds_at(at), table.c.subject.is_(None)).order_by(table.c.at, table.c.id)
    found: dict[str, Mapping[str, Any]] = {}
    for row in conn.execute(whole).mappings():
        if row["key"] not in found or _is_stricter(row["does"], found[row["key"]]):
            found[row["key"]] = dict(row)
    return found


def place(incident: str) -> str:
    """What the sealed reason of an incident is bound to."""
    return f"incident/{incident}"


def _unclosed(tx: Tx, incident: str) -> Mapping[str, Any]:
    row = find(tx.connection, incident)
    if row["state"] == "closed":
        raise IncidentClosed(incident=row["id"], why="what is closed stays so")
    return row


def _close(tx: Tx, ground: Ground, by: Principal, row: Mapping[str, Any], because: str) -> None:
    _turn(tx, ground, by, row, "incident.closed", {"state": "closed", "held": False}, because)


def _turn(
    tx: Tx,
    ground: Ground,
    by: Principal,
    row: Mapping[str, Any],
    kind: str,
    values: Mapping[str, Any],
    because: str,
) -> None:
    because, about = words.checked_reason(because), place(row["id"])
    sealed = words.seal_words(ground, row["project"], tx.at, about, because)
    committed = words.commit_words(ground, row["project"], tx.at, about, because) if because else "-"
    tx.execute(
        table.update()
        .where(table.c.id == row["id"])
        .values(**values, because=sealed, changed_by=by.id, changed_at=tx.at)
    )
    detail = {"incident": row["id"], "because": committed}
    record(tx, kind, by=by, object=row["id"], project=row["project"], detail=detail)
