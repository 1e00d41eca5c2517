"""A new database's schema, said once by its steps and repeated from then on.

Alembic takes seventy milliseconds of processor time to say it, for each of the thousands of databases that
the suite makes, and SQLAlchemy sixty with a commit for each table. The first one of a process is made by
them; those that follow are told the same statements, in one transaction. Postgres is never told so, nor is a
database that holds something or gets other steps than those that ship.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from freehold.store import migrate, tables
from freehold.store.rows import Database

Said = list[tuple[str, Any]]
STEPS, by_steps = migrate._STEPS, migrate.run_steps
_said: dict[str, Said] = {}


def run_steps(connection: sa.Connection) -> None:
    """As `migrate.run_steps`."""
    if connection.dialect.name != "sqlite" or migrate._STEPS != STEPS or migrate._found(connection):
        by_steps(connection)
    else:
        _repeated("steps", connection, by_steps)


def create_tables(database: Database) -> None:
    """The tables of this release in an empty database, without the mark of a step."""
    with database.writer_engine.connect() as connection:
        database.begin_writing(connection)
        if database.is_sqlite:
            _repeated("tables", connection, tables.metadata.create_all)
        else:
            tables.metadata.create_all(connection)
        connection.commit()


def _repeated(name: str, connection: sa.Connection, make: Callable[[sa.Connection], None]) -> None:
    if name in _said:
        for statement, given in _said[name]:
            connection.exec_driver_sql(statement, given or None)
    else:
        with _heard(connection) as said:
            make(connection)
        _said[name] = said


@contextmanager
def _heard(connection: sa.Connection) -> Iterator[Said]:
    """What changes the database, as it is said to it meanwhile."""
    said: Said = []

    def hear(_connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        if not statement.lstrip().startswith(("SELECT", "PRAGMA")):
            said.append((statement, given))

    sa.event.listen(connection, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        sa.event.remove(connection, "before_cursor_execute", hear)
