"""One writer, many readers, no change without its entry, and nothing lost that was acknowledged."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa
from postgres_server import embedded

from freehold.errors import BadInput
from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM
from freehold.store import tables, unpublished
from freehold.store.home import DiskFull, Home
from freehold.store.migrate import open_database
from freehold.store.place import rows_of
from freehold.store.rows import Database, DatabaseDamaged, DatabaseUnusable, Tx, UnrecordedChange

projects = tables.projects
ROW = {"timezone": "UTC", "currency": "EUR", "state": "active", "created_at": 1}


def add(tx: Tx, name: str) -> None:
    tx.execute(projects.insert().values(name=name, **ROW))
    record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})


def names(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.execute(sa.select(projects.c.name).order_by(projects.c.name)).scalars())


# -- rows that are written many at a time


def test_rows_left_for_later_are_seen_by_whoever_reads_and_are_there_in_the_end(db: Database) -> None:
    insert = projects.insert()
    with db.write() as tx:
        for name in ("claims", "motor"):
            tx.later(insert, {"name": name, **ROW})
            record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})
        assert tx.connection.scalar(sa.select(sa.func.count()).select_from(projects)) == 2
        tx.later(insert, {"name": "travel", **ROW})
        tx.execute(projects.update().values(state="closed"))
        tx.later(insert, {"name": "water", **ROW})
    assert names(db) == ["claims", "motor", "travel", "water"]
    with db.read() as connection:
        closed = connection.scalars(sa.select(projects.c.name).where(projects.c.state == "closed"))
        assert sorted(closed) == ["claims", "motor", "travel"]


def test_what_is_updated_later_may_have_been_inserted_after_another_update_was_left(db: Database) -> None:
    insert, update = projects.insert(), projects.update().where(projects.c.name == sa.bindparam("of"))
    update = update.values(state=sa.bindparam("new"))
    with db.write() as tx:
        for name in ("claims", "motor"):
            tx.later(insert, {"name": name, **ROW})
            record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})
            if name == "claims":
                tx.catch_up()
            tx.later(update, {"of": name, "new": "closed"})
    with db.read() as connection:
        assert set(connection.scalars(sa.select(projects.c.state))) == {"closed"}


def test_rows_left_for_later_need_their_entry_and_go_with_the_rest(db: Database) -> None:
    with pytest.raises(UnrecordedChange, match="projects"), db.write() as tx:
        tx.later(projects.insert(), {"name": "claims", **ROW})
    assert names(db) == []


def test_a_row_left_for_later_that_cannot_be_written_takes_everything_with_it(db: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError) as raised:
        _add_twice(db)
    if db.is_sqlite:
        assert "claims" not in str(raised.value), "an error may be logged: it quotes no values"
    assert names(db) == []


def test_a_value_left_for_later_that_no_column_holds_is_the_callers_fault(db: Database) -> None:
    for wrong in ({"created_at": 2**70}, {"timezone": "\ud800"}):
        with pytest.raises(BadInput), db.write() as tx:
            tx.later(projects.insert(), {"name": "claims", **ROW, **wrong})
    assert names(db) == []


def _add_twice(db: Database) -> None:
    with db.write() as tx:
        for _ in range(2):
            tx.later(projects.insert(), {"name": "claims", **ROW})
        record(tx, "project.added", by=SYSTEM, object="claims", project="claims", detail={"name": "claims"})


# -- no change without its entry


def test_a_change_without_an_entry_is_rolled_back_and_told(db: Database) -> None:
    with pytest.raises(UnrecordedChange, match="projects"), db.write() as tx:
        tx.execute(projects.insert().values(name="claims", **ROW))
    assert names(db) == []


@pytest.mark.parametrize(
    "statement",
    [
        projects.update().values(state="closed"),
        projects.delete(),
        projects.insert().from_select(["name"], sa.select(tables.people.c.id)),
    ],
)
def test_every_way_of_changing_counts(db: Database, statement: sa.Executable) -> None:
    with pytest.raises(UnrecordedChange), db.write() as tx:
        tx.execute(statement)


def test_a_change_past_tx_counts_too(db: Database) -> None:
    with pytest.raises(UnrecordedChange), db.write() as tx:
        tx.connection.execute(projects.insert().values(name="claims", **ROW))
    assert names(db) == []


def test_text_is_refused_for_nobody_can_tell_what_it_changes(db: Database) -> None:
    with pytest.raises(UnrecordedChange), db.write() as tx:
        tx.execute(sa.text("DELETE FROM projects"))


def test_an_entry_about_something_else_excuses_nothing(db: Database) -> None:
    def close_one(tx: Tx) -> None:
        tx.execute(projects.insert().values(name="claims", **ROW))
        record(tx, "key.revoked", by=SYSTEM, object="key_1", detail={"key": "key_1"})

    assert refused(db, close_one) == "a change of `projects` had no ledger entry and was rolled back"


def test_one_entry_does_not_excuse_a_second_table(db: Database) -> None:
    def move(tx: Tx) -> None:
        add(tx, "claims")
        tx.execute(tables.settings.insert().values(name="origin", value="elsewhere"))

    assert refused(db, move) == "a change of `settings` had no ledger entry and was rolled back"


def test_an_entry_that_was_put_in_by_hand_excuses_nothing(db: Database) -> None:
    def forge(tx: Tx) -> None:
        row = {"id": "ent_1", "at": 1, "kind": "project.added", "actor": "-", "object": "-", "body": "{}"}
        tx.execute(tables.entries.insert().values(row))
        tx.execute(projects.insert().values(name="claims", **ROW))

    assert "`projects`" in refused(db, forge)


def refused(db: Database, change: Callable[[Tx], None]) -> str:
    """What is said when a change is refused; nothing of it stays."""
    before = names(db)
    with pytest.raises(UnrecordedChange) as told, db.write() as tx:
        change(tx)
    assert names(db) == before
    return told.value.what


def test_text_for_the_driver_is_refused_too(db: Database) -> None:
    with db.write() as tx:
        add(tx, "claims")
    with pytest.raises(UnrecordedChange), db.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM projects")
    assert names(db) == ["claims"]


def test_what_the_driver_itself_was_told_is_seen_by_its_effect(db: Database) -> None:
    with db.write() as tx:
        add(tx, "claims")

    def past_us(tx: Tx) -> None:
        raw = tx.connection.connection.dbapi_connection
        assert raw is not None
        raw.cursor().execute("DELETE FROM projects")

    assert "`unknown`" in refused(db, past_us)


@pytest.mark.parametrize("statement", [tables.entries.delete(), tables.entries.update().values(at=0)])
def test_what_was_recorded_is_never_changed(db: Database, statement: sa.Executable) -> None:
    with db.write() as tx:
        add(tx, "claims")
    with pytest.raises(UnrecordedChange, match="entries"), db.write() as tx:
        tx.execute(statement)
    assert names(db) == ["claims"]


def test_operational_tables_change_without_an_entry(db: Database) -> None:
    with db.write() as tx:
        tx.execute(tables.spools.insert().values(id="s1", sequence=0, head="", seen_at=1))


def test_a_failure_after_the_entry_takes_the_entry_along(db: Database) -> None:
    def fail() -> None:
        with db.write() as tx:
            add(tx, "claims")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(db) == []
    with db.read() as connection:
        assert connection.execute(sa.select(tables.entries)).all() == []
        assert connection.execute(sa.select(tables.outbox)).all() == []


def test_a_change_and_its_entry_have_the_same_time(db: Database) -> None:
    with db.write() as tx:
        add(tx, "claims")
        at = tx.at
    with db.read() as connection:
        assert connection.execute(sa.select(tables.entries.c.at)).scalar_one() == at


# -- one writer, many readers


def test_readers_see_one_state_while_a_writer_writes(db: Database) -> None:
    with db.write() as tx:
        add(tx, "claims")
    with db.read() as connection:
        query = sa.select(sa.func.count()).select_from(projects)
        assert connection.execute(query).scalar() == 1
        with db.write() as tx:
            add(tx, "sales")
        assert connection.execute(query).scalar() == 1
    assert names(db) == ["claims", "sales"]


def test_many_threads_write_and_read_and_nothing_is_lost_or_busy(db: Database) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(15):
                with db.write() as tx:
                    add(tx, f"p-{number}-{turn}")
                assert f"p-{number}-{turn}" in names(db)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names(db)) == 8 * 15


def test_a_reader_cannot_write(db: Database) -> None:
    with db.write():
        pass
    with pytest.raises(DatabaseUnusable), db.read() as connection:
        connection.execute(projects.insert().values(name="claims", **ROW))


def test_a_database_opened_for_reading_has_no_writer(db: Database, home: Home) -> None:
    with db.write() as tx:
        add(tx, "claims")
    other = rows_of(home, read_only=True)
    assert names(other) == ["claims"]
    with pytest.raises(RuntimeError), other.write():
        pass
    other.close()


def test_a_transaction_within_a_transaction_is_a_mistake_that_is_told_at_once(db: Database) -> None:
    with pytest.raises(RuntimeError, match="pass its `tx` down"), db.write(), db.write():
        pass


@embedded
def test_a_reader_that_closes_last_leaves_the_write_ahead_file_to_the_writer(home: Home) -> None:
    open_database(home).close()
    with closing(sqlite3.connect(home.database, isolation_level=None)) as raw:
        raw.execute("PRAGMA wal_autocheckpoint=0")
        raw.execute("INSERT INTO settings VALUES ('a', 'b')")
        copy = Home(home.root.with_name("copy"))
        copy.create()
        for name in ("freehold.db", "freehold.db-wal"):
            (copy.control / name).write_bytes((home.control / name).read_bytes())
    before = (copy.control / "freehold.db").read_bytes()
    reader = Database.at(copy.database, read_only=True)
    with reader.read() as connection:
        assert connection.execute(sa.select(tables.settings.c.value)).scalar() == "b"
    reader.close()
    assert copy.database.read_bytes() == before
    assert copy.database.with_name("freehold.db-wal").stat().st_size > 0


# -- what goes wrong underneath


def add_many(db: Database) -> None:
    with db.write() as tx:
        for number in range(500):
            add(tx, f"p-{number}")


@embedded
def test_a_full_disk_rolls_back_and_is_told_and_the_next_write_works(db: Database) -> None:
    with db.writer_engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFull):
        add_many(db)
    assert names(db) == []
    with db.writer_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100000")
    with db.write() as tx:
        add(tx, "claims")
    assert names(db) == ["claims"]


@embedded
def test_damage_found_while_reading_is_told(home: Home) -> None:
    database = open_database(home)
    with database.write() as tx:
        add(tx, "claims")
    database.close()
    size = home.database.stat().st_size
    with home.database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    damaged = Database.at(home.database, read_only=True)
    with pytest.raises(DatabaseDamaged):
        names(damaged)
    damaged.close()


def test_what_was_acknowledged_is_there_after_a_kill_and_nothing_is_half(home: Home) -> None:
    open_database(home).close()
    for _ in range(3):
        acknowledged = _kill_while_writing(home)
        database = open_database(home)
        there = set(names(database))
        assert acknowledged <= there
        with database.read() as connection:
            entries = set(connection.execute(sa.select(tables.entries.c.object)).scalars())
        assert entries == there
        database.close()


def _kill_while_writing(home: Home) -> set[str]:
    """Have a process write and say so, kill it in the middle, return what it said."""
    said: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(home.root)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.add(line.strip())
            if len(said) == 25:
                process.send_signal(signal.SIGKILL)
                break
        said.update(line.strip() for line in process.stdout if line.endswith("\n"))
    return said


_WRITER = """
import itertools, os, sys
from pathlib import Path
from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.tables import projects

database = open_database(Home(Path(sys.argv[1])))
for number in itertools.count():
    name = f"p-{os.getpid()}-{number}"
    with database.write() as tx:
        row = {"name": name, "timezone": "UTC", "currency": "EUR", "state": "active", "created_at": 1}
        tx.execute(projects.insert(), row)
        record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})
    print(name, flush=True)
"""


# -- rows that snapshots hold


def _unpublished(db: Database) -> list[tuple[str, str]]:
    with db.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(tables.unpublished))]


def _key(tx: Tx, id: str) -> None:
    values = {"secret_digest": "-", "zone": "serving", "owner": "-", "services": "[]", "label": ""}
    tx.execute(tables.keys.insert().values(id=id, created_at=1, **values))
    tx.tells_of(["keys"])


def test_who_writes_such_a_row_says_which_and_otherwise_all_of_them_count_as_changed(db: Database) -> None:
    with db.write() as tx, tx.naming(tables.keys, ["key_1"]):
        _key(tx, "key_1")
    assert _unpublished(db) == [("keys", "key_1")]
    with db.write() as tx:
        _key(tx, "key_2")
    assert sorted(_unpublished(db)) == [("keys", unpublished.ALL), ("keys", "key_1")]
    with db.write() as tx:
        assert unpublished.take(tx, tables.keys) is None
        assert unpublished.take(tx, tables.keys) == frozenset()
    assert _unpublished(db) == []


def test_what_is_named_is_taken_in_the_same_transaction_or_a_later_one_and_once(db: Database) -> None:
    with db.write() as tx:
        with tx.naming(tables.keys, ["key_1"]):
            _key(tx, "key_1")
        assert unpublished.take(tx, tables.keys) == {"key_1"}
        with tx.naming(tables.keys, ["key_2"]):
            _key(tx, "key_2")
    assert _unpublished(db) == [("keys", "key_2")]
    with db.write() as tx, tx.naming(tables.keys, ["key_2", "key_3"]):
        _key(tx, "key_3")
    assert sorted(_unpublished(db)) == [("keys", "key_2"), ("keys", "key_3")]
    with db.write() as tx:
        assert unpublished.take(tx, tables.keys) == {"key_2", "key_3"}
    assert _unpublished(db) == []
