"""`/api/keys`: keys for people and for services. The key itself is in one answer and nowhere else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control.applied import wait_applied
from freehold.control.routes.asked import Asked, Plain, expiry
from freehold.control.signed_in import Gate
from freehold.errors import BadInput, NotFound
from freehold.identity import keys, people, projects
from freehold.identity.keys import Key, NewKey
from freehold.identity.people import Person
from freehold.release import incidents
from freehold.release.publish import publish
from freehold.spec.principal import INSTALLATION, Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import services


class NoSuchService(BadInput):
    """there is no service `{name}` in project `{project}`"""


class NewKeyAsked(Asked):
    """A key to issue."""

    zone: Literal["control", "serving"]
    project: Plain | None = None
    services: list[Plain] = Field(default=[], max_length=100)
    purpose: Plain | None = None
    label: Plain = ""
    limits: Plain = ""
    guard: Annotated[tuple[Plain, ...], Field(max_length=16)] = ()
    """What its requests are guarded by at least, at every service: `in.pii=mask`."""
    sensitivity: Plain = ""
    """The most sensitive services it may ask; empty: any of its project."""
    expires: Plain = "365d"
    owner: Plain | None = None
    """A person's address or id; whoever asks, when it is left out."""


class Renewal(Asked):
    """How long the new key is to be good."""

    expires: Plain = "365d"


def add(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    """Add the routes of keys to identity's."""
    _add_reading(routes, gate, ground)
    _add_creating(routes, gate, ground)
    _add_renewing(routes, gate, ground)
    _add_revoking(routes, gate, ground)


def _add_reading(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/keys")
    def list_keys(request: Request) -> list[dict[str, Any]]:
        """Your own keys, and those of the projects whose keys you may see; the newest first."""
        who, at = gate.signed_in(request), ground.clock()
        with ground.db.read() as conn:
            every = keys.listed(conn)
            named = {person.id: person.email for person in people.listed(conn)}
            held = incidents.holding(conn, at)
        seen = _places_seen(gate, who, every)
        shown = [key for key in every if key.owner == who.id or (key.project or INSTALLATION) in seen]
        return [_told(key, named.get(key.owner, key.owner), at, held.get(key.id)) for key in shown]


def _places_seen(gate: Gate, who: Principal, every: tuple[Key, ...]) -> set[str]:
    places = {key.project or INSTALLATION for key in every}
    return {place for place in places if gate.would(who, "key:read", project=place)}


def _add_creating(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/keys", status_code=201)
    def create_key(asked: NewKeyAsked, request: Request) -> dict[str, Any]:
        """Issue a key; its text is in this answer only.

        A control key for somebody else voids the ones they had: nobody can hold a key of yours beside
        your own without your noticing.
        """
        who = gate.signed_in(request)
        owner = _owner(gate, ground, who, asked)
        with ground.db.write() as tx:
            _check_services(tx, asked)
            key = keys.create(
                tx,
                by=who,
                owner=owner.id,
                zone=asked.zone,
                project=asked.project,
                services=asked.services,
                purpose=asked.purpose,
                expires_at=expiry(asked.expires, tx.at),
                label=asked.label,
                limits=asked.limits,
                guard=asked.guard,
                sensitivity=Sensitivity.parse(asked.sensitivity) if asked.sensitivity else None,
            )
            handed_over = asked.zone == "control" and owner.id != who.id
            voided = _void_others(tx, who, owner.id, key.id) if handed_over else ()
            ix = publish(tx, ground, by=who) if asked.zone == "serving" else None
        return {**_shown(key), "voided": list(voided), "applied": ix is None or wait_applied(ground, ix)}


def _add_renewing(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/keys/renew", status_code=201)
    def renew_key(asked: Renewal, request: Request) -> dict[str, Any]:
        """Exchange the key of this request for a new one, which nobody but its holder has seen."""
        who = gate.signed_in(request)
        gate.may(who, "key:create", resource=who.key, facts={"owner": who.id, "zone": "control"})
        with ground.db.write() as tx:
            until = expiry(asked.expires, tx.at)
            key = keys.create(tx, by=who, owner=who.id, zone="control", expires_at=until, label="renewed")
            keys.revoke(tx, by=who, key=who.key)
        return {**_shown(key), "voided": [who.key], "applied": True}

    @routes.post("/keys/{key}/renew", status_code=201)
    def renew_serving_key(key: Plain, asked: Renewal, request: Request) -> dict[str, Any]:
        """Exchange a serving key for a new one with the same rights; the old one is void.

        Whoever answers for it may when an incident asks for it, and the new one is good no longer than the
        old one, but for who may issue keys. One that is locked is unlocked first.
        """
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            old = keys.find(conn, key)
            held = "renew" if incidents.asks_to_renew(conn, old.id) else ""
        if old.zone != "serving":
            raise NotFound(kind="serving key", name=key[:40], hint="`freehold keys list` shows ids")
        facts = {"owner": old.owner, "zone": old.zone}
        gate.may(who, "key:renew", project=old.project, resource=old.id, facts={**facts, "held": held})
        longer = gate.would(who, "key:create", project=old.project, facts=facts)
        with ground.db.write() as tx:
            incidents.refuse_locked(tx.connection, old.id, tx.at)
            until = expiry(asked.expires, tx.at)
            new = keys.renew(tx, by=who, key=old.id, expires_at=until, longer=longer)
            incidents.renewed(tx, ground, by=who, key=old.id, new=new.id)
            ix = publish(tx, ground, by=who)
        return {**_shown(new), "voided": [old.id], "applied": wait_applied(ground, ix)}


def _owner(gate: Gate, ground: Ground, who: Principal, asked: NewKeyAsked) -> Person:
    """The owner, once `who` may issue them this key; a refusal does not tell who exists."""
    with ground.db.read() as conn:
        try:
            owner: Person | None = people.find(conn, asked.owner or who.id)
        except NotFound:
            owner = None
    facts = {"zone": asked.zone, **({"owner": owner.id} if owner else {})}
    project = asked.project if asked.zone == "serving" else None
    gate.may(who, "key:create", project=project, facts=facts)
    if owner is None:
        raise people.NoSuchPerson(hint="`freehold people list` shows everyone")
    return owner


def _void_others(tx: Tx, who: Principal, owner: str, but: str) -> tuple[str, ...]:
    return keys.revoke_all(tx, by=who, owner=owner, zones=["control"], but=but)


def _check_services(tx: Tx, asked: NewKeyAsked) -> None:
    """A key for a service that is mistyped would be refused at every request, without saying why."""
    if not asked.services or not asked.project:
        return
    projects.find(tx.connection, asked.project)
    there = sa.select(services.c.name).where(services.c.project == asked.project)
    known = set(tx.execute(there).scalars())
    for name in asked.services:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise NoSuchService(
                name=name[:63],
                project=asked.project,
                why="a key may name services of its own project only",
                hint=f"did you mean `{near[0]}`?"
                if near
                else "leave it out for every service of the project",
            )


def _add_revoking(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.delete("/keys/{key}")
    def revoke_key(key: Plain, request: Request) -> dict[str, Any]:
        """Make a key void at once; `applied` says whether every gateway has heard."""
        who = gate.signed_in(request)
        found = _revocable(gate, ground, who, key)
        with ground.db.write() as tx:
            void = keys.revoke(tx, by=who, key=found.id)
            told = found.revoked_at is None and void.zone == "serving"
            ix = publish(tx, ground, by=who) if told else None
            owner = people.find(tx.connection, void.owner).email
        applied = ix is None or wait_applied(ground, ix)
        return {**_told(void, owner, ground.clock()), "applied": applied}


def _revocable(gate: Gate, ground: Ground, who: Principal, id: str) -> Key:
    """The key, once `who` may revoke it. A machine's key is not revoked here: it would only go silent."""
    with ground.db.read() as conn:
        key = keys.find(conn, id)
    if key.zone == "border":
        raise NotFound(kind="key", name=id[:40], hint="`freehold keys list` shows ids")
    facts = {"owner": key.owner, "zone": key.zone}
    gate.may(who, "key:revoke", project=key.project, resource=key.id, facts=facts)
    return key


def _shown(key: NewKey) -> dict[str, Any]:
    return {"id": key.id, "key_text": key.text, "expires_at": key.expires_at}


def _told(key: Key, owner: str, at: int, holds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """As it is shown; `holds` is the incident that holds a good one."""
    state = key.state(at)
    held = _held(holds) if holds and state == "active" else None
    return {
        "id": key.id,
        "zone": key.zone,
        "owner": owner,
        "project": key.project,
        "services": list(key.services),
        "purpose": key.purpose,
        "label": key.label,
        "limits": key.limits or None,
        "guard": list(key.guard),
        "sensitivity": key.sensitivity.word if key.sensitivity else None,
        "state": "locked" if held and held["does"] == "lock" else state,
        "held": held,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
    }


def _held(incident: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "incident": incident["id"],
        "does": incident["does"],
        "since": incident["at"],
        "until": incident["until"],
    }
