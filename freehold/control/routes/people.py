"""`/api/me`, `/api/people`: who I am, who may sign in, as what.

Addresses travel in bodies, never in paths or queries, so that no access log ever holds one.
"""

from __future__ import annotations

from typing import Any, get_args

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control.applied import wait_applied
from freehold.control.parts import Parts
from freehold.control.routes import keys as key_routes
from freehold.control.routes import projects as project_routes
from freehold.control.routes.asked import Asked, Plain, expiry
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.identity import keys, people, projects
from freehold.identity.people import Person, Role
from freehold.policy.decide import Action
from freehold.release.publish import publish
from freehold.spec.principal import INSTALLATION, Principal, Zone
from freehold.store.ground import Ground
from freehold.store.rows import Tx


class NewPerson(Asked):
    """A person to let in, with every role in every project named."""

    email: Plain
    roles: list[Plain] = Field(min_length=1, max_length=20)
    projects: list[Plain] = Field(default=[INSTALLATION], min_length=1, max_length=100)
    expires: Plain = "365d"


class NewRoles(Asked):
    """Roles to give and to take, in every project named."""

    person: Plain
    give: list[Plain] = Field(default=[], max_length=20)
    take: list[Plain] = Field(default=[], max_length=20)
    projects: list[Plain] = Field(default=[INSTALLATION], min_length=1, max_length=100)


class Named(Asked):
    """A person, by address or id."""

    person: Plain


class Lock(Named):
    """A person to lock, with the serving keys they answer for unless they are to stay."""

    keep_serving_keys: bool = False


def router(parts: Parts) -> APIRouter:
    """The routes of identity: people, projects, keys."""
    routes = APIRouter(prefix="/api")
    gate, ground = Gate(parts), parts.ground
    _add_me(routes, gate, ground)
    _add_reading(routes, gate, ground)
    _add_adding(routes, gate, ground)
    _add_locking(routes, gate, ground)
    project_routes.add(routes, gate, ground)
    key_routes.add(routes, gate, ground)
    return routes


def _add_me(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/me")
    def me(request: Request) -> dict[str, Any]:
        """Who this key signs in, and what they may do where."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            person = people.find(conn, who.id)
            key = keys.find(conn, who.key)
            everywhere = [INSTALLATION, *(project.name for project in projects.listed(conn))]
        may = {place: _actions(gate, who, place) for place in everywhere}
        return {
            **_told(person),
            "key": key.id,
            "expires_at": key.expires_at,
            "may": {place: actions for place, actions in may.items() if actions},
        }


def _actions(gate: Gate, who: Principal, project: str) -> list[str]:
    known: tuple[Action, ...] = get_args(Action)
    return [action for action in known if gate.would(who, action, project=project)]


def _add_reading(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.get("/people")
    def list_people(request: Request) -> list[dict[str, Any]]:
        """Everyone in the projects whose people this key may see, with their roles there."""
        who = gate.signed_in(request)
        with ground.db.read() as conn:
            everyone = people.listed(conn)
            named = [project.name for project in projects.listed(conn)]
        seen = {place for place in [INSTALLATION, *named] if gate.would(who, "person:read", project=place)}
        if not seen:
            gate.may(who, "person:read")
        return [_told(person, seen) for person in everyone if _shares(person, seen)]


def _shares(person: Person, seen: set[str]) -> bool:
    return INSTALLATION in seen or any(project in seen for project, _ in person.roles)


def _add_adding(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/people", status_code=201)
    def add_person(asked: NewPerson, request: Request) -> dict[str, Any]:
        """Let a person in; their key is in the answer, and nowhere else ever again."""
        who = gate.signed_in(request)
        for project in asked.projects:
            gate.may(who, "person:manage", project=project, facts={"person": ""})  # not known yet
        roles = _pairs(asked.projects, asked.roles)
        with ground.db.write() as tx:
            person = people.add(tx, by=who, email=asked.email, roles=roles)
            until = expiry(asked.expires, tx.at)
            key = keys.create(tx, by=who, owner=person.id, zone="control", expires_at=until, label="first")
        return {**_told(person), "key": key.id, "key_text": key.text, "expires_at": key.expires_at}

    @routes.post("/people/roles")
    def change_roles(asked: NewRoles, request: Request) -> dict[str, Any]:
        """Give and take roles; nobody their own."""
        who = gate.signed_in(request)
        person = _allowed(gate, ground, who, asked.person, asked.projects)
        with ground.db.write() as tx:
            after = people.change_roles(
                tx,
                by=who,
                person=people.find(tx.connection, person.id),
                give=_pairs(asked.projects, asked.give),
                take=_pairs(asked.projects, asked.take),
            )
        return _told(after)


def _add_locking(routes: APIRouter, gate: Gate, ground: Ground) -> None:
    @routes.post("/people/lock")
    def lock(asked: Lock, request: Request) -> dict[str, Any]:
        """Let a person no longer sign in, and void their keys."""
        who = gate.signed_in(request)
        person = _allowed(gate, ground, who, asked.person, [INSTALLATION])
        with ground.db.write() as tx:
            people.lock(tx, by=who, person=people.find(tx.connection, person.id))
            voided, ix = _void(tx, ground, who, person.id, asked.keep_serving_keys)
            after = people.find(tx.connection, person.id)
        applied = ix is None or wait_applied(ground, ix)
        return {**_told(after), "voided": voided, "applied": applied}

    @routes.post("/people/unlock")
    def unlock(asked: Named, request: Request) -> dict[str, Any]:
        """Let a locked person sign in again; they need a new key."""
        who = gate.signed_in(request)
        person = _allowed(gate, ground, who, asked.person, [INSTALLATION])
        with ground.db.write() as tx:
            people.unlock(tx, by=who, person=people.find(tx.connection, person.id))
            return _told(people.find(tx.connection, person.id))


def _allowed(gate: Gate, ground: Ground, who: Principal, word: str, places: list[str]) -> Person:
    """The person meant, once `who` may manage them in all the places.

    Somebody who manages nobody there hears that first, and not whether the address is known.
    """
    with ground.db.read() as conn:
        try:
            person: Person | None = people.find(conn, word)
        except NotFound:
            person = None
    named = person.id if person else ""
    for place in places:
        gate.may(who, "person:manage", project=place, resource=named, facts={"person": named})
    if person is None:
        raise people.NoSuchPerson(hint="`freehold people list` shows everyone")
    return person


def _void(
    tx: Tx, ground: Ground, who: Principal, owner: str, keep_serving: bool
) -> tuple[list[str], int | None]:
    """Void the person's keys; the index of the snapshot that tells gateways, when one was needed."""
    control = keys.revoke_all(tx, by=who, owner=owner, zones=["control"])
    zones: list[Zone] = [] if keep_serving else ["serving"]
    serving = keys.revoke_all(tx, by=who, owner=owner, zones=zones)
    ix = publish(tx, ground, by=who) if serving else None
    return [*control, *serving], ix


def _pairs(places: list[str], roles: list[str]) -> list[Role]:
    return [(place, role) for place in places for role in roles]


def _told(person: Person, seen: set[str] | None = None) -> dict[str, Any]:
    """A person as JSON, with the roles in the projects that are `seen`, or all of them."""
    everything = seen is None or INSTALLATION in seen
    roles = [(p, r) for p, r in sorted(person.roles) if everything or p in (seen or ())]
    return {
        "id": person.id,
        "email": person.email,
        "state": person.state,
        "roles": [{"project": project, "role": role} for project, role in roles],
        "created_at": person.created_at,
    }
