"""A backup of a running house, and the house that comes of it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control.restore import HomeTaken, KeysMissing, KeysWrong, restore
from freehold.data import intake, versions
from freehold.data.intake import Intake
from freehold.errors import NotFound
from freehold.ledger.verify import verify
from freehold.release.publish import newest_ix
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.backed_up import BackupBroken
from freehold.store.backup_files import look, unpack
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.migrate import open_database

CSV = b"customer,note,class\nanna-k,water damage in the kitchen,property\nben-o,my car was hit,motor\n"


def put_data(house: Any) -> None:
    request = Intake(
        name="inbox", purposes=("claims-handling",), basis="contract", sensitivity="Confidential",
        owner="claims", keep="3y", regions=("eu",), subject=("customer",), target="class",
    )  # fmt: skip
    intake.add(
        house.parts.ground, by=SYSTEM, project="claims", request=request, source=io.BytesIO(CSV), format="csv"
    )


@pytest.fixture
def made(house: Any, tmp_path: Path) -> Path:
    """A backup of a house with data in it, as a folder."""
    put_data(house)
    return backed_up_to(house, tmp_path / "backup")


def backed_up_to(house: Any, folder: Path) -> Path:
    response = house.client("backups").post("/api/backups", headers=house.administrator)
    assert response.status_code == 200, response.text
    folder.mkdir()
    found = unpack("backup", io.BytesIO(response.content), folder)
    assert int(response.headers["x-freehold-bytes"]) == found.statement.bytes
    return folder


@pytest.fixture
def keys(house: Any, tmp_path: Path) -> Path:
    """What somebody keeps apart from backups."""
    folder = tmp_path / "safe"
    folder.mkdir()
    shutil.copy(house.parts.home.epoch_key, folder / "epoch.key")
    return folder


def test_a_backup_becomes_the_same_installation(house: Any, made: Path, keys: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "again")
    restored = restore(made, home, keys)
    assert restored.origin == house.parts.ground.origin
    assert verify(home).broken == ()
    for name in ("ledger_key", "release_key", "spool_key", "gateway_key", "gateway_border", "worker_border"):
        assert getattr(home, name).read_bytes() == getattr(house.parts.home, name).read_bytes()
    assert home.installation.exists()
    database = open_database(home)
    with database.read() as conn:
        assert versions.find(conn, "claims", "inbox@1").rows == 2
        restored_entry = conn.execute(
            sa.select(tables.entries).where(tables.entries.c.id == restored.entry)
        ).one()
        assert restored_entry.kind == "installation.restored"
    database.close()


def test_data_opens_with_the_restored_keys(house: Any, made: Path, keys: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "again")
    restore(made, home, keys)
    ours, theirs = Keyring(home.keyring, home.epoch_key), house.parts.ground.keyring
    assert ours.names("") == theirs.names("")
    assert [ours.key(name) for name in ours.names("")] == [theirs.key(name) for name in theirs.names("")]
    ours.close()


def test_no_secret_lies_open_in_a_backup(house: Any, made: Path) -> None:
    there = b"".join(path.read_bytes() for path in made.rglob("*") if path.is_file())
    home = house.parts.home
    for path in (home.epoch_key, home.ledger_key, home.release_key, home.spool_key, home.gateway_key):
        assert path.read_bytes() not in there
    assert b"water damage" not in there
    assert b"anna-k" not in there


def test_gateways_that_outlived_control_take_its_rules(
    house: Any, made: Path, keys: Path, tmp_path: Path
) -> None:
    with house.parts.ground.db.read() as conn:
        before = newest_ix(conn)
    house.serving_key("claims")
    restore(made, Home(tmp_path / "again"), keys)
    database = open_database(Home(tmp_path / "again"))
    with database.read() as conn:
        assert newest_ix(conn) >= before + 100
    database.close()


@pytest.mark.parametrize("name", ["freehold.db", "keyring.db", "keys.sealed", "ledger/checkpoint", "blob"])
def test_a_changed_byte_is_found_and_nothing_is_restored(
    made: Path, keys: Path, tmp_path: Path, name: str
) -> None:
    path = next(made.glob("blobs/*/*")) if name == "blob" else made / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BackupBroken, match="is not whole"):
        restore(made, Home(tmp_path / "again"), keys)
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / ".again.restoring").exists()


def test_a_manifest_that_somebody_else_wrote_is_refused(made: Path, keys: Path, tmp_path: Path) -> None:
    said = json.loads((made / "MANIFEST.json").read_text())
    said["statement"]["at"] += 1
    (made / "MANIFEST.json").write_text(json.dumps(said))
    look(made)  # whole in itself: only the signature tells
    with pytest.raises(Exception, match="signature"):
        restore(made, Home(tmp_path / "again"), keys)


def test_a_missing_and_an_additional_file_are_found(made: Path) -> None:
    blob = next(made.glob("blobs/*/*"))
    moved = blob.with_name("0" * 62)
    blob.rename(moved)
    with pytest.raises(BackupBroken):
        look(made)
    (made / "extra").write_text("x")
    with pytest.raises(BackupBroken) as told:
        look(made)
    assert "no file of a backup" in told.value.why


def test_without_the_epoch_key_nothing_opens(made: Path, keys: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "again")
    with pytest.raises(KeysMissing):
        restore(made, home, tmp_path)
    (keys / "epoch.key").write_bytes(bytes(32))
    with pytest.raises(KeysWrong):
        restore(made, home, keys)
    assert not home.root.exists()


def test_a_home_that_holds_something_is_left_alone(house: Any, made: Path, keys: Path) -> None:
    before = sorted(house.parts.home.root.rglob("*"))
    with pytest.raises(HomeTaken):
        restore(made, house.parts.home, keys)
    assert sorted(house.parts.home.root.rglob("*")) == before


def test_a_backup_that_is_not_there(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        restore(tmp_path / "nowhere", Home(tmp_path / "again"), keys)


def test_the_copies_leave_no_name_behind(house: Any, made: Path) -> None:
    assert made.exists()
    assert list(house.parts.home.control.glob(".backup-*")) == []


def test_what_was_begun_and_what_arrived_is_recorded(house: Any, made: Path) -> None:
    client = house.client("backups")
    said = json.loads((made / "MANIFEST.json").read_text())
    (row,) = client.get("/api/backups", headers=house.administrator).json()
    assert row["state"] == "begun"
    body = {"statement": said["statement"], "signature": said["signature"]}
    assert client.post("/api/backups/made", json=body, headers=house.administrator).status_code == 200
    again = client.post("/api/backups/made", json=body, headers=house.administrator)
    assert again.status_code == 400
    (row,) = client.get("/api/backups", headers=house.administrator).json()
    assert row["state"] == "made"
    assert row["bytes"] == said["statement"]["bytes"]
    assert client.delete(f"/api/backups/{row['id']}", headers=house.administrator).status_code == 200
    assert client.delete(f"/api/backups/{row['id']}", headers=house.administrator).status_code == 409
    house.parts.sequencer.run_once()
    assert verify(house.parts.home).broken == ()
    forged = {**body, "statement": {**said["statement"], "bytes": 1}}
    assert client.post("/api/backups/made", json=forged, headers=house.administrator).status_code == 500
