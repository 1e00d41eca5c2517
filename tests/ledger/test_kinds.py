"""The taxonomy keeps what its version promised, and tells itself as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from freehold.ledger.covers import tables_of
from freehold.ledger.kinds import COMMON, KINDS, VERSION, taxonomy
from freehold.ledger.record import record
from freehold.spec.ids import digest
from freehold.spec.principal import SYSTEM
from freehold.store.rows import Database
from freehold.store.tables import entries

PROMISED = json.loads((Path(__file__).parent / f"taxonomy-{VERSION}.json").read_text(encoding="utf-8"))
"""Kind -> the fields that version says must be there; kinds that came later are not in it."""


@pytest.mark.parametrize("kind", PROMISED)
def test_a_kind_keeps_the_fields_its_version_promised(kind: str) -> None:
    assert kind in KINDS, f"a version without `{kind}` is another version"
    gone = set(PROMISED[kind]) - KINDS[kind].must
    assert not gone, f"`{kind}` without {gone} is another version of the taxonomy"


def test_the_digest_is_of_what_is_told() -> None:
    told = taxonomy()
    assert told.pop("digest") == digest(told)
    assert [one["kind"] for one in told["kinds"]] == sorted(KINDS)
    assert all(one["tables"] == sorted(tables_of(one["kind"])) for one in told["kinds"])


def test_every_entry_has_the_fields_that_all_have(db: Database) -> None:
    with db.write() as tx:
        detail = {"name": "tariff", "digest": "sha256:00"}
        entry = record(tx, "setting.changed", by=SYSTEM, object="tariff", detail=detail)
    with db.read() as conn:
        body = conn.execute(sa.select(entries.c.body).where(entries.c.id == entry)).scalar_one()
    assert json.loads(body).keys() == COMMON.keys() - {"allowed"}, "nobody was asked"
