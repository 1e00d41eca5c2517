"""Every row from one database into another, empty one: for backups, and for moving house.

A backup holds rows as a file of the embedded database, wherever they stood; so it can be restored into
either. All of it is one transaction: afterwards every row is there and was read again, or none is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, Unavailable
from freehold.store import migrate, postgres, tables
from freehold.store.rows import Database, telling

AT_ONCE = 1_000
"""Rows that are held in memory."""


class NotEmpty(Conflict):
    """the database `{name}` is not empty"""


class Differs(Unavailable):
    """rows of `{table}` did not arrive as they were sent"""


def refuse_filled(target: Database) -> None:
    """Raise NotEmpty where there is any table."""
    with telling(), target.writer_engine.connect() as connection:
        _refuse_filled(target, connection)
        connection.rollback()


def fill(target: Database, source: Database) -> int:
    """Make the schema in `target` and copy every row of `source`, which has it; returns how many.

    What is read of `source` is one consistent state. Raises NotEmpty, Differs; then nothing was changed.
    """
    with telling(), target.writer_engine.connect() as there, source.read() as here:
        target.begin_writing(there)
        _refuse_filled(target, there)
        migrate.run_steps(there)
        count = sum(_copy(table, here, there) for table in tables.metadata.sorted_tables)
        if not target.is_sqlite:
            postgres.count_on(there, tables.metadata.sorted_tables)
        for table in tables.metadata.sorted_tables:
            _compare(table, here, there)
        there.commit()
    return count


def empty(database: Database) -> None:
    """Take every table of ours out of a database, with what is in it."""
    with telling(), database.writer_engine.connect() as connection:
        database.begin_writing(connection)
        tables.metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        connection.commit()


def _refuse_filled(target: Database, connection: sa.Connection) -> None:
    if sa.inspect(connection).get_table_names():
        name = str(target.url.database) if target.is_sqlite else postgres.named(target.url)
        raise NotEmpty(
            name=name,
            why="rows are put into an empty one: what is there would be neither old nor new",
            hint="`createdb` another, and name that one",
        )


def _copy(table: sa.Table, here: sa.Connection, there: sa.Connection) -> int:
    count = 0
    with _rows(table, here) as read:
        for rows in read.mappings().partitions():
            there.execute(table.insert(), [dict(row) for row in rows])
            count += len(rows)
    return count


def _compare(table: sa.Table, here: sa.Connection, there: sa.Connection) -> None:
    """Both are sorted by bytes, and the key is unique."""
    for sent, arrived in zip_longest(_each(table, here), _each(table, there)):
        if sent != arrived:
            raise Differs(table=table.name, why="one of them reads otherwise", hint="nothing was changed")


def _each(table: sa.Table, connection: sa.Connection) -> Iterator[tuple[Any, ...]]:
    with _rows(table, connection) as read:
        yield from map(tuple, read)


def _rows(table: sa.Table, connection: sa.Connection) -> sa.CursorResult[Any]:
    query = sa.select(table).order_by(*table.primary_key.columns)
    return connection.execute(query, execution_options={"yield_per": AT_ONCE})
