"""The database: one writer, many readers, and no change without its ledger entry.

Owned by control alone (design section 5). On SQLite one connection writes under `BEGIN IMMEDIATE`, WAL
and `synchronous=FULL`; readers come from a pool whose file handles are read-only. On Postgres a write
transaction begins by taking one lock that all controls share, so that there, too, whoever looks and
then writes finds nobody between. The write transaction counts what it changed and what it recorded:
a change of state without an entry is rolled back, not logged as a warning.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from freehold.errors import BadInput, Failure
from freehold.spec.ids import Clock, now
from freehold.store import postgres, tables, unpublished
from freehold.store.changes import Changes, Others
from freehold.store.home import DatabaseUnusable as DatabaseUnusable
from freehold.store.home import DiskFull


class UnrecordedChange(Failure):
    """a change of `{table}` had no ledger entry and was rolled back"""


class DatabaseDamaged(DatabaseUnusable):
    """the database file is damaged"""


class ValueNotKept(BadInput):
    """a value is beyond what the database keeps"""


_STATEMENT = "write it as a statement of SQLAlchemy Core"


class Tx:
    """One write transaction. Statements go through `execute`, entries through `ledger.record`."""

    def __init__(self, connection: sa.Connection, at: int) -> None:
        self.connection = connection
        self.at = at
        """The transaction's time, microseconds UTC: the same for the rows and their entry."""
        self.touched: set[str] = set()
        """Every table that rows were written to, or deleted from."""
        self._changed: set[str] = set()
        self._told: set[str] = set()
        self.named: dict[str, set[str]] = {}
        """Table -> its rows that changed, of those that snapshots hold (`store.unpublished`)."""
        self.unnamed: set[str] = set()
        """Such tables that were written to without saying which rows."""
        self._naming = ""
        self._wrote = False
        self._later: dict[sa.Executable, list[Mapping[str, Any]]] = {}
        self._before = self._changes()

    def execute(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[Any]:
        """Run a Core statement. Writing the ledger's own tables is left to `freehold.ledger`."""
        self.catch_up()
        return self.connection.execute(statement, parameters)

    @contextmanager
    def naming(self, table: sa.Table, ids: Iterable[str]) -> Iterator[None]:
        """What the block writes to `table`, whose rows snapshots hold, are the rows `ids`, by the name that
        they have there; a row that no snapshot holds before or after needs none."""
        self.named.setdefault(table.name, set()).update(ids)
        self.catch_up()
        self._naming = table.name
        try:
            yield
            self.catch_up()
        finally:
            self._naming = ""

    def later(self, statement: sa.Executable, row: Mapping[str, Any]) -> None:
        """Write a row before anything else runs, and before the commit: many of one statement at a time.

        A statement costs the same for one row as for a hundred. All rows of it have the same columns.
        Whatever is inserted comes before whatever is updated: an update that was asked for between two
        inserts, and joins an earlier one, finds the rows of both.
        """
        self._later.setdefault(statement, []).append(row)

    def catch_up(self) -> None:
        """Write what was left for later: what is inserted first, else in the order it came."""
        while self._later:
            left, self._later = self._later, {}
            for statement in sorted(left, key=lambda one: not isinstance(one, sa.Insert)):
                self._write_many(statement, left[statement])

    def _write_many(self, statement: sa.Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """On SQLite by its driver: SQLAlchemy looks at each value again, which costs more than writing it."""
        if self.connection.dialect.name != "sqlite":
            self.connection.execute(statement, rows)
            return
        self.note(statement)
        text, values = _compiled(statement, self.connection.dialect, tuple(rows[0]))
        cursor = self.connection.connection.cursor()
        try:
            cursor.executemany(text, list(map(values, rows)))
        except _UNFIT as error:
            raise _not_kept() from error
        except sqlite3.Error as error:  # under the name that callers know it by
            told = sa.exc.DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True)
            raise told from error
        finally:
            cursor.close()

    def note(self, statement: Any) -> None:
        """See a statement before it runs: the engine calls this, whoever executes it."""
        if isinstance(statement, sa.Insert | sa.Update | sa.Delete):
            self._wrote = True
            self._note_table(statement.table, isinstance(statement, sa.Insert))
        elif not isinstance(statement, sa.SelectBase):
            self.refuse_text()
        else:
            self.catch_up()  # whoever reads, by whatever way, sees what was written
        if getattr(statement, "_for_update_arg", None) is not None:
            self._wrote = True  # a lock on a row looks like a change to Postgres

    def refuse_text(self) -> None:
        """Raise UnrecordedChange: what a text does to which table cannot be seen."""
        raise UnrecordedChange(
            table="unknown", why="text cannot be told apart from a change", hint=_STATEMENT
        )

    def _note_table(self, table: Any, inserts: bool) -> None:
        self.touched.add(table.name)
        if "named" in table.info and table.name != self._naming:
            self.unnamed.add(table.name)
        if table is tables.entries and not inserts:
            raise UnrecordedChange(table="entries", why="what was recorded stays as it is")
        if table is not tables.entries and "operational" not in table.info:
            self._changed.add(table.name)

    def tells_of(self, names: Iterable[str]) -> None:
        """An entry was recorded that speaks of these tables; `ledger.record` calls this, and tests whose
        rows stand for themselves."""
        self._told.update(names)

    def refuse_unrecorded(self) -> None:
        """Raise UnrecordedChange when a table of state changed that no entry speaks of."""
        if untold := self._changed - self._told:
            raise UnrecordedChange(
                table=", ".join(sorted(untold)),
                why="every change of state commits together with a ledger entry that speaks of it",
                hint="call `ledger.record.record` in the same transaction; `ledger/covers.py` has the kinds",
            )
        if not self._wrote and self._changed_unseen():
            raise UnrecordedChange(
                table="unknown", why="rows changed and no statement of ours changed them", hint=_STATEMENT
            )

    def _changed_unseen(self) -> bool:
        """Whether rows changed in this transaction although no statement of ours changed any."""
        if self.connection.dialect.name == "postgresql":
            return postgres.changed(self.connection)
        return self._changes() != self._before

    def _changes(self) -> int:
        """How many rows this connection ever changed, by the count of SQLite's driver."""
        return int(getattr(self.connection.connection.dbapi_connection, "total_changes", 0))


class Database:
    """Opens, reads, writes. `url` is SQLAlchemy's (`sqlite:////path`, `postgresql+psycopg://…`)."""

    def __init__(self, url: str | URL, clock: Clock = now, *, read_only: bool = False) -> None:
        self.url = make_url(url)
        self.clock = clock
        self.read_only = read_only
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.changes = Changes()
        """Who is told of what commits here."""
        self._writing = threading.Lock()
        self._writes_in: int | None = None
        self._writer = _sqlite_writer(self.url) if self.is_sqlite else postgres.engine(self.url)
        self._readers = _sqlite_readers(self.url) if self.is_sqlite else postgres.readers(self._writer)
        sa.event.listen(self._writer, "before_execute", _see)
        sa.event.listen(self._writer, "before_cursor_execute", _see_text)
        for engine in {self._writer, self._readers}:
            sa.event.listen(engine, "handle_error", _refuse_value)

    @classmethod
    def at(cls, path: Path, clock: Clock = now, *, read_only: bool = False) -> Database:
        """The embedded database in a file. Read-only it is safe beside a running control process."""
        return cls(URL.create("sqlite", database=str(path)), clock, read_only=read_only)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that commits when the block ends well, and only with its entries.

        Keep it short: load, process, apply. Never a network call inside, and never a second one in the
        same thread. Raises UnrecordedChange, DiskFull, DatabaseDamaged, DatabaseUnusable.
        """
        if self.read_only:
            raise RuntimeError("this database was opened for reading only")
        with telling(), self._one_writer(), self._writer.connect() as connection:
            self.begin_writing(connection)
            tx = Tx(connection, self.clock())
            connection.info["tx"] = tx
            try:
                yield tx
                tx.catch_up()
                tx.refuse_unrecorded()
                unpublished.leave(tx)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            finally:
                connection.info.pop("tx", None)
        self.changes.tell(tx.touched)

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Of this process; writers of others are waited for in the database."""
        if self._writes_in == threading.get_ident():
            raise RuntimeError("this thread has a write transaction open already: pass its `tx` down")
        with self._writing:
            self._writes_in = threading.get_ident()
            try:
                yield
            finally:
                self._writes_in = None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one consistent state and cannot write."""
        with telling(), self._readers.connect() as connection:
            yield connection
            connection.rollback()

    def begin_writing(self, connection: sa.Connection) -> None:
        """Begin the one write transaction there is at a time; waits for others, of other processes, too."""
        if self.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            postgres.be_the_one_writer(connection)

    def others(self) -> Others | None:
        """Notices what other processes commit, where they may; to be started."""
        return None if self.is_sqlite else Others(self._writer, self.changes)

    @property
    def writer_engine(self) -> sa.Engine:
        """For migrations and backup only: the engine that may write."""
        return self._writer

    def settle(self) -> bool:
        """Leave nothing of what was deleted in files beside the tables; False when readers are in the way.

        SQLite overwrites what it deletes (`secure_delete`); what the write-ahead file still has of it goes
        when the file is emptied. Postgres is asked in `postgres.settle`, which says what stays there.
        """
        if not self.is_sqlite:  # others write meanwhile: it may take minutes
            with telling(), self._writer.connect() as connection:
                return postgres.settle(connection, tables.NAME_SOMEBODY)
        with self._one_writer(), telling(), self._writer.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return found is not None and found[0] == 0

    def close(self) -> None:
        """Give back every connection; on SQLite the writer checkpoints its write-ahead file."""
        self._readers.dispose()
        try:
            if self.is_sqlite and not self.read_only:
                with telling(), self._one_writer(), self._writer.connect() as connection:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._writer.dispose()


@lru_cache(maxsize=64)
def _compiled(
    statement: sa.Executable, dialect: sa.Dialect, columns: tuple[str, ...]
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]:
    """A statement's text for SQLite, and what takes out of a row the value for each of its places."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))  # type: ignore[attr-defined]
    names = tuple(compiled.positiontup or ())
    if not set(names) <= set(columns):
        raise RuntimeError(f"a value would be made up for {', '.join(sorted(set(names) - set(columns)))}")
    take = itemgetter(*names)
    return str(compiled), take if len(names) > 1 else lambda row: (take(row),)


@contextmanager
def telling() -> Iterator[None]:
    """Turn what the database or the file system says into one of our failures, where we know it."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        known = _failure_of(error.orig)
        if known is None:
            raise
        raise known from error
    except sqlite3.DatabaseError as error:
        known = _failure_of(error)
        if known is None:
            raise
        raise known from error


def _failure_of(error: BaseException | None) -> Failure | None:
    """The failure for an error of the driver, where it is not a mistake of ours; none for the others."""
    if hasattr(error, "sqlstate"):
        return postgres.failure_of(error)
    if not isinstance(error, sqlite3.Error) or not hasattr(error, "sqlite_errorcode"):
        return None
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(why="the change was rolled back, nothing is half done", hint="free some space")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseDamaged(
            why=str(error), hint="stop Freehold and restore the newest backup; `freehold verify` looks closer"
        )
    if code in _ELSEWHERE:
        return DatabaseUnusable(why=str(error), hint=_ELSEWHERE[code])
    return None


_ELSEWHERE = {
    sqlite3.SQLITE_BUSY: "another program holds the file: only the control process may open it",
    sqlite3.SQLITE_CANTOPEN: "look at the rights of the folder and its owner",
    sqlite3.SQLITE_IOERR: "the disk did not do what it was asked: look at the system's log",
    sqlite3.SQLITE_PERM: "look at the rights of the folder and its owner",
    sqlite3.SQLITE_READONLY: "look at the rights of the folder and its owner",
}


_UNFIT = (OverflowError, UnicodeEncodeError)
"""What SQLite's driver says of values that it cannot write."""


def _see(connection: sa.Connection, statement: Any, *_: Any) -> None:
    tx = connection.info.get("tx")
    if isinstance(tx, Tx):
        tx.note(statement)


def _see_text(
    connection: sa.Connection, _cursor: Any, _text: str, _with: Any, context: Any, _many: bool
) -> None:
    """Whatever reaches the driver was compiled from a statement that was seen, or it is a text."""
    tx = connection.info.get("tx")
    if isinstance(tx, Tx) and context.compiled is None:
        tx.refuse_text()


def _refuse_value(context: sa.ExceptionContext) -> Failure | None:
    """A number or text of the caller's that no column holds: 70 bits, half a character, a zero byte."""
    error = context.original_exception
    unfit = isinstance(error, _UNFIT)
    if not unfit and not isinstance(context.sqlalchemy_exception, sa.exc.DataError):
        return None
    return _failure_of(error) or _not_kept()  # Postgres says what it is


def _not_kept() -> Failure:
    return ValueNotKept(
        why="numbers have 64 bits there, and texts no zero byte and no half characters",
        hint="look for the number or text that is like that",
    )


def _sqlite_writer(url: URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 10},
        poolclass=sa.pool.QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    sa.event.listen(engine, "connect", lambda raw, _: _set(raw, _WRITER))
    return engine


def _sqlite_readers(url: URL) -> sa.Engine:
    """Read-only file handles: the last one to close cannot checkpoint, so only the writer ever does."""
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            f"file:{quote(str(url.database))}?mode=ro",
            uri=True,
            check_same_thread=False,
            isolation_level=None,
            timeout=10,
        ),
        poolclass=sa.pool.QueuePool,
        pool_size=8,
        max_overflow=24,
    )
    sa.event.listen(engine, "connect", lambda raw, _: _set(raw, _READER))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _set(raw: sqlite3.Connection, pragmas: Sequence[str]) -> None:
    for pragma in pragmas:
        raw.execute(f"PRAGMA {pragma}")


_WRITER = (
    "journal_mode=WAL",
    "synchronous=FULL",  # NORMAL lost 11.5 % of acknowledged commits in simulated power cuts
    "secure_delete=ON",
    "foreign_keys=ON",
    "wal_autocheckpoint=4000",  # pages: seldom, for each time whatever changed is written once more; by this
    # connection alone (the WAL-reset bug needs two)
)
_READER = ("query_only=ON", "foreign_keys=ON", "wal_autocheckpoint=0")
