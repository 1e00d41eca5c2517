"""A backup of a running house, and the house that comes of it."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from restoring import restore

from freehold.app import open_parts
from freehold.control import backup, subjects
from freehold.control.reapply import _drive
from freehold.control.restore import HomeTaken, KeysMissing, KeysWrong
from freehold.data import carried, chunks, intake, readmission, suppression, versions
from freehold.data import forget as data_forget
from freehold.data.carried import CarriedMissing
from freehold.data.intake import Intake
from freehold.data.promise import subject_key_name
from freehold.errors import NotFound
from freehold.jobs import steps
from freehold.jobs.runner import Runner
from freehold.journeys import forget
from freehold.journeys.stories import STORIES
from freehold.ledger.record import record
from freehold.ledger.verify import verify
from freehold.release.publish import newest_ix
from freehold.spec.answer import FORGOTTEN
from freehold.spec.config import Config
from freehold.spec.principal import SYSTEM
from freehold.store import contents, tables
from freehold.store.backed_up import BackupBroken
from freehold.store.backup_files import look, unpack
from freehold.store.epoch import FileEpoch
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.migrate import open_database


class PowerCut(BaseException):
    """The process is gone at this point."""


CSV = b"customer,note,class\nanna-k,water damage in the kitchen,property\nben-o,my car was hit,motor\n"


def put_data(house: Any, rows: bytes = CSV) -> None:
    request = Intake(
        name="inbox", purposes=("claims-handling",), basis="contract", sensitivity="Confidential",
        owner="claims", keep="3y", regions=("eu",), subject=("customer",), target="class",
    )  # fmt: skip
    file = io.BytesIO(rows)
    intake.add(house.parts.ground, by=SYSTEM, project="claims", request=request, source=file, format="csv")


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
    assert client.post("/api/backups/made", json=forged, headers=house.administrator).status_code == 400


# -- who was forgotten after the backup ---------------------------------------------------------------


def forget_somebody(house: Any, name: str) -> None:
    """As far as nobody can read them any more; the rest needs a worker."""
    ground = house.parts.ground
    subject = ground.keyring.subject("claims", name)
    with ground.db.write() as tx:
        journey = forget.begin(tx, by=SYSTEM, project="claims", subject=subject, request="DSR-2026-118")
    _drive(ground, journey)


def answer_about(house: Any, answer: str, name: str) -> None:
    """An answer about a person, with words, as ingestion leaves it."""
    ground = house.parts.ground
    subject = ground.keyring.subject("claims", name)
    key = contents.key_name("claims", subject, ground.clock())
    period = contents.Period.of("claims", "claims-triage", "claims-handling", ground.clock())
    ground.keyring.ensure(key, period.key)
    row = {
        "id": answer, "project": "claims", "service": "claims-triage", "key": "key_1", "subject": subject,
        "purpose": "claims-handling", "ending": "answered", "reason": "ok", "status": 200, "sandbox": False,
        "snapshot": 1, "request": "-", "tokens_in": 3, "tokens_out": 5, "cost": "0", "estimated": False,
        "spool": "s1", "sequence": 1, "at": ground.clock(),
    }  # fmt: skip
    intent = {"answer": answer, "service": "claims-triage", "key": "key_1", "purpose": "claims-handling"}
    intent |= {"request": "-", "snapshot": 1}
    close = {"answer": answer, "ending": "answered", "status": 200, "reason": "ok"}
    close |= {"tokens_in": 3, "tokens_out": 5, "cost": "0"}
    sealed = contents.seal_words(ground.keyring, key, period, answer, "request", b"what did Anna say")
    with ground.db.write() as tx:
        tx.execute(tables.answers.insert().values(row))
        tx.execute(tables.contents.insert().values(answer=answer, part="request", key=key, sealed=sealed))
        for kind, detail in (("answer.intent", intent), ("answer.close", close)):
            record(tx, kind, by=SYSTEM, object=answer, project="claims", detail=detail)


@contextmanager
def opened(home: Home) -> Iterator[Any]:
    with open_parts(home, Config()) as parts:
        yield parts.ground


def test_a_backup_from_before_does_not_bring_a_forgotten_person_back(
    house: Any, made: Path, tmp_path: Path
) -> None:
    answer_about(house, "ans_anna", "anna-k")
    backup = backed_up_to(house, tmp_path / "with-anna")
    forget_somebody(house, "anna-k")
    current = house.parts.home.control
    home = Home(tmp_path / "again")
    restored = restore(backup, home, current)
    assert restored.forgotten == 1
    with opened(home) as ground:
        anna = ground.keyring.subject("claims", "anna-k")
        with ground.db.read() as conn:
            layout = chunks.layout_of(conn, versions.find(conn, "claims", "inbox@1").id)
            assert conn.scalar(sa.select(sa.func.count()).select_from(tables.contents)) == 0
            assert conn.scalar(sa.select(tables.answers.c.subject)) == FORGOTTEN
            assert suppression.of_project(conn, ground.keyring, "claims").holds(anna)
        rows = [row for table in chunks.read(ground, layout) for row in table.to_pylist()]
        assert [row["customer"] for row in rows] == ["ben-o"]
        assert data_forget.found(ground, "claims", anna).removed == ()
        assert not ground.keyring.known([subject_key_name("claims", anna)])
    assert verify(home).broken == ()


def test_what_was_forgotten_beside_a_keyring_from_before_says_what_to_take(tmp_path: Path) -> None:
    sealed = tmp_path / carried.FOLDER / "forgotten.sealed"
    sealed.parent.mkdir()
    sealed.write_bytes(b"by a key that this keyring never had")
    (tmp_path / "epoch.key").write_bytes(bytes(32))
    keyring = Keyring(tmp_path / "keyring.db", tmp_path / "epoch.key")
    with pytest.raises(CarriedMissing) as told:
        carried.read(tmp_path, keyring)
    keyring.close()
    assert "from the same moment" in str(told.value.hint)


def test_neither_old_keys_nor_half_of_the_new_ones_open_it(house: Any, made: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    control = house.parts.home.control
    for name in ("epoch.key", "keyring.db"):
        shutil.copy(control / name, old / name)
    then = (old / "epoch.key").read_bytes()
    forget_somebody(house, "anna-k")
    (old / "epoch.key").write_bytes((control / "epoch.key").read_bytes())
    with pytest.raises(KeysWrong):  # today's epoch key, the keyring of then
        restore(made, Home(tmp_path / "again"), old)
    shutil.copy(control / "keyring.db", old / "keyring.db")
    with pytest.raises(CarriedMissing):  # both of today, and nobody says who was forgotten
        restore(made, Home(tmp_path / "again"), old)
    shutil.copytree(control / "forgotten", old / "forgotten")
    forget_somebody(house, "ben-o")
    for name in ("epoch.key", "keyring.db"):
        shutil.copy(control / name, old / name)
    with pytest.raises(CarriedMissing) as told:  # of before the newest
        restore(made, Home(tmp_path / "again"), old)
    assert "not of one time" in told.value.why
    (old / "epoch.key").write_bytes(then)
    with pytest.raises(KeysWrong):  # the epoch key of then, which opens the backup, beside a later keyring
        restore(made, Home(tmp_path / "again"), old)
    (old / "keyring.db").unlink()
    with pytest.raises(CarriedMissing) as told:  # beside later forgettings
        restore(made, Home(tmp_path / "again"), old)
    assert "not of one time" in told.value.why
    (old / "forgotten" / "forgotten.sealed").write_bytes(b"torn")
    with pytest.raises(CarriedMissing):
        restore(made, Home(tmp_path / "again"), old)
    assert not (tmp_path / "again").exists()


def test_a_home_that_stopped_while_it_changed_its_epoch_key_is_to_be_started_once(
    house: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: FileEpoch) -> None:
        raise PowerCut

    stopped = Home(tmp_path / "old")
    with monkeypatch.context() as patched:
        patched.setattr(FileEpoch, "take_place", cut)
        with pytest.raises(PowerCut):
            forget_somebody(house, "anna-k")
        shutil.copytree(house.parts.home.root, stopped.root)
    with pytest.raises(KeysWrong) as told:
        restore(made, Home(tmp_path / "again"), stopped.control)
    assert "start that installation once" in told.value.hint
    with opened(stopped):
        pass
    assert restore(made, Home(tmp_path / "again"), stopped.control).forgotten == 1


def test_a_keyring_that_was_being_written_is_taken_as_it_was_before(
    house: Any, made: Path, tmp_path: Path
) -> None:
    forget_somebody(house, "anna-k")
    house.parts.ground.keyring.ensure(*(f"day/claims/{n}" for n in range(300)))
    shutil.copytree(house.parts.home.control, tmp_path / "old")
    with closing(sqlite3.connect(tmp_path / "old" / "keyring.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size=1")  # so that the file is written before the commit
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE keys SET wrapped = zeroblob(length(wrapped))")
        restored = restore(made, Home(tmp_path / "again"), tmp_path / "old")
    assert restored.forgotten == 1
    assert not list(Home(tmp_path / "again").control.glob("current.db*"))


def test_two_forgettings_are_repeated_and_one_of_a_person_who_came_later_is_kept_in_mind(
    house: Any, made: Path, tmp_path: Path
) -> None:
    answer_about(house, "ans_cara", "cara-z")  # after the backup
    for name in ("anna-k", "cara-z", "ben-o"):
        forget_somebody(house, name)
    home = Home(tmp_path / "again")
    restored = restore(made, home, house.parts.home.control)
    assert restored.forgotten == 2
    with opened(home) as ground, ground.db.read() as conn:
        known = suppression.of_project(conn, ground.keyring, "claims")
        for name in ("anna-k", "ben-o", "cara-z"):
            assert known.holds(ground.keyring.subject("claims", name))
        layout = chunks.layout_of(conn, versions.find(conn, "claims", "inbox@1").id)
        assert layout.holes == (1, 2)
    assert verify(home).broken == ()


def readmit_somebody(house: Any, name: str) -> str:
    """Let in again, as a person of data protection does it."""
    ground = house.parts.ground
    terms = readmission.settle("contract", ("claims-handling",), "CONTRACT-7")
    subject = ground.keyring.subject("claims", name)
    return str(subjects.readmit(ground, "claims", subject, terms, by=SYSTEM)["readmission"])


def run_through(house: Any) -> None:
    """Every journey, as far as it comes."""
    runner = Runner(house.parts.ground, Config(), STORIES)
    with house.parts.ground.db.read() as conn:
        under_way = steps.active(conn)
    for journey in under_way:
        while runner.advance(journey):
            continue


def test_a_readmission_after_the_backup_is_told_and_not_repeated(
    house: Any, made: Path, tmp_path: Path
) -> None:
    """Whose keys were destroyed since: the old rows stay gone, and new ones stay out."""
    forget_somebody(house, "anna-k")
    run_through(house)
    readmit_somebody(house, "anna-k")
    home = Home(tmp_path / "again")
    restored = restore(made, home, house.parts.home.control)
    assert (restored.forgotten, restored.kept_out) == (1, ("CONTRACT-7",))
    with opened(home) as ground, ground.db.read() as conn:
        anna = ground.keyring.subject("claims", "anna-k")
        version = versions.find(conn, "claims", "inbox@1")
        assert data_forget.found(ground, "claims", anna).nothing
        assert suppression.coming(conn, ground.keyring, "claims", version.declared).holds(anna)
    assert verify(home).broken == ()


def test_a_backup_of_between_says_whom_it_keeps_out_or_that_it_does_not_know(
    house: Any, made: Path, keys: Path, tmp_path: Path
) -> None:
    forget_somebody(house, "anna-k")
    run_through(house)
    shutil.copy(house.parts.home.epoch_key, keys / "epoch.key")
    between = backed_up_to(house, tmp_path / "between")
    readmit_somebody(house, "anna-k")
    after = backed_up_to(house, tmp_path / "after")
    control = house.parts.home.control
    assert restore(between, Home(tmp_path / "a"), control).kept_out == ("CONTRACT-7",)
    assert restore(between, Home(tmp_path / "b"), keys).kept_out is None
    assert restore(after, Home(tmp_path / "c"), control).kept_out == ()
    with opened(Home(tmp_path / "c")) as ground, ground.db.read() as conn:
        anna = ground.keyring.subject("claims", "anna-k")
        declared = versions.find(conn, "claims", "inbox@1").declared
        assert not suppression.coming(conn, ground.keyring, "claims", declared).holds(anna)


def test_a_forgetting_after_a_readmission_is_repeated_in_a_backup_of_between(
    house: Any, made: Path, tmp_path: Path
) -> None:
    forget_somebody(house, "anna-k")
    run_through(house)
    readmit_somebody(house, "anna-k")
    put_data(house, CSV + b"ben-o,the tyre is flat,motor\n")
    between = backed_up_to(house, tmp_path / "between")
    forget_somebody(house, "anna-k")
    home = Home(tmp_path / "again")
    restored = restore(between, home, house.parts.home.control)
    assert (restored.forgotten, restored.kept_out) == (1, ())
    with opened(home) as ground, ground.db.read() as conn:
        anna = ground.keyring.subject("claims", "anna-k")
        version = versions.find(conn, "claims", "inbox@2")
        assert data_forget.found(ground, "claims", anna).removed == ()
        assert chunks.layout_of(conn, version.id).holes == (1,)
        assert suppression.coming(conn, ground.keyring, "claims", version.declared).holds(anna)
    assert verify(home).broken == ()


def test_rows_and_keyring_of_a_backup_are_of_one_time(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is forgotten between the two: the rows are copied once more, without them."""
    put_data(house)
    copied = backup._copied

    def after_a_forgetting(home: Home, database: Path) -> Any:
        if database == home.keyring:
            monkeypatch.setattr(backup, "_copied", copied)
            forget_somebody(house, "anna-k")
        return copied(home, database)

    monkeypatch.setattr(backup, "_copied", after_a_forgetting)
    made = backed_up_to(house, tmp_path / "meanwhile")
    (tmp_path / "safe").mkdir()
    shutil.copy(house.parts.home.epoch_key, tmp_path / "safe")
    home = Home(tmp_path / "again")
    restore(made, home, tmp_path / "safe")
    with opened(home) as ground, ground.db.read() as conn:
        layout = chunks.layout_of(conn, versions.find(conn, "claims", "inbox@1").id)
        rows = [row for table in chunks.read(ground, layout) for row in table.to_pylist()]
    assert [row["customer"] for row in rows] == ["ben-o"]


def test_a_backup_of_after_the_forgetting_needs_the_epoch_key_alone(house: Any, tmp_path: Path) -> None:
    put_data(house)
    forget_somebody(house, "anna-k")
    backup = backed_up_to(house, tmp_path / "without-anna")
    (tmp_path / "safe").mkdir()
    shutil.copy(house.parts.home.epoch_key, tmp_path / "safe")
    assert restore(backup, Home(tmp_path / "again"), tmp_path / "safe").forgotten == 0
