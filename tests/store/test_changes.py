"""Who waits for a change is told once it has committed, and nobody is told of what was rolled back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import postgres_server
import pytest
import sqlalchemy as sa

from freehold.ledger.record import record
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.rows import Database, Tx

ROW = {"timezone": "UTC", "currency": "EUR", "state": "active", "created_at": 1}


def add(tx: Tx, name: str) -> None:
    tx.execute(tables.projects.insert().values(name=name, **ROW))
    record(tx, "project.added", by=SYSTEM, object=name, project=name, detail={"name": name})


def fail(db: Database) -> None:
    with db.write() as tx:
        add(tx, "claims")
        raise ZeroDivisionError


def count(db: Database) -> int:
    with db.read() as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(tables.projects)) or 0


def test_a_commit_is_told_to_who_waits_for_its_tables_when_everybody_can_see_it(db: Database) -> None:
    seen: list[int] = []
    others: list[str] = []
    with (
        db.changes.telling({"projects"}, lambda: seen.append(count(db))),
        db.changes.telling({"entries", "outbox"}, lambda: others.append("an entry")),
        db.changes.telling({"people"}, lambda: others.append("a person")),
        db.write() as tx,
    ):
        add(tx, "claims")
        assert (seen, others) == ([], [])
    with db.write() as tx:
        add(tx, "sales")
    assert (seen, others) == ([1], ["an entry"])


def test_what_was_rolled_back_and_what_was_only_read_is_told_to_nobody(db: Database) -> None:
    told: list[str] = []
    with db.changes.telling({"projects", "entries"}, lambda: told.append("?")):
        with pytest.raises(ZeroDivisionError):
            fail(db)
        with db.write() as tx:
            tx.execute(sa.select(tables.projects))
    assert told == []


def test_a_signal_that_comes_while_somebody_begins_to_wait_can_tell_everybody(db: Database) -> None:
    """Control is told to leave by a signal, in whatever its thread is about."""
    told: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: db.changes.tell_all())
    try:
        with db.changes.telling(set(), lambda: told.append(1)), db.changes._turn:
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert told == [1]


# -- of other processes, on Postgres


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_another_process_commits_is_noticed_and_so_is_the_first_after_the_database_was_away(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path / "at")
    postgres_server.settle(home, empty=True)
    home.create()
    ours, theirs = open_database(home), open_database(home)
    told, others = threading.Event(), ours.others()
    assert others is not None
    with ours.changes.telling({"projects"}, told.set):
        others.start()
        try:
            until(told.is_set)  # whatever was there before is looked at
            told.clear()
            with theirs.write() as tx:
                add(tx, "claims")
            until(told.is_set)
            told.clear()
            _end_sessions(theirs)
            with theirs.write() as tx:
                add(tx, "sales")
            until(told.is_set)
        finally:
            others.stop()
    ours.close()
    theirs.close()


def _end_sessions(of: Database) -> None:
    """As a database does that is restarted."""
    query = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with of.read() as conn:
        conn.execute(query)


def test_the_file_has_no_others() -> None:
    database = Database("sqlite://")
    assert database.others() is None
    database.close()
