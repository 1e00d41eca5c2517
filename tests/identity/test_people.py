"""Who may sign in and as what, with no address outside its one table."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import Failure, NotFound
from freehold.identity import people
from freehold.identity.people import (
    APART_FROM_ADMINISTRATOR,
    BadAddress,
    DutiesMixed,
    LastAdministrator,
    NoRole,
    NoSuchPerson,
    NoSuchRole,
    PersonExists,
)
from freehold.spec.principal import ROLES, SYSTEM
from freehold.store import tables
from freehold.store.rows import Database


def test_a_person_is_found_by_address_in_any_case_and_by_id(db: Database, claims: str, add: Any) -> None:
    ann = add(" Ann@Example.org ", "claims/trainer")
    with db.read() as conn:
        assert people.find(conn, "ANN@example.ORG") == people.find(conn, ann.id) == ann
    assert ann.email == "ann@example.org"
    assert ann.roles == {("claims", "trainer")}


def test_no_address_stands_outside_its_table(db: Database, claims: str, add: Any) -> None:
    ann = add("ann@example.org", "claims/trainer")
    with db.write() as tx:
        people.change_roles(tx, by=SYSTEM, person=ann, give=[("*", "auditor")])
    with pytest.raises(Failure) as refused:
        add("ann@example.org", "claims/trainer")
    said = [str(refused.value)]
    with db.read() as conn:
        for table in tables.metadata.sorted_tables:
            if table is not tables.people:
                said += [str(row) for row in conn.execute(sa.select(table))]
    assert all("example.org" not in text for text in said)


def test_the_same_address_twice_is_a_conflict(db: Database, claims: str, add: Any) -> None:
    add("ann@example.org", "claims/trainer")
    with pytest.raises(PersonExists):
        add("ANN@example.org", "claims/trainer")


@pytest.mark.parametrize(
    ("email", "roles", "kind"),
    [
        ("ann", ["claims/trainer"], BadAddress),
        ("a@b@c", ["claims/trainer"], BadAddress),
        ("an n@example.org", ["claims/trainer"], BadAddress),
        ("ann@example.org\x00", ["claims/trainer"], BadAddress),
        ("ann@" + "x" * 300, ["claims/trainer"], BadAddress),
        ("ann@example.org", [], NoRole),
        ("ann@example.org", ["claims/trainr"], NoSuchRole),
        ("ann@example.org", ["clams/trainer"], NotFound),
        ("ann@example.org", ["claims/administrator", "claims/trainer"], DutiesMixed),
        ("ann@example.org", ["*/administrator", "claims/model-risk"], DutiesMixed),
        ("ann@example.org", ["claims/administrator", "*/data-protection"], DutiesMixed),
    ],
)
def test_a_person_that_makes_no_sense_is_refused_and_nothing_is_written(
    db: Database, claims: str, add: Any, email: str, roles: list[str], kind: type[Failure]
) -> None:
    with pytest.raises(kind):
        add(email, *roles)
    with db.read() as conn:
        assert people.listed(conn) == ()


def test_a_mistyped_role_is_answered_with_the_nearest(claims: str, add: Any) -> None:
    with pytest.raises(NoSuchRole) as refused:
        add("ann@example.org", "claims/trainr")
    assert refused.value.hint == "did you mean `trainer`?"


def test_an_administrator_of_one_project_may_train_in_another(db: Database, claims: str, add: Any) -> None:
    from freehold.identity import projects

    with db.write() as tx:
        projects.add(tx, by=SYSTEM, name="motor")
    add("ann@example.org", "claims/administrator", "motor/trainer", "claims/operator", "claims/auditor")


@given(
    st.frozensets(
        st.tuples(st.sampled_from(["claims", "motor", "*"]), st.sampled_from(ROLES)), min_size=1, max_size=5
    )
)
def test_an_administrator_never_trains_or_approves_where_they_administer(
    roles: frozenset[tuple[str, str]],
) -> None:
    meets = any(
        one == "administrator"
        and other in APART_FROM_ADMINISTRATOR
        and (here == there or "*" in (here, there))
        for here, one in roles
        for there, other in roles
    )
    try:
        people._keep_duties_apart(roles)
    except DutiesMixed:
        assert meets
    else:
        assert not meets


def test_roles_are_given_and_taken_with_an_entry_a_project(db: Database, claims: str, add: Any) -> None:
    ann = add("ann@example.org", "claims/trainer")
    with db.write() as tx:
        after = people.change_roles(
            tx,
            by=SYSTEM,
            person=ann,
            give=[("*", "auditor"), ("claims", "operator")],
            take=[("claims", "trainer")],
        )
    assert after.roles == {("*", "auditor"), ("claims", "operator")}
    assert sorted(details(db, "person.roles"), key=lambda said: said["project"]) == [
        {"person": ann.id, "project": "*", "added": ["auditor"], "removed": []},
        {"person": ann.id, "project": "claims", "added": ["operator"], "removed": ["trainer"]},
    ]


def test_giving_what_is_held_already_changes_and_records_nothing(db: Database, claims: str, add: Any) -> None:
    ann = add("ann@example.org", "claims/trainer")
    with db.write() as tx:
        same = people.change_roles(
            tx, by=SYSTEM, person=ann, give=[("claims", "trainer")], take=[("claims", "operator")]
        )
    assert same == ann
    assert details(db, "person.roles") == []


@pytest.mark.parametrize(
    ("give", "take", "kind"),
    [
        ([], [("claims", "trainer")], NoRole),
        ([("claims", "administrator")], [], DutiesMixed),
        ([("claims", "kaiser")], [], NoSuchRole),
        ([], [("claims", "trainr")], NoSuchRole),
        ([("nowhere", "auditor")], [], NotFound),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    db: Database, claims: str, add: Any, give: list[Any], take: list[Any], kind: type[Failure]
) -> None:
    ann = add("ann@example.org", "claims/trainer")
    with pytest.raises(kind), db.write() as tx:
        people.change_roles(tx, by=SYSTEM, person=ann, give=give, take=take)


def test_a_person_is_locked_and_unlocked_once(db: Database, claims: str, add: Any) -> None:
    ann = add("ann@example.org", "claims/trainer")
    with db.write() as tx:
        people.lock(tx, by=SYSTEM, person=ann)
        locked = people.find(tx.connection, ann.id)
        people.lock(tx, by=SYSTEM, person=locked)
    assert locked.state == "locked"
    with db.write() as tx:
        people.unlock(tx, by=SYSTEM, person=locked)
        people.unlock(tx, by=SYSTEM, person=people.find(tx.connection, ann.id))
    assert (len(details(db, "person.locked")), len(details(db, "person.unlocked"))) == (1, 1)


def test_the_last_administrator_stays(db: Database, add: Any) -> None:
    root = add("root@example.org", "*/administrator", "*/auditor")
    with pytest.raises(LastAdministrator), db.write() as tx:
        people.lock(tx, by=SYSTEM, person=root)
    with pytest.raises(LastAdministrator), db.write() as tx:
        people.change_roles(tx, by=SYSTEM, person=root, take=[("*", "administrator")])
    second = add("second@example.org", "*/administrator")
    with db.write() as tx:
        people.lock(tx, by=SYSTEM, person=root)
    with pytest.raises(LastAdministrator), db.write() as tx:
        people.lock(tx, by=SYSTEM, person=second)
    with db.read() as conn:
        assert [p.email for p in people.administrators(conn)] == ["second@example.org", "root@example.org"]


def test_an_unknown_person_is_not_named_back(db: Database) -> None:
    with db.read() as conn, pytest.raises(NoSuchPerson) as refused:
        people.find(conn, "mallory@example.org")
    assert "mallory" not in str(refused.value)


def details(db: Database, kind: str) -> list[dict[str, Any]]:
    with db.read() as conn:
        found = sa.select(tables.entries.c.body).where(tables.entries.c.kind == kind)
        return [
            json.loads(body)["detail"] for body in conn.execute(found.order_by(tables.entries.c.id)).scalars()
        ]
