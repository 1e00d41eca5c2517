"""A second place for checkpoints: whoever rewrites the ledger here is found out there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.control.anchoring import Anchored, Anchoring
from freehold.ledger.anchor import Anchor, AnchorAway, AnchorBroken, FileAnchor, anchor_of, check_every
from freehold.ledger.notes import sign_checkpoint
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.spec.notes import Checkpoint, read_checkpoint
from freehold.spec.principal import SYSTEM
from freehold.store.home import Home
from freehold.store.rows import Database
from tests.support.s3_server import S3Server

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def grow(db: Database, log: Sequencer, count: int, word: str = "tariff") -> str:
    with db.write() as tx:
        for number in range(count):
            detail = {"name": word, "digest": f"sha256:{number}"}
            record(tx, "setting.changed", by=SYSTEM, object=word, detail=detail)
    log.run_once()
    return log.newest() or ""


def sequencer(db: Database, home: Home) -> Sequencer:
    return Sequencer(db, home.ledger, KEY, "freehold.local/0a1b2c3d")


@pytest.fixture
def log(db: Database, home: Home) -> Sequencer:
    return sequencer(db, home)


@pytest.fixture
def elsewhere(tmp_path: Path) -> FileAnchor:
    return FileAnchor(tmp_path / "elsewhere")


def anchoring(log: Sequencer, anchor: Anchor) -> Anchoring:
    return Anchoring(sequencer=log, anchor=anchor, clock=log.db.clock, anchored=Anchored())


def test_each_checkpoint_is_kept_once_and_all_of_them_stay(
    db: Database, log: Sequencer, elsewhere: FileAnchor, tmp_path: Path
) -> None:
    one = anchoring(log, elsewhere)
    one.once()
    assert elsewhere.newest() is None, "nothing is sequenced yet"
    notes = [grow(db, log, 300)]
    for _ in range(3):
        one.once()
    notes.append(grow(db, log, 5))
    one.once()
    kept = [json.loads(line)["checkpoint"] for line in (tmp_path / "elsewhere").read_text().splitlines()]
    assert kept == notes
    assert one.anchored.entries == 305


@pytest.mark.parametrize("torn", [b'{"checkpo', b'{"checkpoint": 7}\n', b"\xff\xfe\n", b""])
def test_a_line_that_a_crash_cut_off_is_passed_over(
    db: Database, log: Sequencer, elsewhere: FileAnchor, tmp_path: Path, torn: bytes
) -> None:
    one = anchoring(log, elsewhere)
    before = grow(db, log, 3)
    one.once()
    with (tmp_path / "elsewhere").open("ab") as file:
        file.write(torn)
    assert elsewhere.newest() == before
    after = grow(db, log, 3)
    one.once()
    assert elsewhere.newest() == after


def test_a_rewritten_history_is_noticed_though_its_own_signature_holds(
    db: Database, home: Home, log: Sequencer, elsewhere: FileAnchor
) -> None:
    grow(db, log, 400)
    one = anchoring(log, elsewhere)
    one.once()
    before = elsewhere.newest()
    forged = rewritten(db, home)
    assert read_checkpoint(forged.newest() or "", forged.public).size == 400, "whoever has the key can sign"
    with pytest.raises(AnchorBroken, match="its first 400 entries are not the ones"):
        anchoring(forged, elsewhere).once()
    assert elsewhere.newest() == before, "what was anchored is never written over"


def test_a_ledger_that_went_backwards_is_noticed(db: Database, log: Sequencer, elsewhere: FileAnchor) -> None:
    note = grow(db, log, 10)
    ahead = read_checkpoint(note, log.public)
    elsewhere.keep(sign_checkpoint(Checkpoint(origin=ahead.origin, size=11, root=ahead.root), KEY))
    with pytest.raises(AnchorBroken, match="11 entries are anchored, it has 10"):
        anchoring(log, elsewhere).once()


def test_another_ledgers_anchor_is_not_taken_for_ours(
    db: Database, log: Sequencer, elsewhere: FileAnchor
) -> None:
    grow(db, log, 3)
    elsewhere.keep(sign_checkpoint(Checkpoint(origin="other", size=1, root=bytes(32)), KEY))
    with pytest.raises(AnchorBroken):
        anchoring(log, elsewhere).once()


def test_a_place_that_cannot_be_written_is_told_and_used_again_later(
    db: Database, log: Sequencer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grow(db, log, 3)
    away = FileAnchor(tmp_path / "not-mounted" / "anchor")
    with pytest.raises(AnchorAway, match="cannot be kept"):
        away.keep("x")
    one = anchoring(log, away)
    one._attempt()
    one._attempt()
    assert "No such file" in one.anchored.because
    assert len(caplog.records) == 1, "said once, not every half minute"
    (tmp_path / "not-mounted").mkdir()
    one._attempt()
    assert one.anchored.because == ""
    assert away.newest() == log.newest()


def test_it_is_durable_before_it_counts(
    db: Database, log: Sequencer, elsewhere: FileAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, log, 3)
    one = anchoring(log, elsewhere)

    def refuses(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuses)
    one._attempt()
    assert "Input/output error" in one.anchored.because
    assert one.anchored.entries == 0


def test_the_thread_anchors_what_is_there_when_it_is_told_to_stop(
    db: Database, log: Sequencer, elsewhere: FileAnchor
) -> None:
    one = anchoring(log, elsewhere)
    one.start()
    note = grow(db, log, 3)
    one.stop()
    assert elsewhere.newest() == note
    assert one.anchored.place.endswith("elsewhere")


def test_a_newer_checkpoint_that_another_control_anchors_meanwhile_is_no_alarm(
    db: Database, log: Sequencer, home: Home, elsewhere: FileAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(db, log, 3)
    there = FileAnchor.newest

    def meanwhile(anchor: FileAnchor) -> str | None:
        monkeypatch.setattr(FileAnchor, "newest", there)
        grow(db, log, 2)
        anchoring(sequencer(db, home), elsewhere).once()
        return there(anchor)

    monkeypatch.setattr(FileAnchor, "newest", meanwhile)
    one = anchoring(log, elsewhere)
    one._attempt()
    assert one.anchored.because == ""
    assert one.anchored.entries == 5


def test_a_bucket_keeps_each_checkpoint_and_the_newest(
    db: Database, log: Sequencer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with S3Server(tmp_path / "s3") as server:
        server.let_in(monkeypatch)
        bucket = anchor_of(server.new_bucket("freehold"))
        one = anchoring(log, bucket)
        assert bucket.newest() is None
        notes = []
        for count in (300, 5):
            notes.append(grow(db, log, count))
            one.once()
        assert bucket.newest() == notes[-1]
        kept = sorted((server.newest / "freehold" / "checkpoints").iterdir())
        assert [path.read_text() for path in kept] == notes
        assert [int(path.name) for path in kept] == [300, 305]
        assert check_every(bucket, log.newest, log.public, log.tiles) == 2
        (server.newest / "freehold" / "checkpoint").write_text(notes[0].replace("300", "900", 1))
        with pytest.raises(AnchorBroken):
            one.once()
    one._attempt()
    assert "cannot be" in one.anchored.because, "the server is gone: told, and nothing else fails"


# -- what was kept there, all of it ------------------------------------------------------------------------


def rewritten(db: Database, home: Home) -> Sequencer:
    """A ledger that somebody with its key wrote anew."""
    with db.writer_engine.connect() as raw:
        raw.exec_driver_sql("UPDATE entries SET body = replace(body, 'tariff', 'tarifF')")
        raw.exec_driver_sql("DELETE FROM ledger")
        raw.exec_driver_sql("INSERT INTO outbox (id) SELECT id FROM entries ORDER BY at, id")
        raw.commit()
    shutil.rmtree(home.ledger)
    home.ledger.mkdir()
    forged = sequencer(db, home)
    forged.run_once()
    return forged


def test_a_forged_checkpoint_added_to_a_place_that_only_grows_hides_nothing(
    db: Database, home: Home, log: Sequencer, elsewhere: FileAnchor
) -> None:
    for count in (300, 100):
        grow(db, log, count)
        anchoring(log, elsewhere).once()
    assert check_every(elsewhere, log.newest, log.public, log.tiles) == 2
    forged = rewritten(db, home)
    elsewhere.keep(forged.newest() or "")
    anchoring(forged, elsewhere).once()  # the last one there fits
    with pytest.raises(AnchorBroken, match="its first 300 entries are not the ones"):
        check_every(elsewhere, forged.newest, forged.public, forged.tiles)


def test_what_control_anchors_while_all_of_it_is_compared_is_no_alarm(
    db: Database, log: Sequencer, elsewhere: FileAnchor
) -> None:
    asked = []

    def newest() -> str | None:
        note = log.newest()
        if not asked:
            grow(db, log, 300)
            anchoring(log, elsewhere).once()
        asked.append(note)
        return note

    grow(db, log, 10)
    anchoring(log, elsewhere).once()
    assert check_every(elsewhere, newest, log.public, log.tiles) == 2
    assert len(asked) == 2
