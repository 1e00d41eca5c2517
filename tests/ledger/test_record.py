"""An entry says what its kind must say, nothing else, and fits into a bundle."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from freehold.ledger.record import BODY_LIMIT, EntryTooLong, UnknownKind, commitment, record
from freehold.spec.asking import Asking, asked
from freehold.spec.ids import canonical
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.rows import Database

DETAIL = {"name": "tariff", "digest": "sha256:00"}


def test_the_row_and_the_body_say_the_same(db: Database) -> None:
    with db.write() as tx, asked(Asking(id="7" * 32, trace="a" * 32)):
        entry = record(tx, "setting.changed", by=SYSTEM, object="tariff", project="claims", detail=DETAIL)
    with db.read() as connection:
        row = connection.execute(sa.select(tables.entries)).one()
    body = json.loads(row.body)
    assert row.body.encode() == canonical(body)
    assert (row.id, row.kind, row.actor, row.project, row.object, row.at) == (
        entry, body["kind"], body["actor"], body["project"], body["object"], body["at"],
    )  # fmt: skip
    assert (body["detail"], body["key"]) == (DETAIL, "-")
    assert (body["request"], body["trace"]) == ("7" * 32, "a" * 32)


@pytest.mark.parametrize(
    ("kind", "detail", "why"),
    [
        ("tea.drunk", {}, "does not list it"),
        ("setting.changed", {"name": "tariff"}, "lacks digest"),
        ("setting.changed", {**DETAIL, "address": "somewhere"}, "brings address"),
    ],
)
def test_what_the_taxonomy_does_not_know_is_refused(
    db: Database, kind: str, detail: dict[str, str], why: str
) -> None:
    with pytest.raises(UnknownKind) as told, db.write() as tx:
        record(tx, kind, by=SYSTEM, object="x", detail=detail)
    assert why in told.value.why


def test_an_entry_too_long_for_a_bundle_is_refused_and_nothing_stays(db: Database) -> None:
    with pytest.raises(EntryTooLong), db.write() as tx:
        record(tx, "setting.changed", by=SYSTEM, object="x", detail={"name": "x" * BODY_LIMIT, "digest": ""})
    with db.read() as connection:
        assert connection.execute(sa.select(tables.entries)).all() == []


def test_a_commitment_needs_its_key(db: Database) -> None:
    assert commitment(b"k" * 32, "water damage") == commitment(b"k" * 32, b"water damage")
    assert commitment(b"k" * 32, "water damage") != commitment(b"l" * 32, "water damage")
