"""People: who may sign in, and as what.

An address stands in the table `people` and nowhere else: entries, errors and logs say `per_…`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound, Refused
from freehold.identity import projects
from freehold.ledger.record import record
from freehold.spec.ids import new_id
from freehold.spec.principal import APPROVER_ROLES, INSTALLATION, ROLES, Principal
from freehold.store.rows import Tx
from freehold.store.tables import memberships, people

Role = tuple[str, str]
"""(project or `*`, role)."""

APART_FROM_ADMINISTRATOR = APPROVER_ROLES | {"trainer"}
"""Whoever hands out roles and keys neither makes models nor decides about them."""

_ADDRESS = re.compile(r"[^\s@\x00-\x20\x7f]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,187}[A-Za-z0-9])?")


class NoSuchPerson(NotFound):
    """there is no person with this address or id"""


class PersonExists(Conflict):
    """a person with this address is there already"""


class BadAddress(BadInput):
    """this is not an e-mail address"""


class NoSuchRole(BadInput):
    """there is no role `{role}`"""


class NoRole(BadInput):
    """a person needs at least one role"""


class DutiesMixed(Refused):
    """one person cannot be `administrator` and `{role}`"""


class LastAdministrator(Refused):
    """this is the last administrator of the installation"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as the rows say."""

    id: str
    email: str
    state: str
    """`active` or `locked`."""
    created_at: int
    roles: frozenset[Role]


def add(tx: Tx, *, by: Principal, email: str, roles: Iterable[Role]) -> Person:
    """Let a person sign in, with (project or `*`, role) pairs; the key comes from `keys.create`.

    Raises BadAddress, PersonExists, NoSuchRole, NotFound for a project, NoRole, DutiesMixed.
    """
    address, held = _checked_address(email), frozenset(roles)
    _check_roles(tx.connection, held)
    if _row(tx.connection, address) is not None:
        raise PersonExists(
            why="an address is one person's in the whole installation",
            hint="give another role with `freehold people roles ADDRESS --give ROLE`",
        )
    person = Person(id=new_id("per"), email=address, state="active", created_at=tx.at, roles=held)
    tx.execute(
        people.insert().values(id=person.id, email=address, state=person.state, created_at=person.created_at)
    )
    _insert_roles(tx, person.id, held)
    record(tx, "person.added", by=by, object=person.id, detail={"person": person.id, "roles": written(held)})
    return person


def change_roles(
    tx: Tx, *, by: Principal, person: Person, give: Iterable[Role] = (), take: Iterable[Role] = ()
) -> Person:
    """Give and take roles, at least one must stay. What is held, or not held, already changes nothing.

    Raises NoSuchRole, NotFound for a project, NoRole, DutiesMixed, LastAdministrator.
    """
    given, taken = frozenset(give) - person.roles, frozenset(take) & person.roles
    held = (person.roles | given) - taken
    for _, role in sorted(frozenset(take)):
        _check_role(role)
    _check_roles(tx.connection, held)
    if (INSTALLATION, "administrator") in taken:
        _keep_one_administrator(tx, person.id)
    for project, role in sorted(taken):
        tx.execute(
            memberships.delete().where(
                memberships.c.person == person.id,
                memberships.c.project == project,
                memberships.c.role == role,
            )
        )
    _insert_roles(tx, person.id, given)
    _record_change(tx, by, person.id, given, taken)
    return find(tx.connection, person.id)


def lock(tx: Tx, *, by: Principal, person: Person) -> None:
    """Let a person no longer sign in. Their keys are voided beside this. Raises LastAdministrator."""
    if person.state == "locked":
        return
    if (INSTALLATION, "administrator") in person.roles:
        _keep_one_administrator(tx, person.id)
    _set_state(tx, by, person.id, "locked", "person.locked")


def unlock(tx: Tx, *, by: Principal, person: Person) -> None:
    """Let a locked person sign in again; void keys stay void."""
    if person.state == "locked":
        _set_state(tx, by, person.id, "active", "person.unlocked")


def find(conn: sa.Connection, email_or_id: str) -> Person:
    """The person with this address, in any case, or with this id. Raises NoSuchPerson."""
    row = _row(conn, email_or_id)
    if row is None:
        raise NoSuchPerson(hint="`freehold people list` shows everyone")
    return _person(row, _roles(conn, [row.id])[row.id])


def listed(conn: sa.Connection) -> tuple[Person, ...]:
    """Everyone, in the order they came."""
    rows = conn.execute(sa.select(people).order_by(people.c.created_at, people.c.id)).all()
    roles = _roles(conn, [row.id for row in rows])
    return tuple(_person(row, roles[row.id]) for row in rows)


def roles_of(conn: sa.Connection, person: str) -> frozenset[Role]:
    """The roles held by the person with this id."""
    return _roles(conn, [person])[person]


def administrators(conn: sa.Connection) -> tuple[Person, ...]:
    """Who holds `administrator` in the installation, active ones first, then the longest-standing."""
    held = (p for p in listed(conn) if (INSTALLATION, "administrator") in p.roles)
    return tuple(sorted(held, key=lambda p: (p.state != "active", p.created_at, p.id)))


def _row(conn: sa.Connection, email_or_id: str) -> sa.Row[Any] | None:
    same = sa.or_(people.c.id == email_or_id, people.c.email == email_or_id.strip().lower())
    return conn.execute(sa.select(people).where(same)).first()


def _roles(conn: sa.Connection, ids: list[str]) -> dict[str, frozenset[Role]]:
    held: dict[str, set[Role]] = {id: set() for id in ids}
    query = sa.select(memberships)
    if len(ids) == 1:
        query = query.where(memberships.c.person == ids[0])
    for row in conn.execute(query):
        if row.person in held:
            held[row.person].add((row.project, row.role))
    return {id: frozenset(roles) for id, roles in held.items()}


def _person(row: sa.Row[Any], roles: frozenset[Role]) -> Person:
    return Person(id=row.id, email=row.email, state=row.state, created_at=row.created_at, roles=roles)


def _insert_roles(tx: Tx, person: str, roles: frozenset[Role]) -> None:
    for project, role in sorted(roles):
        tx.execute(memberships.insert().values(person=person, project=project, role=role, created_at=tx.at))


def _record_change(
    tx: Tx, by: Principal, person: str, given: frozenset[Role], taken: frozenset[Role]
) -> None:
    """One entry a project, so that a project's history is complete without reading the others'."""
    for project in sorted({project for project, _ in given | taken}):
        added = sorted(role for where, role in given if where == project)
        removed = sorted(role for where, role in taken if where == project)
        detail = {"person": person, "project": project, "added": added, "removed": removed}
        within = None if project == INSTALLATION else project
        record(tx, "person.roles", by=by, object=person, project=within, detail=detail)


def _set_state(tx: Tx, by: Principal, person: str, state: str, kind: str) -> None:
    tx.execute(people.update().where(people.c.id == person).values(state=state))
    record(tx, kind, by=by, object=person, detail={"person": person})


def _keep_one_administrator(tx: Tx, leaving: str) -> None:
    """Two administrators who lock each other at once meet at these rows, and the second is refused."""
    query = (
        sa.select(people.c.id)
        .join(memberships, memberships.c.person == people.c.id)
        .where(memberships.c.project == INSTALLATION, memberships.c.role == "administrator")
        .where(people.c.state == "active")
        .order_by(people.c.id)
        .with_for_update()
    )
    if not any(row.id != leaving for row in tx.execute(query)):
        raise LastAdministrator(
            why="without one nobody could add people or keys",
            hint="make another person administrator first",
        )


def _check_roles(conn: sa.Connection, roles: frozenset[Role]) -> None:
    if not roles:
        raise NoRole(why="without one they could sign in and do nothing", hint=f"one of {', '.join(ROLES)}")
    for project, role in sorted(roles):
        _check_role(role)
        if project != INSTALLATION:
            projects.find(conn, project)
    _keep_duties_apart(roles)


def _check_role(role: str) -> None:
    if role in ROLES:
        return
    near = difflib.get_close_matches(role, ROLES, n=1)
    raise NoSuchRole(
        role=role[:40],
        why=f"the roles are {', '.join(ROLES)}",
        hint=f"did you mean `{near[0]}`?" if near else "",
    )


def _keep_duties_apart(roles: frozenset[Role]) -> None:
    ruled = {project for project, role in roles if role == "administrator"}
    for project, role in sorted(roles):
        shared = project in ruled or INSTALLATION in ruled or (project == INSTALLATION and ruled)
        if role in APART_FROM_ADMINISTRATOR and shared:
            raise DutiesMixed(
                role=role,
                why="whoever hands out roles and keys neither makes models nor decides about them",
                hint="give the two roles to two people",
            )


def _checked_address(text: str) -> str:
    address = text.strip().lower()
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise BadAddress(why="it needs one `@` between a name and a host, 254 characters at most")
    return address


def written(roles: frozenset[Role]) -> list[str]:
    """Roles as text, such as `claims/trainer`, sorted."""
    return [f"{project}/{role}" for project, role in sorted(roles)]
