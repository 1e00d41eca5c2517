"""Whatever is changed, removed or moved in rows, tiles or checkpoint is found, and its place is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import copied, embedded, past_us

from freehold.errors import NotFound
from freehold.identity import first_run
from freehold.ledger.notes import sign_checkpoint, verifier_key
from freehold.ledger.placed import CHUNK
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.tiles import TileFolder
from freehold.ledger.verify import LedgerChanged, Verdict, own_key, verify
from freehold.spec.config import Config
from freehold.spec.merkle import root
from freehold.spec.notes import Checkpoint, NoteWrong
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.rows import Database
from freehold.store.signing import load_key_file

ENTRIES = 600


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """An installation with 600 entries, 515 of them signed once before; stopped: tests work on copies."""
    home = Home(tmp_path_factory.mktemp("whole") / "fh")
    origin = first_run.create(home, Config()).origin
    database = open_database(home)
    one = sequencer(database, home, origin)
    one.run_once()
    for size in (515, ENTRIES):
        fill(database, size - placed(home))
        one.run_once()
    database.close()
    return home


@pytest.fixture
def copy(whole: Home, tmp_path: Path) -> Home:
    return copied(whole, tmp_path / "fh")


def sequencer(database: Database, home: Home, origin: str) -> Sequencer:
    return Sequencer(database, home.ledger, load_key_file(home.ledger_key), origin)


def fill(database: Database, count: int) -> None:
    with database.write() as tx:
        for number in range(count):
            detail = {"name": "tariff", "digest": f"sha256:{number}"}
            record(tx, "setting.changed", by=SYSTEM, object=f"tariff-{number}", detail=detail)


def sql(home: Home, *statements: str) -> None:
    with past_us(home) as raw:
        for statement in statements:
            raw.exec_driver_sql(statement)


def ask(home: Home, query: str) -> object:
    with past_us(home) as raw:
        return raw.exec_driver_sql(query).scalar_one()


def placed(home: Home) -> int:
    return int(str(ask(home, "SELECT count(*) FROM ledger")))


def first_break(verdict: Verdict) -> tuple[str, str]:
    assert verdict.broken, "nothing was found"
    return verdict.broken[0].place, verdict.broken[0].why


def test_an_untouched_ledger_verifies_and_says_what_was_looked_at(whole: Home) -> None:
    verdict = verify(whole)
    verdict.raise_if_broken()
    assert ENTRIES > CHUNK  # they are read in more than one piece
    assert (verdict.entries, verdict.signed, verdict.waiting) == (ENTRIES, ENTRIES, 0)
    assert verdict.tiles == 4 + 4 + 1  # leaf hashes, bundles, both with two partial ones, a tile above them
    assert verdict.rows > 3
    assert len(verdict.root) == 64


@embedded
def test_verifying_changes_nothing_not_even_after_a_kill(copy: Home) -> None:
    with closing(sqlite3.connect(copy.database, isolation_level=None)) as raw:
        raw.execute("PRAGMA wal_autocheckpoint=0")
        raw.execute("UPDATE settings SET value = value")
        wal = copy.database.with_name("freehold.db-wal")
        left = {p.name: p.read_bytes() for p in (copy.database, wal)}
        killed = Home(copy.root.with_name("killed"))
        shutil.copytree(copy.root, killed.root)
    verify(killed).raise_if_broken()
    assert {p.name: p.read_bytes() for p in killed.control.glob("freehold.db*") if p.name in left} == left


ENTRY = "(SELECT id FROM ledger WHERE ix = {ix})"
_FIFTY, _NEXT = ENTRY.format(ix=50), ENTRY.format(ix=51)

CHANGES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "one byte of an entry": (
        (f"UPDATE entries SET body = replace(body, 'tariff', 'tarifF') WHERE id = {ENTRY.format(ix=77)}",),
        "entry 77 (",
        "bytes are not the ones",
    ),
    "a column of an entry": (
        (f"UPDATE entries SET actor = 'per_x' WHERE id = {ENTRY.format(ix=300)}",),
        "entry 300 (",
        "columns say something else",
    ),
    "an entry removed": (
        (f"DELETE FROM entries WHERE id = {ENTRY.format(ix=301)}",),
        "entry 301 (",
        "the entry is not",
    ),
    "a place removed": (("DELETE FROM ledger WHERE ix = 128",), "entry 128", "none at this place"),
    "the last places removed": (
        (
            "DELETE FROM entries WHERE id IN (SELECT id FROM ledger WHERE ix >= 590)",
            "DELETE FROM ledger WHERE ix >= 590",
        ),
        "entry 590",
        "ends here",
    ),
    "two places swapped": (
        (
            "CREATE TEMP TABLE pair AS SELECT ix, id, leaf FROM ledger WHERE ix IN (40, 41)",
            "DELETE FROM ledger WHERE ix IN (40, 41)",
            "INSERT INTO ledger SELECT 81 - ix, id, leaf FROM pair",
        ),
        "entry 40 (",
        "not the entry that was signed at this place",
    ),
    "two bodies swapped": (
        (
            "CREATE TEMP TABLE pair AS SELECT ix, body FROM ledger JOIN entries USING (id) WHERE ix / 2 = 25",
            f"UPDATE entries SET body = (SELECT body FROM pair WHERE ix = 51) WHERE id = {_FIFTY}",
            f"UPDATE entries SET body = (SELECT body FROM pair WHERE ix = 50) WHERE id = {_NEXT}",
        ),
        "entry 50 (",
        "bytes are not the ones",
    ),
    "an entry taken out with everything after it moved up": (
        (
            "DELETE FROM entries WHERE id = (SELECT id FROM ledger WHERE ix = 200)",
            "DELETE FROM ledger WHERE ix = 200",
            "UPDATE ledger SET ix = -ix WHERE ix > 200",
            "UPDATE ledger SET ix = -ix - 1 WHERE ix < 0",
        ),
        "entry 599",
        "ends here",
    ),
    "an entry that never got a place": (
        ("INSERT INTO entries SELECT 'ent_x', kind, actor, project, object, body, at FROM entries LIMIT 1",),
        "entry ent_x",
        "waits for none",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_the_database_is_found_at_its_place(copy: Home, name: str) -> None:
    statements, place, why = CHANGES[name]
    sql(copy, *statements)
    found = first_break(verify(copy))
    assert found[0].startswith(place)
    assert why in found[1]


def test_a_rewritten_entry_with_tiles_made_anew_does_not_lead_to_the_signed_root(copy: Home) -> None:
    """Somebody with the disk, but without the key: rows, leaves and tiles all fit each other."""
    origin = str(ask(copy, "SELECT value FROM settings WHERE name = 'origin'"))
    rewrite(copy)
    note = (copy.ledger / "checkpoint").read_text()
    shutil.rmtree(copy.ledger)
    copy.ledger.mkdir()
    database = open_database(copy)
    Sequencer(database, copy.ledger, Ed25519PrivateKey.generate(), origin).run_once()
    database.close()
    (copy.ledger / "checkpoint").write_text(note)
    assert first_break(verify(copy)) == (
        "checkpoint",
        f"its {ENTRIES} entries lead to another root than the one signed",
    )


def rewrite(home: Home) -> None:
    from freehold.spec.merkle import leaf_hash

    with past_us(home) as raw:
        id_, body = entry_at(raw, 99)
        body = body.replace("sha256:", "sha256:0")
        rebody(raw, id_, body)
        leaf = leaf_hash(body.encode())
        raw.execute(tables.ledger.update().where(tables.ledger.c.id == id_).values(leaf=leaf))


def entry_at(raw: sa.Connection, ix: int) -> tuple[str, str]:
    entries, ledger = tables.entries, tables.ledger
    query = sa.select(entries.c.id, entries.c.body).join(ledger, ledger.c.id == entries.c.id)
    id_, body = raw.execute(query.where(ledger.c.ix == ix)).one()
    return id_, body


def rebody(raw: sa.Connection, id_: str, body: str) -> None:
    raw.execute(tables.entries.update().where(tables.entries.c.id == id_).values(body=body))


def _flip(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def _swap(one: Path, other: Path) -> None:
    one_held, other_held = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_held)
    other.write_bytes(one_held)


def _link(path: Path) -> None:
    moved = path.parents[2] / "moved"
    path.rename(moved)
    path.symlink_to(moved)


FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a leaf hash": (lambda f: _flip(f / "tile/0/001", 70), "tile/0/001", "does not hold"),
    "a byte of a bundle": (lambda f: _flip(f / "tile/entries/000", 900), "tile/entries/000", "does not hold"),
    "the tile above": (lambda f: _flip(f / "tile/1/000.p/2", 5), "tile/1/000.p/2", "does not hold"),
    "a cut tile": (lambda f: (f / "tile/0/000").write_bytes(bytes(32)), "tile/0/000", "does not hold"),
    "a tile removed": (lambda f: (f / "tile/0/000").unlink(), "tile/0/000", "is not there"),
    "a bundle removed": (lambda f: (f / "tile/entries/001").unlink(), "tile/entries/001", "is not there"),
    "two tiles swapped": (lambda f: _swap(f / "tile/0/000", f / "tile/0/001"), "tile/0/000", "does not hold"),
    "a tile too many": (lambda f: (f / "tile/0/009").write_bytes(bytes(32)), "tile/0/009", "behind the end"),
    "a strange file": (lambda f: (f / "tile/0/notes").write_bytes(b"x"), "tile/0/notes", "no ledger has"),
    "a tile behind a link": (lambda f: _link(f / "tile/0/001"), "tile/0/001", "no ledger has"),
    "a folder behind a link": (lambda f: _link(f / "tile/1"), "tile/1", "no ledger has"),
    "the checkpoint": (lambda f: _flip(f / "checkpoint", 40), "checkpoint", ""),
    "the checkpoint's signature": (lambda f: _flip(f / "checkpoint", 160), "checkpoint", ""),
    "an empty checkpoint": (lambda f: (f / "checkpoint").write_bytes(b""), "checkpoint", "shape"),
    "bytes that are no text": (lambda f: (f / "checkpoint").write_bytes(b"\xff"), "checkpoint", "shape"),
    "no checkpoint": (lambda f: (f / "checkpoint").unlink(), "checkpoint", "is not there"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_change_in_the_files_is_found_at_its_place(copy: Home, name: str) -> None:
    change, place, why = FILES[name]
    change(copy.ledger)
    found = first_break(verify(copy))
    assert found[0] == place
    assert why in found[1]


quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(st.data())
def test_no_byte_of_any_file_can_be_changed(whole: Home, copy: Home, data: st.DataObject) -> None:
    _change_a_file(whole, copy, data)


@quick
@given(st.data())
def test_no_byte_of_any_entry_can_be_changed(copy: Home, data: st.DataObject) -> None:
    _change_an_entry(copy, data)


@pytest.mark.long
@pytest.mark.timeout(1800)
@thorough
@given(st.data())
def test_every_one_of_5000_changed_file_bytes_is_found(whole: Home, copy: Home, data: st.DataObject) -> None:
    _change_a_file(whole, copy, data)


@pytest.mark.long
@pytest.mark.timeout(1800)
@thorough
@given(st.data())
def test_every_one_of_5000_changed_entry_bytes_is_found(copy: Home, data: st.DataObject) -> None:
    _change_an_entry(copy, data)


def _change_a_file(whole: Home, copy: Home, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(p for p in whole.ledger.rglob("*") if p.is_file())))
    at = data.draw(st.integers(0, path.stat().st_size - 1))
    changed = copy.root / path.relative_to(whole.root)
    _flip(changed, at, data.draw(st.integers(1, 255)))
    assert verify(copy).broken
    shutil.copyfile(path, changed)


def _change_an_entry(copy: Home, data: st.DataObject) -> None:
    ix = data.draw(st.integers(0, ENTRIES - 1))
    with past_us(copy) as raw:
        id_, body = entry_at(raw, ix)
        at = data.draw(st.integers(0, len(body) - 1))
        # no database of text has a place for NUL but SQLite's
        other = data.draw(st.characters(codec="ascii", min_codepoint=1).filter(lambda c: c != body[at]))
        rebody(raw, id_, body[:at] + other + body[at + 1 :])
        raw.commit()
        assert first_break(verify(copy))[0].startswith(f"entry {ix} (")
        rebody(raw, id_, body)


STATE = {
    "a person put in past us": (
        "INSERT INTO people VALUES ('per_x', 'eve@example.org', 'active', 1)",
        "people `per_x`",
    ),
    "a role given past us": (
        "INSERT INTO memberships SELECT id, '*', 'operator', 1 FROM people",
        "memberships `",
    ),
    "a key's owner changed": ("UPDATE keys SET owner = 'worker' WHERE owner = 'gateway'", "keys `"),
    "a key revoked past us": ("UPDATE keys SET revoked_at = 1 WHERE zone = 'control'", "keys `"),
    "a key removed": ("DELETE FROM keys WHERE zone = 'control'", "keys `"),
    "a person locked past us": ("UPDATE people SET state = 'locked'", "people `"),
}


@pytest.mark.parametrize("name", STATE)
def test_state_that_no_entry_brought_about_is_found(copy: Home, name: str) -> None:
    statement, place = STATE[name]
    sql(copy, statement)
    assert first_break(verify(copy))[0].startswith(place)


def test_the_first_place_is_raised_with_exit_code_8(copy: Home) -> None:
    (copy.ledger / "tile/0/000").unlink()
    with pytest.raises(LedgerChanged, match="tile/0/000") as told:
        verify(copy).raise_if_broken()
    assert told.value.exit_code == 8


def test_a_checkpoint_kept_from_earlier_must_be_the_beginning(copy: Home) -> None:
    key = load_key_file(copy.ledger_key)
    origin = str(ask(copy, "SELECT value FROM settings WHERE name = 'origin'"))
    kept = (copy.ledger / "checkpoint").read_text()
    assert not verify(copy, since=kept).broken
    other = sign_checkpoint(Checkpoint(origin=origin, size=100, root=bytes(32)), key)
    assert first_break(verify(copy, since=other))[0] == "the checkpoint you kept"
    longer = sign_checkpoint(Checkpoint(origin=origin, size=ENTRIES + 1, root=bytes(32)), key)
    assert first_break(verify(copy, since=longer))[0] == "the checkpoint you kept"
    with pytest.raises(NoteWrong):
        verify(copy, since=kept.replace(str(ENTRIES), "1"))


def test_a_key_kept_elsewhere_finds_an_installation_that_was_replaced(copy: Home) -> None:
    origin = str(ask(copy, "SELECT value FROM settings WHERE name = 'origin'"))
    pinned = verifier_key(Ed25519PrivateKey.generate(), origin)
    assert first_break(verify(copy, key=pinned))[0] == "checkpoint"


def test_where_there_is_no_installation_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(Home(tmp_path))


@pytest.fixture
def running(copy: Home) -> Iterator[tuple[Home, Database, Sequencer]]:
    database = open_database(copy)
    origin = str(ask(copy, "SELECT value FROM settings WHERE name = 'origin'"))
    one = sequencer(database, copy, origin)
    one.start()
    yield copy, database, one
    one.stop()
    database.close()


def test_a_ledger_that_grows_meanwhile_verifies(running: tuple[Home, Database, Sequencer]) -> None:
    home, database, one = running
    for _ in range(12):
        fill(database, 97)
        one.nudge()
        verify(home).raise_if_broken()
    fill(database, 1)
    assert verify(home).broken == ()


def test_a_partial_tile_that_goes_while_files_are_listed_is_no_finding(
    copy: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, stale = TileFolder.files, copy.ledger / "tile/0/002.p/3"

    def and_then_it_went(folder: TileFolder) -> Iterator[Path]:
        found = list(listed(folder))
        stale.unlink()
        return iter(found)

    monkeypatch.setattr(TileFolder, "files", and_then_it_went)
    verify(copy).raise_if_broken()


# -- from a checkpoint, against an anchor, and down to the objects -----------------------------------------


def test_what_a_checkpoint_covers_need_not_be_hashed_again(copy: Home) -> None:
    first, middle = note_at(copy, 1), note_at(copy, 515)
    verdict = verify(copy, first, start=middle)
    verdict.raise_if_broken()
    assert (verdict.since, verdict.entries, verdict.signed) == (515, ENTRIES - 515, ENTRIES)
    assert verdict.root == verify(copy).root


@pytest.mark.parametrize(("ix", "found"), [(100, False), (514, False), (515, True), (599, True)])
def test_a_change_behind_the_start_is_found_and_one_before_it_is_not(
    copy: Home, ix: int, found: bool
) -> None:
    middle = note_at(copy, 515)
    statement = (
        f"UPDATE entries SET body = replace(body, 'tariff', 'tarifF') WHERE id = {ENTRY.format(ix=ix)}"
    )
    sql(copy, statement)
    broken = verify(copy, start=middle).broken
    assert bool(broken) == found
    assert not found or broken[0].place.startswith(f"entry {ix} (")


def test_a_start_that_is_not_of_this_history_is_told(copy: Home) -> None:
    forged = sign_checkpoint(
        Checkpoint(origin=own_key(copy).name, size=515, root=bytes(32)), load_key_file(copy.ledger_key)
    )
    place, why = first_break(verify(copy, start=forged))
    assert place == "the checkpoint to start from"
    assert "another root" in why


def test_tiles_that_went_missing_before_the_start_are_told(copy: Home) -> None:
    middle = note_at(copy, 515)
    (copy.ledger / "tile" / "0" / "002.p").rename(copy.ledger / "away")
    assert verify(copy, start=middle).broken


def test_an_anchor_that_this_ledger_does_not_continue_is_named(copy: Home) -> None:
    forged = sign_checkpoint(
        Checkpoint(origin=own_key(copy).name, size=100, root=bytes(32)), load_key_file(copy.ledger_key)
    )
    assert not verify(copy, anchored={"the anchor at x": note_at(copy, 100)}).broken
    place, why = first_break(verify(copy, anchored={"the anchor at x": forged}))
    assert (place, "not the beginning" in why) == ("the anchor at x", True)
    place, why = first_break(verify(copy, anchored={"the anchor at x": "nonsense"}))
    assert (place, "no checkpoint of this ledger" in why) == ("the anchor at x", True)


def note_at(home: Home, size: int) -> str:
    """The checkpoint this ledger had at a size, as it would have been signed then."""
    tiles = TileFolder(home.ledger)
    reached = root(size, tiles.nodes(ENTRIES))
    return sign_checkpoint(
        Checkpoint(origin=own_key(home).name, size=size, root=reached), load_key_file(home.ledger_key)
    )
