"""A project, and people in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from freehold.identity import people, projects
from freehold.identity.people import Person
from freehold.spec.principal import SYSTEM, Principal
from freehold.store.rows import Database

Add = Callable[..., Person]


def principal(person: Person) -> Principal:
    return Principal(kind="person", id=person.id, zone="control", key="key_test", roles=person.roles)


@pytest.fixture
def claims(db: Database) -> str:
    with db.write() as tx:
        return projects.add(tx, by=SYSTEM, name="claims").name


@pytest.fixture
def add(db: Database) -> Add:
    """`add("ann@example.org", "claims/trainer", "*/auditor")`."""

    def _add(email: str, *roles: str) -> Person:
        pairs = [(role.split("/")[0], role.split("/")[1]) for role in roles]
        with db.write() as tx:
            return people.add(tx, by=SYSTEM, email=email, roles=pairs)

    return _add
