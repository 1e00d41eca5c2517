"""Using a version: only for its purposes, only where it may be, without those who withdrew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from freehold.data import consent, use, versions
from freehold.data.use import NobodyLeft, NotForPurpose, NotInRegion, NotUsable
from freehold.errors import BadInput, NotFound
from freehold.spec.principal import Principal
from freehold.store import tables
from freehold.store.ground import Ground

TOM = Principal(kind="person", id="per_tom", zone="control", key="key_tom")
PURPOSE = "claims-handling"
ROWS = (
    "id,text,class,ok\nann,water,property,yes\nbob,car,motor,yes\nann,fire,property,yes\n,roof,property,yes\n"
)
SAID: dict[str, Any] = {
    "basis": "consent",
    "subject": ("id",),
    "consent_from": "ok",
    "target": "class",
    "text": "text",
}


def _pin(ground: Ground, ref: str = "inbox@1", **asked: Any) -> Any:
    with ground.db.read() as conn:
        return use.pin(conn, "claims", ref, **({"purpose": PURPOSE} | asked))


def _withdraw(ground: Ground, person: str, purpose: str = PURPOSE) -> None:
    subject = ground.keyring.subject("claims", person)
    with ground.db.write() as tx:
        consent.withdraw(tx, by=TOM, project="claims", subject=subject, purpose=purpose)


def _written(ground: Ground, version: Any, path: Path) -> tuple[Any, list[dict[str, Any]]]:
    written = use.write_arrow(ground, version, path, purpose=PURPOSE)
    with pa.OSFile(str(path)) as file:
        return written, pa.ipc.open_file(file).read_all().to_pylist()


def test_a_version_is_pinned_for_its_purpose(add: Any, ground: Ground) -> None:
    version = add(ROWS, **SAID).version
    assert _pin(ground, regions=("eu",)) == version


@pytest.mark.parametrize(
    ("ref", "asked", "kind", "why"),
    [
        ("inbox@1", {"purpose": "marketing"}, NotForPurpose, "collected for: claims-handling"),
        ("inbox@1", {"regions": ("eu", "us")}, NotInRegion, "it may be in: eu"),
        ("inbox@2", {}, NotFound, "`inbox` has @1"),
        ("inbxo@1", {}, NotFound, "no data set of that name"),
        ("inbox", {}, BadInput, "always written out"),
        ("inbox@1", {"at": 2**61}, NotUsable, "P3Y"),
    ],
)
def test_what_may_not_be_used_is_refused_with_the_reason(
    add: Any, ground: Ground, ref: str, asked: dict[str, Any], kind: type[Exception], why: str
) -> None:
    add(ROWS, **SAID)
    with pytest.raises(kind) as told:
        _pin(ground, ref, **asked)
    assert why in told.value.why  # type: ignore[attr-defined]  # every one is a Failure


def test_a_version_that_is_no_longer_ready_is_refused(add: Any, ground: Ground) -> None:
    add(ROWS, **SAID)
    with ground.db.write() as tx:
        tx.execute(tables.data_versions.update().values(state="withdrawn"))
        tx.tells_of({"data_versions"})
    with pytest.raises(NotUsable):
        _pin(ground)


def test_a_job_sees_neither_persons_nor_consents(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add(ROWS, **SAID).version
    written, rows = _written(ground, version, tmp_path / "data.arrow")
    assert (written.rows, written.left_out) == (4, {})
    assert list(rows[0]) == ["text", "class", "_row", "_key"]
    assert [row["_row"] for row in rows] == [1, 2, 3, 4]
    assert b"ann" not in (tmp_path / "data.arrow").read_bytes()


def test_keys_are_one_per_person_and_hang_on_no_other_row(add: Any, ground: Ground, tmp_path: Path) -> None:
    first, all_rows = _written(ground, add(ROWS, **SAID).version, tmp_path / "a")
    keys = {row["_row"]: row["_key"] for row in all_rows}
    assert keys[1] == keys[3]
    assert len(set(keys.values())) == 3
    assert all(len(key) == 64 for key in keys.values())
    without_bob = add(ROWS.replace("bob,car,motor,yes\n", ""), **SAID).version
    _, fewer = _written(ground, without_bob, tmp_path / "b")
    assert [row["_key"] for row in fewer] == [keys[1], keys[3], keys[4]]
    assert first.rows == 4


def test_keys_of_equal_rows_about_nobody_are_equal(add: Any, ground: Ground, tmp_path: Path) -> None:
    _, rows = _written(ground, add("a\nx\ny\nx\n").version, tmp_path / "a")
    assert rows[0]["_key"] == rows[2]["_key"] != rows[1]["_key"]


def test_those_who_withdrew_since_are_left_out_and_counted(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add(ROWS, **SAID).version
    _withdraw(ground, "ann")
    written, rows = _written(ground, version, tmp_path / "a")
    assert (written.rows, written.left_out) == (2, {"consent withdrawn": 2})
    assert [row["_row"] for row in rows] == [2, 4]
    with ground.db.write() as tx:
        subject = ground.keyring.subject("claims", "ann")
        consent.give(tx, by=TOM, project="claims", subject=subject, purpose=PURPOSE)
    assert _written(ground, version, tmp_path / "a")[0].rows == 4


def test_an_objection_counts_whatever_the_basis(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add(ROWS, **SAID | {"basis": "legitimate-interest", "consent_from": ""}).version
    _withdraw(ground, "bob")
    assert _written(ground, version, tmp_path / "a")[0].rows == 3


def test_a_withdrawal_for_one_purpose_is_none_for_another(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add(ROWS, **SAID, purposes=(PURPOSE, "marketing")).version
    _withdraw(ground, "ann", "marketing")
    assert _written(ground, version, tmp_path / "a")[0].rows == 4


def test_when_nobody_is_left_nothing_is_written(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add("id,ok\nann,yes\n", basis="consent", subject=("id",), consent_from="ok").version
    _withdraw(ground, "ann")
    with pytest.raises(NobodyLeft):
        use.write_arrow(ground, version, tmp_path / "a", purpose=PURPOSE)
    assert not (tmp_path / "a").exists()


def test_another_purpose_is_refused_when_it_is_written_too(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add(ROWS, **SAID).version
    with pytest.raises(NotForPurpose):
        use.write_arrow(ground, version, tmp_path / "a", purpose="marketing")
    assert not (tmp_path / "a").exists()


def test_types_and_empty_cells_arrive(add: Any, ground: Ground, tmp_path: Path) -> None:
    version = add("t,i,n,b\n,1,1.5,true\nx,,,\n").version
    _, rows = _written(ground, version, tmp_path / "a")
    assert [list(row.values())[:4] for row in rows] == [[None, 1, 1.5, True], ["x", None, None, None]]


def test_versions_are_listed_by_name_and_number(add: Any, ground: Ground) -> None:
    add("a\n1\n", name="b")
    add("a\n1\n", name="a")
    add("a\n2\n", name="a")
    add("a\n1\n", name="c", project="other")
    with ground.db.read() as conn:
        assert [version.ref for version in versions.list(conn, "claims")] == ["a@1", "a@2", "b@1"]
        assert versions.projects_with(conn, "c") == ("other",)
