"""A key is shown once, is good in one zone, and says nothing to whoever has the wrong one."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.errors import NotFound, NotSignedIn
from freehold.identity import keys, people
from freehold.identity.keys import KeyUnusable, NewKey
from freehold.identity.people import Person
from freehold.spec.ids import BadName, new_id
from freehold.spec.keys import KeyText
from freehold.spec.principal import SYSTEM, Principal, Zone
from freehold.spec.sensitivity import Sensitivity
from freehold.store import tables
from freehold.store.rows import Database

ZONES: list[Zone] = ["control", "serving", "border"]


@pytest.fixture
def ann(claims: str, add: Any) -> Person:
    person: Person = add("ann@example.org", "claims/trainer", "*/auditor")
    return person


def make(db: Database, owner: str, zone: Zone = "control", **said: Any) -> NewKey:
    with db.write() as tx:
        return keys.create(tx, by=SYSTEM, owner=owner, zone=zone, **said)


def sign_in(db: Database, text: str, zone: Zone = "control") -> Principal:
    with db.read() as conn:
        return keys.authenticate(conn, text, zone=zone, at=db.clock())


def why_not(db: Database, text: str, zone: Zone = "control") -> str:
    with pytest.raises(NotSignedIn) as refused:
        sign_in(db, text, zone)
    return refused.value.why


def one_key_each(db: Database, ann: Person) -> dict[Zone, NewKey]:
    return {
        "control": make(db, ann.id),
        "serving": make(db, ann.id, "serving", project="claims"),
        "border": make(db, "gateway", "border"),
    }


def test_a_control_key_signs_its_owner_in_with_their_roles(db: Database, ann: Person) -> None:
    key = make(db, ann.id)
    who = sign_in(db, key.text)
    assert (who.kind, who.id, who.zone, who.key) == ("person", ann.id, "control", key.id)
    assert who.roles == {("claims", "trainer"), ("*", "auditor")}


def test_a_serving_key_is_a_service_and_a_border_key_a_machine(db: Database, ann: Person) -> None:
    made = one_key_each(db, ann)
    service = sign_in(db, made["serving"].text, "serving")
    machine = sign_in(db, made["border"].text, "border")
    assert (service.kind, service.id) == ("service", made["serving"].id)
    assert (machine.kind, machine.id) == ("machine", "gateway")
    assert not service.roles
    assert not machine.roles


def test_a_key_of_one_zone_is_void_in_the_others(db: Database, ann: Person) -> None:
    made = one_key_each(db, ann)
    for own in ZONES:
        for other in ZONES:
            if own != other:
                assert f"of the {own} zone" in why_not(db, made[own].text, other)


def test_a_key_with_another_zones_prefix_is_no_key(db: Database, ann: Person) -> None:
    made = one_key_each(db, ann)
    assert why_not(db, made["control"].text.replace("fhc_", "fhs_", 1), "serving") == "there is no such key"
    assert why_not(db, made["serving"].text.replace("fhs_", "fhc_", 1), "control") == "there is no such key"


def test_a_wrong_secret_and_an_unknown_id_are_told_the_same(db: Database, ann: Person) -> None:
    key = KeyText.read(make(db, ann.id).text)
    assert key is not None
    wrong = KeyText.new("control", key.id).text
    unknown = KeyText.new("control", new_id("key")).text
    assert why_not(db, wrong) == why_not(db, unknown) == "there is no such key"


def test_secrets_are_compared_in_constant_time_even_for_an_unknown_id(
    db: Database, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: (compared.append((a, b)), real(a, b))[1])
    key = KeyText.read(make(db, ann.id).text)
    assert key is not None
    for text in (key.text, KeyText.new("control", key.id).text, KeyText.new("control", new_id("key")).text):
        compared.clear()
        with contextlib.suppress(NotSignedIn):
            sign_in(db, text)
        assert len(compared) == 1
        assert [len(side) for side in compared[0]] == [64, 64]


def test_a_key_ends_at_the_moment_it_expires(db: Database, ann: Person, clock: Any) -> None:
    key = make(db, ann.id, expires_at=clock.at + 3_600_000_000)
    assert sign_in(db, key.text).id == ann.id
    clock.forward(seconds=3600)
    assert why_not(db, key.text) == "this key is expired"


def test_a_revoked_key_is_void_at_once_and_revoking_twice_changes_nothing(db: Database, ann: Person) -> None:
    key = make(db, ann.id)
    with db.write() as tx:
        first = keys.revoke(tx, by=SYSTEM, key=key.id)
    with db.write() as tx:
        assert keys.revoke(tx, by=SYSTEM, key=key.id) == first
    assert why_not(db, key.text) == "this key is revoked"
    assert entries(db, "key.revoked") == [key.id]


def test_a_wrong_secret_does_not_learn_that_the_key_is_revoked(db: Database, ann: Person) -> None:
    key = make(db, ann.id)
    with db.write() as tx:
        keys.revoke(tx, by=SYSTEM, key=key.id)
    assert why_not(db, KeyText.new("control", key.id).text) == "there is no such key"


def test_a_locked_person_cannot_sign_in(db: Database, ann: Person) -> None:
    key = make(db, ann.id)
    with db.write() as tx:
        people.lock(tx, by=SYSTEM, person=ann)
    assert why_not(db, key.text) == "this person is locked"


@pytest.mark.parametrize("text", ["", "x", "fhc_", "fhc__", "Bearer", "fhc_" + "0" * 26 + "_" + "A" * 42])
def test_what_has_not_the_shape_of_a_key_is_refused(db: Database, text: str) -> None:
    assert why_not(db, text) == "this has not the shape of a key"


@given(text=st.text(max_size=120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_text_is_refused_and_never_breaks(db: Database, text: str) -> None:
    assert why_not(db, text)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_a_key_with_any_letter_changed_signs_nobody_in(db: Database, data: st.DataObject) -> None:
    with db.write() as tx:
        key = keys.create(tx, by=SYSTEM, owner="worker", zone="border")
    place = data.draw(st.integers(0, len(key.text) - 1))
    letter = data.draw(st.sampled_from("0aZ_-é").filter(lambda c: c != key.text[place]))
    assert why_not(db, key.text[:place] + letter + key.text[place + 1 :], "border")


def test_only_the_hash_of_the_secret_is_kept(db: Database, ann: Person) -> None:
    key = make(db, ann.id)
    secret = key.text[31:]
    with db.read() as conn:
        row = conn.execute(sa.select(tables.keys)).one()
        bodies = conn.execute(sa.select(tables.entries.c.body)).scalars().all()
    assert row.secret_digest == hashlib.sha256(secret.encode()).hexdigest()
    assert all(secret not in text for text in [*map(str, row), *bodies])


def test_a_key_comes_with_its_entry(db: Database, ann: Person) -> None:
    key = make(db, ann.id, "serving", project="claims", services=["b", "a", "a"], purpose="claims-handling")
    with db.read() as conn:
        body = conn.execute(
            sa.select(tables.entries.c.body).where(tables.entries.c.object == key.id)
        ).scalar_one()
        found = keys.find(conn, key.id)
    assert '"services":["a","b"]' in body
    assert f'"owner":"{ann.id}"' in body
    assert "ann@example.org" not in body
    assert (found.project, found.services, found.purpose) == ("claims", ("a", "b"), "claims-handling")


def test_a_key_may_be_for_services_up_to_a_sensitivity_as_its_entry_says(db: Database, ann: Person) -> None:
    key = make(db, ann.id, "serving", project="claims", sensitivity=Sensitivity.INTERNAL)
    with db.read() as conn:
        body = conn.execute(
            sa.select(tables.entries.c.body).where(tables.entries.c.object == key.id)
        ).scalar_one()
        assert keys.find(conn, key.id).sensitivity is Sensitivity.INTERNAL
    assert '"sensitivity":"Internal"' in body


def test_voiding_all_of_a_persons_keys_leaves_the_one_that_is_named(db: Database, ann: Person) -> None:
    old, kept = make(db, ann.id), make(db, ann.id)
    serving = make(db, ann.id, "serving", project="claims")
    with db.write() as tx:
        assert keys.revoke_all(tx, by=SYSTEM, owner=ann.id, zones=["control"], but=kept.id) == (old.id,)
    assert sign_in(db, kept.text).id == ann.id
    assert sign_in(db, serving.text, "serving").key == serving.id


def test_lists_leave_machines_keys_out(db: Database, ann: Person, clock: Any) -> None:
    made = one_key_each(db, ann)
    with db.read() as conn:
        shown = keys.listed(conn)
    assert {key.id for key in shown} == {made["control"].id, made["serving"].id}
    assert {key.state(clock.at) for key in shown} == {"active"}


def test_the_newest_keys_are_listed_first(db: Database, ann: Person, clock: Any) -> None:
    made = []
    for _ in range(3):
        made.append(make(db, ann.id).id)
        clock.at += 1
    with db.read() as conn:
        assert [key.id for key in keys.listed(conn)] == made[::-1]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"zone": "serving"}, KeyUnusable),
        ({"zone": "serving", "project": "motor"}, NotFound),
        ({"zone": "control", "project": "claims"}, KeyUnusable),
        ({"zone": "control", "services": ["x"]}, KeyUnusable),
        ({"zone": "control", "purpose": "x"}, KeyUnusable),
        ({"zone": "control", "expires_at": 5}, KeyUnusable),
        ({"zone": "control", "sensitivity": Sensitivity.INTERNAL}, KeyUnusable),
        ({"zone": "control", "label": "Ann's own"}, BadName),
        ({"zone": "serving", "project": "claims", "services": ["Claims Triage"]}, BadName),
        ({"zone": "serving", "project": "claims", "purpose": "any thing"}, BadName),
        ({"zone": "border"}, KeyUnusable),
        ({"zone": "control", "owner": "per_nobody"}, NotFound),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_and_nothing_is_written(
    db: Database, ann: Person, said: dict[str, Any], kind: type[Exception]
) -> None:
    before = len(list(rows(db)))
    with pytest.raises(kind), db.write() as tx:
        keys.create(tx, by=SYSTEM, **{"owner": ann.id, **said})
    assert len(list(rows(db))) == before


def test_a_locked_person_gets_no_key(db: Database, ann: Person) -> None:
    with db.write() as tx:
        people.lock(tx, by=SYSTEM, person=ann)
    with pytest.raises(KeyUnusable):
        make(db, ann.id)


def rows(db: Database) -> Iterator[Any]:
    with db.read() as conn:
        yield from conn.execute(sa.select(tables.keys.c.id)).all()


def entries(db: Database, kind: str) -> list[str]:
    with db.read() as conn:
        found = sa.select(tables.entries.c.object).where(tables.entries.c.kind == kind)
        return list(conn.execute(found).scalars())
