"""Keys: how people, services and machines show who they are; each is good in one zone only.

We keep the SHA-256 of a secret that is 256 random bits. A key is shown once, when it is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, NotFound, NotSignedIn
from freehold.identity import floors, people, projects
from freehold.ledger.record import record
from freehold.spec.ids import canonical, check_name, digest_bytes, new_id
from freehold.spec.keys import KeyText
from freehold.spec.limits import most
from freehold.spec.principal import Principal, Zone
from freehold.spec.sensitivity import Sensitivity
from freehold.store.rows import Tx
from freehold.store.tables import keys

MACHINES = ("gateway", "worker", "engine")
"""Who may hold a border key."""

_NOBODY = "0" * 64
"""Compared against when there is no such key, so that an unknown id takes as long as a wrong secret."""

_HERE = {
    "control": "control takes keys that begin with `fhc_`",
    "serving": "a gateway takes keys that begin with `fhs_`",
    "border": "the border takes keys of machines, which begin with `fhb_`",
}


class KeyUnusable(BadInput):
    """a key cannot be made like this"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key at the only moment its text is known; its representation leaves the text out."""

    id: str
    text: str = field(repr=False)
    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as its row says: enough to list and revoke it, not to use it."""

    id: str
    zone: Zone
    owner: str
    project: str | None
    services: tuple[str, ...]
    purpose: str | None
    label: str
    expires_at: int | None
    revoked_at: int | None
    created_at: int
    limits: str = ""
    """What it may use, at all services together; empty means no limit."""
    guard: tuple[str, ...] = ()
    """What its requests are guarded by at least: `in.pii=mask`."""
    sensitivity: Sensitivity | None = None
    """The most sensitive services it may ask; None is any of its project."""
    origin: str = ""
    """Of a renewed one the first of them."""

    def state(self, at: int) -> str:
        """`active`, `expired` or `revoked` at a time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"


def create(
    tx: Tx,
    *,
    by: Principal,
    owner: str,
    zone: Zone,
    project: str | None = None,
    services: Iterable[str] = (),
    purpose: str | None = None,
    expires_at: int | None = None,
    label: str = "",
    limits: str = "",
    guard: tuple[str, ...] = (),
    sensitivity: Sensitivity | None = None,
    renews: Key | None = None,
) -> NewKey:
    """Issue a key to `owner`: a person's id, or a machine's name in the border zone.

    A serving key is for one project; no `services` means every service in it. Gateways learn of it
    with the next snapshot. What was used with the one it `renews` counts for it, too. Raises KeyUnusable,
    BadName, NotFound for a project or person.
    """
    named = tuple(sorted(set(services)))
    _check(tx, owner, zone, project, named, purpose, label, expires_at)
    _check_limits(tx.connection, zone, project, limits)
    _check_guard(zone, guard)
    if sensitivity is not None and zone != "serving":
        raise KeyUnusable(why="only serving keys ask services", hint="leave `--sensitivity` out")
    key = KeyText.new(zone, new_id("key"))
    origin = (renews.origin or renews.id) if renews else None
    with tx.naming(keys, [key.id] if zone == "serving" else []):
        tx.execute(
            keys.insert().values(
                id=key.id,
                secret_digest=key.digest,
                zone=zone,
                owner=owner,
                project=project,
                services=canonical(list(named)).decode(),
                purpose=purpose,
                label=label,
                limits=limits or None,
                guard=" ".join(guard) or None,
                sensitivity=sensitivity,
                origin=origin,
                expires_at=expires_at,
                created_at=tx.at,
            )
        )
    said: dict[str, Any] = {"project": project, "services": list(named), "purpose": purpose}
    said |= {"expires_at": expires_at, "limits": limits, "guard": list(guard)}
    said |= {"sensitivity": sensitivity.word if sensitivity is not None else None}
    said |= {"renews": renews.id if renews else None, "origin": origin}
    said["secret"] = digest_bytes(key.digest.encode())  # of 256 random bits: whoever reads it learns nothing
    detail = {"key": key.id, "zone": zone, "owner": owner, **{k: v for k, v in said.items() if v}}
    record(tx, "key.created", by=by, object=key.id, project=project, detail=detail)
    return NewKey(id=key.id, text=key.text, expires_at=expires_at)


def renew(tx: Tx, *, by: Principal, key: str, expires_at: int | None, longer: bool = False) -> NewKey:
    """A new serving key with the rights of `key`, which is void from now on.

    It is good no longer than that one was, unless it may be `longer`. Raises NotFound, KeyUnusable for one
    that is void or expired, and what `create` raises.
    """
    old = find(tx.connection, key)
    if (state := old.state(tx.at)) != "active":
        raise KeyUnusable(
            why=f"the one to renew is {state}", hint="ask for a new one: `freehold keys create`"
        )
    if old.expires_at is not None and not longer:
        expires_at = min(expires_at or old.expires_at, old.expires_at)
    made = create(
        tx,
        by=by,
        owner=old.owner,
        zone=old.zone,
        project=old.project,
        services=old.services,
        purpose=old.purpose,
        expires_at=expires_at,
        label=old.label,
        limits=old.limits,
        guard=old.guard,
        sensitivity=old.sensitivity,
        renews=old,
    )
    revoke(tx, by=by, key=old.id)
    return made


def revoke(tx: Tx, *, by: Principal, key: str) -> Key:
    """Make a key void from now on; a void one stays as it is. Raises NotFound."""
    found = find(tx.connection, key)
    if found.revoked_at is not None:
        return found
    with tx.naming(keys, [found.id] if found.zone == "serving" else []):
        tx.execute(keys.update().where(keys.c.id == found.id).values(revoked_at=tx.at))
    record(tx, "key.revoked", by=by, object=found.id, project=found.project, detail={"key": found.id})
    return find(tx.connection, found.id)


def revoke_all(tx: Tx, *, by: Principal, owner: str, zones: Iterable[Zone], but: str = "") -> tuple[str, ...]:
    """Make every key of `owner` in these zones void, except the key `but`; returns the ids."""
    wanted = keys.c.zone.in_(list(zones)), keys.c.owner == owner, keys.c.revoked_at.is_(None)
    ids = (
        tx.execute(sa.select(keys.c.id).where(*wanted, keys.c.id != but).order_by(keys.c.id)).scalars().all()
    )
    for key in ids:
        revoke(tx, by=by, key=key)
    return tuple(ids)


def authenticate(conn: sa.Connection, text: str, *, zone: Zone, at: int) -> Principal:
    """Who holds the key `text`, here and now. Raises NotSignedIn.

    Only a right secret learns that its key is revoked or expired; whether an id exists is told to
    nobody.
    """
    key = KeyText.read(text)
    if key is None:
        raise NotSignedIn(why="this has not the shape of a key", hint=_HERE[zone])
    if key.zone != zone:
        raise NotSignedIn(why=f"this is a key of the {key.zone} zone", hint=_HERE[zone])
    row = conn.execute(sa.select(keys).where(keys.c.id == key.id, keys.c.zone == zone)).first()
    right = key.matches(row.secret_digest if row is not None else _NOBODY)
    if row is None or not right:
        raise NotSignedIn(why="there is no such key", hint="ask an administrator for a new one")
    return _standing(conn, _key(row), at)


def holder(conn: sa.Connection, key: str, at: int) -> Principal:
    """Who holds the key with this id, while it is good: for what was begun with it. Raises NotSignedIn."""
    row = conn.execute(sa.select(keys).where(keys.c.id == key)).first()
    if row is None:
        raise NotSignedIn(why="there is no such key", hint="ask an administrator for a new one")
    return _standing(conn, _key(row), at)


def _standing(conn: sa.Connection, key: Key, at: int) -> Principal:
    if (state := key.state(at)) != "active":
        raise NotSignedIn(why=f"this key is {state}", hint="ask an administrator for a new one")
    return _principal(conn, key)


def _principal(conn: sa.Connection, key: Key) -> Principal:
    if key.zone == "border":
        return Principal(kind="machine", id=key.owner, zone="border", key=key.id)
    if key.zone == "serving":
        return Principal(kind="service", id=key.id, zone="serving", key=key.id)
    person = people.find(conn, key.owner)
    if person.state != "active":
        raise NotSignedIn(why="this person is locked", hint="an administrator can unlock them")
    return Principal(kind="person", id=person.id, zone="control", key=key.id, roles=person.roles)


def find(conn: sa.Connection, key: str) -> Key:
    """The key with this id. Raises NotFound."""
    row = conn.execute(sa.select(keys).where(keys.c.id == key)).first()
    if row is None:
        raise NotFound(kind="key", name=key[:40], hint="`freehold keys list` shows ids")
    return _key(row)


def owner_of(conn: sa.Connection, key: str) -> str:
    """Who answers for a key; empty for what is none of ours, such as a token's holder."""
    return str(conn.scalar(sa.select(keys.c.owner).where(keys.c.id == key)) or "")


def listed(conn: sa.Connection) -> tuple[Key, ...]:
    """Every key of people and services, the newest first; machines' keys are their own business."""
    newest = keys.c.created_at.desc(), keys.c.id.desc()
    rows = conn.execute(sa.select(keys).where(keys.c.zone != "border").order_by(*newest))
    return tuple(_key(row) for row in rows)


def _key(row: sa.Row[Any]) -> Key:
    return Key(
        id=row.id,
        zone=row.zone,
        owner=row.owner,
        project=row.project,
        services=tuple(json.loads(row.services)),
        purpose=row.purpose,
        label=row.label,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        created_at=row.created_at,
        limits=row.limits or "",
        guard=tuple((row.guard or "").split()),
        sensitivity=Sensitivity(row.sensitivity) if row.sensitivity else None,
        origin=row.origin or "",
    )


def _check(
    tx: Tx,
    owner: str,
    zone: Zone,
    project: str | None,
    services: tuple[str, ...],
    purpose: str | None,
    label: str,
    expires_at: int | None,
) -> None:
    for name, kind in [*((s, "service") for s in services), (purpose, "purpose"), (label, "label")]:
        if name:
            check_name(name, kind)
    if expires_at is not None and expires_at <= tx.at:
        raise KeyUnusable(why="it would have expired already", hint="give a span such as `90d`")
    if zone == "serving":
        _check_serving(tx.connection, project)
    elif project or services or purpose:
        raise KeyUnusable(
            why="project, services and purpose belong to serving keys; a control key has its owner's roles",
            hint="make a serving key",
        )
    _check_owner(tx.connection, owner, zone)


def _check_guard(zone: Zone, guard: tuple[str, ...]) -> None:
    if guard and zone != "serving":
        raise KeyUnusable(why="guards belong to serving keys", hint="leave `--guard` out")
    floors.check_words(guard)


def _check_limits(conn: sa.Connection, zone: Zone, project: str | None, limits: str) -> None:
    if limits and (zone != "serving" or not project):
        raise KeyUnusable(why="limits belong to serving keys", hint="leave `--limits` out")
    if limits and project:
        most(limits, projects.find(conn, project).currency)


def _check_serving(conn: sa.Connection, project: str | None) -> None:
    if not project:
        raise KeyUnusable(why="a serving key is for one project", hint="name it with `--project`")
    projects.find(conn, project)


def _check_owner(conn: sa.Connection, owner: str, zone: Zone) -> None:
    if zone == "border":
        if owner not in MACHINES:
            raise KeyUnusable(why=f"border keys are for {', '.join(MACHINES)}")
    elif people.find(conn, owner).state != "active":
        raise KeyUnusable(why="its owner is locked", hint="unlock them first, or name another owner")
