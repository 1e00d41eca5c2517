"""A person's rows leave every version; everything else stays what it was."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from freehold.data import chunks, forget, laying, lineage, suppression, use, versions
from freehold.data.forget import Found
from freehold.data.laying import AddedMeanwhile
from freehold.data.promise import subject_key_name
from freehold.data.versions import DataVersion
from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM
from freehold.store.ground import Ground
from freehold.store.tables import data_subjects, entries, forgettings, intakes
from tests.data.conftest import Add

ROWS = "id,words\nanna,one\nbob,two\nanna,three\ncleo,four\n"


def version_of(ground: Ground, ref: str = "inbox@1") -> DataVersion:
    with ground.db.read() as conn:
        return versions.find(conn, "claims", ref)


def mark(ground: Ground, person: str, *, at: int | None = None, forgetting: str = "") -> str:
    """The person is being forgotten, or was at that time."""
    subject, id = ground.keyring.subject("claims", person), forgetting or f"fgt_{person}"
    with ground.db.write() as tx:
        row = {"id": id, "project": "claims", "journey": f"jrn_{id}", "request": "DSR-1"}
        row |= {"mark": suppression.mark(ground.keyring, "claims", subject), "state": "marked", "left": "{}"}
        tx.execute(forgettings.insert().values(**row, asked_at=1, marked_at=1, destroyed_at=at))
        record(tx, "forgetting.marked", by=SYSTEM, object="fgt", detail={"forgetting": id})
    return subject


def take_away(ground: Ground, person: str) -> Found:
    """What the journey's step `remove` does."""
    subject = ground.keyring.subject("claims", person)
    found = forget.found(ground, "claims", subject)
    relaid = forget.relay(ground, "itk_1", "claims", found.removed)
    with ground.db.write() as tx:
        did = forget.remove(tx, relaid, by=SYSTEM, project="claims", subject=subject, forgetting="fgt_1")
    ground.keyring.destroy([*did["keys"], subject_key_name("claims", subject)])
    for blob in did["blobs"]:
        ground.blobs.delete(blob)
    return found


def test_other_rows_keep_their_numbers_and_the_version_its_digest(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    before = version_of(ground)
    take_away(ground, "anna")
    after = version_of(ground)
    assert (after.digest, after.rows) == (before.digest, before.rows)
    assert lineage.check(ground, after) == 2
    assert [lineage.row(ground, after, n).present for n in (1, 2, 3, 4)] == [False, True, False, True]
    assert lineage.row(ground, after, 2).holds


def test_every_version_loses_the_rows(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    add(ROWS + "anna,five\n")
    found = take_away(ground, "anna")
    assert [(each.version.ref, each.rows) for each in found.removed] == [
        ("inbox@1", (1, 3)),
        ("inbox@2", (1, 3, 5)),
    ]
    for ref in ("inbox@1", "inbox@2"):
        assert lineage.check(ground, version_of(ground, ref)) == 2


def test_a_row_about_two_goes_with_either_and_the_other_is_found_without_it(ground: Ground, add: Add) -> None:
    add(
        "id,witness,words\nanna,bob,one\nbob,,two\nbob,anna,three\ncleo,anna,four\n",
        subject=("id", "witness"),
    )
    take_away(ground, "anna")
    with ground.db.read() as conn:
        bob = ground.keyring.subject("claims", "bob")
        assert [rows for _, rows in lineage.versions_of(conn, "claims", bob)] == [[2]]
        assert conn.scalar(sa.select(sa.func.count()).select_from(data_subjects)) == 1
    assert lineage.check(ground, version_of(ground)) == 1


def test_of_somebody_whom_no_incident_is_about_nothing_is_said_of_incidents(ground: Ground) -> None:
    """And nothing of them is changed: an update of no rows would need an entry as well."""
    subject = ground.keyring.subject("claims", "anna")
    with ground.db.write() as tx:
        did = forget.remove_words(tx, by=SYSTEM, project="claims", subject=subject, forgetting="fgt_1")
    assert did == {"answers": 0, "words": 0, "incidents": 0}
    with ground.db.read() as conn:
        said = conn.scalars(sa.select(entries.c.kind).where(entries.c.object == "fgt_1"))
        assert list(said) == []


def test_what_a_law_keeps_stays(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",), basis="legal-obligation")
    subject = ground.keyring.subject("claims", "anna")
    found = forget.found(ground, "claims", subject)
    assert found.removed == ()
    assert [each.rows for each in found.kept] == [(1, 3)]
    mark(ground, "anna")
    assert add("id,words\nanna,six\n", basis="legal-obligation").left_out == {}


def test_who_was_forgotten_is_left_out_and_counted(ground: Ground, add: Add) -> None:
    mark(ground, "anna", at=5)
    added = add(ROWS, subject=("id",))
    assert (added.rows, added.left_out) == (2, {"forgotten": 2})
    assert add(ROWS, project="other", subject=("id",)).left_out == {}


def test_no_training_sees_somebody_from_the_mark_on(ground: Ground, add: Add, tmp_path: Any) -> None:
    add(ROWS, subject=("id",))
    mark(ground, "anna")
    path = tmp_path / "data.arrow"
    written = use.write_arrow(ground, version_of(ground), path, purpose="claims-handling")
    assert written.left_out == {"forgotten": 2}
    assert pa.ipc.open_file(path).read_all()["_row"].to_pylist() == [2, 4]


def test_a_file_that_was_read_before_the_mark_does_not_bring_somebody_in(
    ground: Ground, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = laying.Laying.put

    def put(self: laying.Laying, data: bytes) -> str:
        with ground.db.read() as conn:
            there = conn.execute(sa.select(forgettings)).first()
        if there is None:
            mark(ground, "anna")
        return store(self, data)

    monkeypatch.setattr(laying.Laying, "put", put)
    with pytest.raises(AddedMeanwhile, match="being forgotten"):
        add(ROWS, subject=("id",))
    with ground.db.read() as conn:
        assert versions.list(conn, "claims") == ()


def test_what_a_crash_left_of_an_attempt_is_taken_away(ground: Ground, add: Add) -> None:
    add(ROWS, subject=("id",))
    found = forget.found(ground, "claims", ground.keyring.subject("claims", "anna"))
    before = set(ground.blobs.list())
    forget.relay(ground, "itk_1", "claims", found.removed)
    forget.relay(ground, "itk_1", "claims", found.removed)
    assert len(set(ground.blobs.list()) - before) == 1
    laying.take_back(ground, "itk_1")
    assert set(ground.blobs.list()) == before
    assert len(ground.keyring.names("chunk/")) == 1
    with ground.db.read() as conn:
        assert conn.execute(sa.select(intakes)).first() is None
        holes = chunks.layout_of(conn, version_of(ground).id).holes
    assert holes == ()


def test_a_mark_says_nothing_of_whom_it_is_about(ground: Ground) -> None:
    subject = ground.keyring.subject("claims", "anna")
    assert suppression.mark(ground.keyring, "claims", subject) != subject
    assert suppression.mark(ground.keyring, "other", subject) != suppression.mark(
        ground.keyring, "claims", subject
    )
