"""The database: one writer, many readers, and no change without its ledger entry.

Owned by the control process alone (design section 5). On SQLite one connection writes under
`BEGIN IMMEDIATE`, WAL and `synchronous=FULL`; readers come from a pool that cannot write. The
write transaction counts what it changed and what it recorded: a change of state without an entry
is rolled back, not logged as a warning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from freehold.errors import Failure, Unavailable
from freehold.spec.ids import Clock, now
from freehold.store import tables


class UnrecordedChange(Failure):
    """a change of `{table}` had no ledger entry and was rolled back"""


class DatabaseUnusable(Unavailable):
    """the database cannot be used"""


class Tx:
    """One write transaction. Statements go through `execute`, entries through `ledger.record`."""

    def __init__(self, connection: sa.Connection, at: int) -> None:
        self.connection = connection
        self.at = at
        """The transaction's time, microseconds UTC: the same for the rows and their entry."""
        self._changed: set[str] = set()
        self._recorded = 0

    def execute(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> sa.CursorResult[Any]:
        """Run a Core statement. Writing the ledger's own tables is left to `freehold.ledger`."""
        if isinstance(statement, sa.Insert | sa.Update | sa.Delete):
            self._note(statement.table)
        return self.connection.execute(statement, parameters)

    def _note(self, table: Any) -> None:
        if table is tables.entries:
            self._recorded += 1
        elif "operational" not in table.info:
            self._changed.add(table.name)

    def refuse_unrecorded(self) -> None:
        """Raise UnrecordedChange when state changed and nothing was recorded."""
        if self._changed and not self._recorded:
            raise UnrecordedChange(
                table=", ".join(sorted(self._changed)),
                why="every change of state commits together with its ledger entry",
                hint="call `ledger.record.record` in the same transaction",
            )


class Database:
    """Opens, reads, writes. `url` is SQLAlchemy's (`sqlite:////path`, `postgresql+psycopg://…`)."""

    def __init__(self, url: str | URL, clock: Clock = now) -> None:
        self.url = make_url(url)
        self.clock = clock
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writing = threading.RLock()
        self._writer = _sqlite_engine(self.url, read_only=False) if self.is_sqlite else _engine(self.url)
        self._readers = _sqlite_engine(self.url, read_only=True) if self.is_sqlite else self._writer

    @classmethod
    def at(cls, path: Path, clock: Clock = now) -> Database:
        """The embedded database in a file."""
        return cls(URL.create("sqlite", database=str(path)), clock)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that commits when the block ends well, and only with its entries.

        Keep it short: load, process, apply. Never a network call inside.
        """
        with self._one_writer(), self._writer.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            tx = Tx(connection, self.clock())
            try:
                yield tx
                tx.refuse_unrecorded()
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """SQLite has one writer; on Postgres writers meet at row locks and unique keys instead."""
        if not self.is_sqlite:
            yield
            return
        with self._writing:
            yield

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one consistent state and cannot write."""
        with self._readers.connect() as connection:
            yield connection
            connection.rollback()

    @property
    def writer_engine(self) -> sa.Engine:
        """For migrations and backup only: the engine that may write."""
        return self._writer

    def close(self) -> None:
        """Give back every connection; on SQLite the writer checkpoints its write-ahead file."""
        if self.is_sqlite:
            with self._one_writer(), self._writer.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._readers.dispose()
        self._writer.dispose()


def _engine(url: URL) -> sa.Engine:
    return sa.create_engine(url, pool_pre_ping=True)


def _sqlite_engine(url: URL, *, read_only: bool) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 10},
        poolclass=sa.pool.QueuePool,
        pool_size=1 if not read_only else 8,
        max_overflow=0 if not read_only else 24,
    )

    @sa.event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        for pragma in _READER if read_only else _WRITER:
            connection.execute(f"PRAGMA {pragma}")

    if read_only:

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


_WRITER = (
    "journal_mode=WAL",
    "synchronous=FULL",  # NORMAL lost 11.5 % of acknowledged commits in simulated power cuts
    "secure_delete=ON",
    "foreign_keys=ON",
    "wal_autocheckpoint=1000",  # only this connection ever checkpoints (the WAL-reset bug needs two)
)
_READER = ("query_only=ON", "foreign_keys=ON", "wal_autocheckpoint=0")
