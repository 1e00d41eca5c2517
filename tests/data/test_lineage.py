"""A row, looked up: its basis, whom it is about, and that it is the one that was added."""

from __future__ import annotations

import json
import os
from typing import Any

import pyarrow.compute as pc
import pytest

from freehold.data import chunks, commitments, lineage
from freehold.data.chunks import ChunkBroken
from freehold.data.lineage import RowsChanged
from freehold.data.promise import subject_key_name
from freehold.errors import NotFound
from freehold.spec import merkle
from freehold.store import tables
from freehold.store.blobs import BlobChanged
from freehold.store.ground import Ground
from freehold.store.keyring import KeyDestroyed

ROWS = "id,text,ok\nann,water,yes\nbob,car,yes\nann,water,yes\n,roof,yes\n"
SAID: dict[str, Any] = {"basis": "consent", "subject": ("id",), "consent_from": "ok"}


def test_a_row_tells_its_basis(add: Any, ground: Ground) -> None:
    version = add(ROWS, **SAID).version
    basis = lineage.row(ground, version, 3)
    assert (basis.ref, basis.row, basis.basis, basis.present) == ("inbox@1", 3, "consent", True)
    assert basis.consent == {"claims-handling": "given"}
    assert basis.subject == ground.keyring.subject("claims", "ann")
    assert basis.holds
    assert lineage.row(ground, version, 4).subjects == ()
    assert lineage.row(ground, version, 1).commitment != basis.commitment  # the second of two equal rows


def test_other_bases_need_no_consent(add: Any, ground: Ground) -> None:
    version = add("a\n1\n").version
    assert lineage.row(ground, version, 1).consent == {"claims-handling": "not needed"}


@pytest.mark.parametrize("number", [0, -1, 5])
def test_a_row_that_never_was_is_told(add: Any, ground: Ground, number: int) -> None:
    with pytest.raises(NotFound):
        lineage.row(ground, add(ROWS, **SAID).version, number)


def test_each_row_is_proved_to_be_in_the_digest(add: Any, ground: Ground) -> None:
    version = add("a\n" + "".join(f"{n}\n" for n in range(11))).version
    with ground.db.read() as conn:
        packed = chunks.commitments(ground.blobs, chunks.layout_of(conn, version.id))
    for number in range(1, 12):
        leaf = merkle.leaf_hash(bytes.fromhex(lineage.row(ground, version, number).commitment[7:]))
        path = lineage.inclusion(ground, version, number)
        assert merkle.root_from_inclusion(number - 1, 11, leaf, path) == commitments.root(packed)


def test_a_row_about_two_persons_is_found_by_both(add: Any, ground: Ground) -> None:
    version = add("a,b\nann,bob\n", subject=("a", "b")).version
    basis = lineage.row(ground, version, 1)
    assert set(basis.subjects) == {ground.keyring.subject("claims", name) for name in ("ann", "bob")}
    assert basis.holds
    assert lineage.check(ground, version) == 1


def _relay(ground: Ground, version: Any, change: Any) -> None:
    """Write the only chunk of a version anew, changed, under a new key: what a forgetting does."""
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    (table,) = chunks.read(ground, layout)
    table = change(table)
    chunk, key = chunks.new_chunk_id(), os.urandom(32)
    data = chunks.seal_rows(table, chunk, key)
    ground.keyring.add({chunks.key_name(chunk): key})
    (old,) = layout.chunks
    laid = chunks.Chunk(
        id=chunk, blob=ground.blobs.put(data), first=old.first, rows=old.rows, bytes=len(data)
    )
    new = chunks.Layout(chunks=(laid,), commitments=layout.commitments)
    with ground.db.write() as tx:
        where = tables.data_versions.c.id == version.id
        tx.execute(tables.data_versions.update().where(where).values(layout=new.as_json()))
        tx.tells_of({"data_versions"})  # somebody who knows how the guard is told


def test_when_a_person_is_gone_the_digest_still_stands(add: Any, ground: Ground) -> None:
    """Decision 0003: the row, its key and so its salt are gone; the commitment stays and says nothing."""
    version = add(ROWS, **SAID).version
    ann = ground.keyring.subject("claims", "ann")
    before = lineage.row(ground, version, 1).commitment

    def without_ann(table: Any) -> Any:
        return table.filter(pc.fill_null(pc.not_equal(table["id"], "ann"), True))

    _relay(ground, version, without_ann)
    ground.keyring.drop([subject_key_name("claims", ann)])
    assert lineage.check(ground, version) == 1 + 1
    gone = lineage.row(ground, version, 1)
    assert (gone.present, gone.holds, gone.subjects, gone.commitment) == (False, False, (), before)
    assert lineage.row(ground, version, 2).holds
    with pytest.raises(KeyDestroyed):  # who knows every word of the row can still not confirm it
        lineage._row_key(ground, version, (ann,))


def test_a_changed_row_is_found(add: Any, ground: Ground) -> None:
    version = add(ROWS, **SAID).version

    def change(table: Any) -> Any:
        at = table.column_names.index("text")
        return table.set_column(at, "text", pc.replace_substring(table["text"], "car", "cat"))

    _relay(ground, version, change)
    assert not lineage.row(ground, version, 2).holds
    with pytest.raises(RowsChanged) as told:
        lineage.check(ground, version)
    assert "row 2" in told.value.why


def test_a_row_that_somebody_else_put_in_is_found(add: Any, ground: Ground) -> None:
    version = add(ROWS, **SAID).version
    _relay(ground, version, lambda table: table.take([1, 0, 2, 3]).set_column(3, "_row", table["_row"]))
    with pytest.raises(RowsChanged):
        lineage.check(ground, version)


def test_other_commitments_do_not_lead_to_the_digest(add: Any, ground: Ground) -> None:
    one, two = add(ROWS, **SAID).version, add(ROWS.replace("car", "cat"), **SAID).version
    with ground.db.read() as conn:
        layouts = [chunks.layout_of(conn, version.id) for version in (one, two)]
    forged = chunks.Layout(chunks=layouts[0].chunks, commitments=layouts[1].commitments)
    with ground.db.write() as tx:
        where = tables.data_versions.c.id == one.id
        tx.execute(tables.data_versions.update().where(where).values(layout=forged.as_json()))
        tx.tells_of({"data_versions"})  # somebody who knows how the guard is told
    with pytest.raises(RowsChanged) as told:
        lineage.check(ground, one)
    assert "digest" in told.value.why


def test_nothing_stored_shows_a_word_of_a_row(add: Any, ground: Ground, home: Any) -> None:
    add("id,text\nmarker-person-4711,marker-words-4711\n" * 1, subject=("id",))
    ground.db.close()
    for path in home.root.rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            assert b"marker-person" not in found, path
            assert b"marker-words" not in found, path


def test_a_changed_object_is_found(add: Any, ground: Ground, home: Any) -> None:
    version = add(ROWS, **SAID).version
    with ground.db.read() as conn:
        (chunk,) = chunks.layout_of(conn, version.id).chunks
    name = chunk.blob.removeprefix("sha256:")
    path = home.blobs / name[:2] / name[2:]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BlobChanged):
        lineage.row(ground, version, 1)


def test_a_chunk_does_not_open_in_another_place(add: Any, ground: Ground) -> None:
    version = add(ROWS, **SAID).version
    with ground.db.read() as conn:
        (chunk,) = chunks.layout_of(conn, version.id).chunks
    data, key = ground.blobs.get(chunk.blob), ground.keyring.key(chunks.key_name(chunk.id))
    assert len(chunks.opened(data, chunk.id, key)) == 4
    for wrong in ((data, "chk_other", key), (data, chunk.id, os.urandom(32))):
        with pytest.raises(ChunkBroken):
            chunks.opened(*wrong)


def test_the_layout_is_cited_by_nobody(add: Any, ground: Ground, entries: Any) -> None:
    add(ROWS, **SAID)
    with ground.db.read() as conn:
        layout = json.loads(conn.exec_driver_sql("SELECT layout FROM data_versions").scalar_one())
    said = json.dumps([entries("data.added"), entries("data.version"), entries("consent.read")])
    assert layout["chunks"][0]["id"] not in said
    assert layout["commitments"] not in said
