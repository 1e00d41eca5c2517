"""The sequencer may stop anywhere and begin again; it never signs over a ledger that was changed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fresh
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import past_us

from freehold.ledger.record import record
from freehold.ledger.sequencer import LedgerBroken, NotSequenced, Sequencer, SignedFurther
from freehold.ledger.tiles import needed
from freehold.ledger.verify import verify
from freehold.spec.merkle import leaf_hash, root_of
from freehold.spec.notes import read_checkpoint
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.place import rows_of
from freehold.store.rows import Database

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "freehold.local/0a1b2c3d"


def sequencer(db: Database, home: Home) -> Sequencer:
    return Sequencer(db, home.ledger, KEY, ORIGIN)


@pytest.fixture
def running(db: Database, home: Home) -> Iterator[Sequencer]:
    one = sequencer(db, home)
    one.start()
    yield one
    one.stop()


def write(db: Database, count: int = 1) -> list[str]:
    ids = []
    for number in range(count):
        with db.write() as tx:
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            ids.append(record(tx, "setting.changed", by=SYSTEM, object="setting", detail=detail))
    return ids


def signed(one: Sequencer) -> tuple[int, bytes]:
    note = one.newest()
    assert note is not None
    checkpoint = read_checkpoint(note, one.public)
    return checkpoint.size, checkpoint.root


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def bodies(db: Database) -> list[bytes]:
    query = (
        sa.select(tables.entries.c.body)
        .join(tables.ledger, tables.ledger.c.id == tables.entries.c.id)
        .order_by(tables.ledger.c.ix)
    )
    with db.read() as connection:
        return [body.encode() for (body,) in connection.execute(query)]


def test_entries_get_their_places_in_the_order_they_were_written(db: Database, home: Home) -> None:
    ids = write(db, 20)
    with db.write() as tx:  # one time for all of them, and ids that are random within a millisecond
        for number in range(280):
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            ids.append(record(tx, "setting.changed", by=SYSTEM, object="setting", detail=detail))
    one = sequencer(db, home)
    assert one.run_once() == 300
    with db.read() as connection:
        placed = connection.execute(sa.select(tables.ledger.c.id).order_by(tables.ledger.c.ix)).scalars()
        assert list(placed) == ids
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.outbox)).scalar() == 0
    assert signed(one) == (300, root_of([leaf_hash(body) for body in bodies(db)]))


def test_a_second_round_with_nothing_new_changes_nothing(db: Database, home: Home) -> None:
    write(db, 5)
    one = sequencer(db, home)
    one.run_once()
    before = files(home.ledger)
    assert one.run_once() == 0
    assert files(home.ledger) == before


def test_before_anything_is_sequenced_there_is_no_checkpoint(db: Database, home: Home) -> None:
    one = sequencer(db, home)
    assert one.run_once() == 0
    assert one.newest() is None


ACTS = st.lists(
    st.sampled_from(["write", "run", "restart", "after places", "after tiles", "no tiles", "no files"]),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, step=st.integers(1, 200))
def test_stopped_anywhere_it_goes_on_to_the_same_ledger(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str], step: int
) -> None:
    home = Home(tmp_path_factory.mktemp("fh"))
    home.create()
    db = rows_of(home)
    fresh.create_tables(db)
    one = sequencer(db, home)
    for act in acts:
        one = _do(act, one, db, home, step)
    one.run_once()
    kept = bodies(db)
    size = signed(one)[0] if kept else 0
    assert size == len(kept)
    rebuilt = Sequencer(db, home.root / "again", KEY, ORIGIN)
    (home.root / "again").mkdir()
    rebuilt.run_once()
    again = files(home.root / "again")
    assert {path: data for path, data in files(home.ledger).items() if path in again} == again
    db.close()


def _do(act: str, one: Sequencer, db: Database, home: Home, step: int) -> Sequencer:
    """Play one act; each but the first two leaves the folder as some crash would, then starts anew."""
    if act == "write":
        with db.write() as tx:
            for number in range(step):
                detail = {"name": "tariff", "digest": f"sha256:{number}"}
                record(tx, "setting.changed", by=SYSTEM, object="setting", detail=detail)
        return one
    if act == "run":
        one.run_once()
        return one
    old = files(home.ledger)
    if act in ("after places", "after tiles"):
        one.run_once()
    if act == "after places":
        _restore(home.ledger, old)
    if act == "after tiles" and "checkpoint" in old:
        (home.ledger / "checkpoint").write_bytes(old["checkpoint"])
    if act == "no tiles":
        shutil.rmtree(home.ledger / "tile", ignore_errors=True)
    if act == "no files":
        _restore(home.ledger, {})
    return sequencer(db, home)


def _restore(folder: Path, old: dict[str, bytes]) -> None:
    shutil.rmtree(folder)
    for name, data in old.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    folder.mkdir(exist_ok=True)


def test_an_entry_that_missed_the_outbox_is_found_at_the_next_start(db: Database, home: Home) -> None:
    write(db, 3)
    with db.write() as tx:
        tx.execute(tables.outbox.delete())
    one = sequencer(db, home)
    one.run_once()
    assert signed(one)[0] == 3


def test_two_sequencers_never_give_the_same_place(db: Database, home: Home) -> None:
    write(db, 40)
    others = [Sequencer(db, home.root / name, KEY, ORIGIN) for name in ("a", "b")]
    for name in ("a", "b"):
        (home.root / name).mkdir()
    threads = [threading.Thread(target=one.run_once) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in others:
        one.run_once()
    assert signed(others[0]) == signed(others[1])
    assert signed(others[0])[0] == 40


def test_one_that_was_frozen_before_it_signed_does_not_sign_less_than_the_next_one_did(
    db: Database, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, next_one = sequencer(db, home), sequencer(db, home)
    write(db, 3)
    frozen.run_once()
    write(db, 2)
    settle = frozen.tiles.settle

    def meanwhile() -> None:
        monkeypatch.setattr(frozen.tiles, "settle", settle)
        write(db, 300)
        next_one.run_once()
        settle()

    monkeypatch.setattr(frozen.tiles, "settle", meanwhile)
    with pytest.raises(SignedFurther):
        frozen.run_once()
    assert signed(next_one)[0] == 305
    write(db, 1)
    frozen.run_once()
    assert signed(frozen)[0] == 306
    assert verify(home, key=frozen.public).broken == ()


def test_waiting_for_an_entry_ends_when_a_checkpoint_covers_it(db: Database, running: Sequencer) -> None:
    for entry in write(db, 3):
        ix = running.wait_for(entry)
        assert signed(running)[0] > ix


def test_without_a_thread_waiting_does_the_work_itself(db: Database, home: Home) -> None:
    (entry,) = write(db)
    assert sequencer(db, home).wait_for(entry) == 0


def test_waiting_for_an_entry_that_is_not_there_says_so(running: Sequencer) -> None:
    with pytest.raises(NotSequenced, match="ent_nothing"):
        running.wait_for("ent_nothing", timeout=0.05)


def test_what_stands_in_the_way_is_told_to_whoever_waits(db: Database, home: Home) -> None:
    write(db)
    sequencer(db, home).run_once()
    (home.ledger / "checkpoint").write_text("nonsense\n")
    one = sequencer(db, home)
    one.start()
    (entry,) = write(db)
    _until(lambda: one.problem is not None)
    with pytest.raises(NotSequenced, match=entry) as told:
        one.wait_for(entry, timeout=0.05)
    assert "signed note" in told.value.why
    one.stop()
    assert (home.ledger / "checkpoint").read_text() == "nonsense\n"


def test_a_changed_entry_is_never_signed_over(db: Database, home: Home) -> None:
    write(db, 3)
    one = sequencer(db, home)
    one.run_once()
    before = one.newest()
    with past_us(db) as connection:
        connection.exec_driver_sql("UPDATE entries SET body = replace(body, 'sha256:1', 'sha256:9')")
    shutil.rmtree(home.ledger / "tile")
    again = sequencer(db, home)
    write(db)
    with pytest.raises(LedgerBroken):
        again.run_once()
    assert again.newest() == before


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"])
def test_a_tile_at_the_edge_that_was_changed_is_made_again_at_the_next_start(
    db: Database, home: Home, path: str
) -> None:
    write(db, 300)
    sequencer(db, home).run_once()
    before = (home.ledger / path).read_bytes()
    (home.ledger / path).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    again = sequencer(db, home)
    again.run_once()
    assert (home.ledger / path).read_bytes() == before
    write(db, 1)
    again.run_once()
    assert bodies(db)[-1] in (home.ledger / "tile/entries/001.p/45").read_bytes()


def test_tiles_that_are_made_again_are_those_of_the_size_that_was_signed(
    db: Database, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(db, 350)
    sequencer(db, home).run_once()
    shutil.rmtree(home.ledger / "tile")
    monkeypatch.setattr("freehold.ledger.sequencer.BATCH", 100)
    sequencer(db, home).run_once()
    assert files(home.ledger).keys() == {"checkpoint", *(tile.path for tile in needed(350))}


def test_a_shortened_ledger_is_never_signed_over(db: Database, home: Home) -> None:
    write(db, 5)
    sequencer(db, home).run_once()
    with past_us(db) as connection:
        connection.exec_driver_sql("DELETE FROM ledger WHERE ix >= 3")
        connection.exec_driver_sql("DELETE FROM entries WHERE id NOT IN (SELECT id FROM ledger)")
    shutil.rmtree(home.ledger / "tile")
    with pytest.raises(LedgerBroken):
        sequencer(db, home).run_once()


@pytest.mark.parametrize("same", [True, False])
def test_places_that_a_database_lost_are_not_given_to_others(db: Database, home: Home, same: bool) -> None:
    """So a standby looks that takes over without the newest commits: its tiles and checkpoint are ours."""
    write(db, 5)
    one = sequencer(db, home)
    one.run_once()
    with past_us(db) as connection:
        connection.exec_driver_sql("DELETE FROM ledger WHERE ix >= 3")
        connection.exec_driver_sql("DELETE FROM entries WHERE id NOT IN (SELECT id FROM ledger)")
    write(db, 4)
    with pytest.raises(LedgerBroken, match="all but 3"):
        (one if same else sequencer(db, home)).run_once()
    with db.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.outbox)) == 4
    assert signed(one)[0] == 5


def test_an_entry_gets_its_place_without_anybody_looking_or_nudging(
    db: Database, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.ledger.sequencer.UNTOLD", 3600.0)
    one = sequencer(db, home)
    rounds: list[int] = []
    monkeypatch.setattr(one, "run_once", lambda: rounds.append(Sequencer.run_once(one)))
    one.start()
    _until(lambda: len(rounds) == 1)
    write(db, 3)
    _until(lambda: one.newest() is not None and signed(one)[0] == 3)
    one.stop()
    assert len(rounds) <= 5, "three commits and the end: whoever has nothing to do does nothing"


def test_whoever_waits_for_a_place_is_not_made_to_wait_for_more_entries(
    db: Database, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.ledger.sequencer.GATHER", 3600.0)
    one = sequencer(db, home)
    one.start()
    (entry,) = write(db)
    assert one.wait_for(entry, timeout=20) == 0
    one.stop()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
