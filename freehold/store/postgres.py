"""What is particular to Postgres: its address, its connections, one writer at a time, what its errors mean.

Nothing here imports a driver: SQLAlchemy loads psycopg when the first engine is made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from freehold.errors import BadInput, Failure, Unavailable
from freehold.store.home import DatabaseUnusable, DiskFull, sync_folder

DRIVER = "postgresql+psycopg"
APPLICATION = "freehold"
"""How our sessions are called in `pg_stat_activity`."""

PATIENCE = 1.0
"""Seconds for which `settle` waits for readers who still see what was deleted."""

ONE_WRITER = 0x66726565686F6C64
"""The key of the advisory lock that every write transaction holds, from its first statement to its last."""

SETTINGS = {
    "synchronous_commit": "on",  # what was acknowledged is on its disk, whatever the server is set to
    "lock_timeout": "10s",  # as long as SQLite waits for its one writer
    "timezone": "UTC",
}
FROZEN = "60s"
"""How long a write transaction may stand idle: a control that froze must not hold up the others. Readers
hold up nobody, and an export reads nothing for as long as it sends weights."""
_CONNECTING = {"application_name": APPLICATION, "connect_timeout": "10", "keepalives_idle": "10"}
"""What a connection is asked for, unless the address says otherwise; its name is ours in any case."""


class AddressUnreadable(BadInput):
    """`database:` is no address of a Postgres database"""


class DriverMissing(Unavailable):
    """the driver for Postgres is not installed"""


class NoBackup(Unavailable):
    """the backup before the upgrade could not be made"""


def url_of(said: str) -> URL:
    """`postgresql://user@host:port/name` as an address for the driver. Raises AddressUnreadable.

    The password may be in it; better is none, and `PGPASSWORD` or `~/.pgpass`, which libpq reads itself.
    """
    try:
        url = make_url(said)
    except (sa.exc.ArgumentError, ValueError):
        raise AddressUnreadable(
            why="it does not read as one", hint="write it as postgresql://user@host:5432/name"
        ) from None  # what it quotes may hold a password
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise AddressUnreadable(
            why="only Postgres is served, beside the file in the folder",
            hint="write it as postgresql://user@host:5432/name, or leave it out for the file",
        )
    if isinstance(secret := url.query.get("password"), str):  # libpq takes it there, too
        url = url.difference_update_query(["password"]).set(password=secret)
    return url.set(drivername=DRIVER)


def named(url: URL) -> str:
    """The database as it may be said anywhere: never with a password."""
    where = url.host or url.query.get("host") or "this machine"
    return f"{url.database or url.username or 'postgres'} at {where}"


def engine(url: URL) -> sa.Engine:
    """Connections that are looked at before they are used: a database that was restarted is no failure.

    They are called `freehold` whatever the address says, for by that name others are told (`others`).
    """
    url = url.difference_update_query(["application_name"])
    given = url.query.get("options", "")
    options = [f"-c {name}={value}" for name, value in SETTINGS.items()]
    options += [given] if isinstance(given, str) else given
    said = {name: value for name, value in _CONNECTING.items() if name not in url.query}
    try:
        return sa.create_engine(
            url,
            connect_args={**said, "options": " ".join(options).strip(), "client_encoding": "UTF8"},
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=24,
            hide_parameters=True,  # an error's text must not quote what somebody sent
        )
    except ModuleNotFoundError as error:
        raise DriverMissing(
            why=f"`{error.name}` cannot be imported", hint="pip install 'freehold[postgres]'"
        ) from error


def readers(writer: sa.Engine) -> sa.Engine:
    """The same connections for reading: one consistent state, and no way to write."""
    return writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def be_the_one_writer(connection: sa.Connection) -> None:
    """Wait for every other write transaction on this database, of whichever control, to end.

    What SQLite gives by its nature: a transaction that looks and then writes finds nobody between. The
    server drops the lock at commit, at rollback, when the connection dies, and when it was idle for long.
    """
    bound = f"set_config('idle_in_transaction_session_timeout', '{FROZEN}', true)"
    connection.exec_driver_sql(f"SELECT {bound}, pg_advisory_xact_lock({ONE_WRITER})")


def changed(connection: sa.Connection) -> bool:
    """Whether this transaction changed, or locked, any row: then the server has given it a number."""
    cursor = connection.connection.cursor()
    cursor.execute("SELECT 1 WHERE pg_current_xact_id_if_assigned() IS NOT NULL")
    return cursor.fetchone() is not None


def others(connection: sa.Connection) -> int:
    """How many other sessions of Freehold are in this database."""
    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = :application AND pid <> pg_backend_pid()"
    )
    return int(connection.execute(query, {"application": APPLICATION}).scalar_one())


def settle(connection: sa.Connection, anew: Sequence[str]) -> bool:
    """Give back what deleted rows took; False when somebody's older transaction is in the way.

    The tables `anew` are written into new files, so that no page keeps a deleted row. In the pages of
    others its bytes stay until the place is used again, and in write-ahead files until the server recycles
    them; what archives, standbys and the server's own backups keep is its administrator's.
    """
    alone = connection.execution_options(isolation_level="AUTOCOMMIT")
    now = alone.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar_one()
    if not _nobody_sees_before(alone, now):
        return False  # a table would be written anew with what they still see
    try:
        for table in anew:
            alone.exec_driver_sql(f"VACUUM (FULL) {table}")
        alone.exec_driver_sql("VACUUM")
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) in _BUSY:
            return False
        raise
    return True


def _nobody_sees_before(connection: sa.Connection, transaction: str) -> bool:
    """Whether every state that anybody sees is that of this transaction or newer; waits a moment for it.

    Asked by what everybody may know of everybody's sessions: their numbers, not since when they run. What
    is prepared and left, and what a standby sees, holds old rows as well.
    """
    deadline = time.monotonic() + PATIENCE
    while connection.execute(_SEEN_BEFORE, {"it": transaction}).scalar_one():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


_SESSIONS = (
    "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usesysid IS NOT NULL "  # no autovacuum
    "AND coalesce(datname, current_database()) = current_database()"
)
_SEEN_BEFORE = sa.text(
    f"SELECT count(*) FROM (SELECT backend_xmin AS oldest {_SESSIONS} "  # noqa: S608 - all of it is ours
    f"UNION ALL SELECT backend_xid {_SESSIONS} "
    "UNION ALL SELECT transaction FROM pg_prepared_xacts WHERE database = current_database() "
    "UNION ALL SELECT xmin FROM pg_replication_slots) AS held "
    "WHERE age(oldest) > age(CAST(CAST(:it AS text) AS xid))"
)


def size(connection: sa.Connection) -> int:
    """Bytes on the server's disk."""
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def count_on(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """Have columns that count by themselves go on after the rows that were put in with their numbers."""
    for table in tables:
        column = table.autoincrement_column
        if column is not None and isinstance(column.type, sa.BigInteger):
            last = connection.scalar(sa.select(sa.func.max(column))) or 0
            connection.execute(
                sa.text("SELECT setval(pg_get_serial_sequence(:table, :column), :last + 1, false)"),
                {"table": table.name, "column": column.name, "last": last},
            )


def sort_by_bytes(connection: sa.Connection) -> None:
    """Give every text column the collation that SQLite and Python have: by bytes.

    A database is usually created with a language's order, in which `a-b` may come before `ab`; then lists
    that are read page by page, and joined with what Python sorted, would lose or repeat rows.
    """
    columns = connection.exec_driver_sql(
        "SELECT table_name, column_name, data_type, character_maximum_length FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND data_type IN ('character varying', 'text') "
        "AND collation_name IS DISTINCT FROM 'C' AND table_name <> 'alembic_version'"
    ).all()
    quote = connection.dialect.identifier_preparer.quote
    for table, column, kind, length in columns:
        sized = f"varchar({length})" if kind == "character varying" and length else "text"
        connection.exec_driver_sql(
            f'ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} TYPE {sized} COLLATE "C"'
        )


def back_up(url: URL, path: Path) -> None:
    """A complete dump at `path`, 0600, by Postgres' own `pg_dump`. Raises NoBackup.

    The password travels in the environment: a command line is everybody's to read.
    """
    program = shutil.which("pg_dump")
    hint = "install the client programs of your Postgres' release, such as postgresql-client"
    if program is None:
        raise NoBackup(why="there is no `pg_dump` on this machine", hint=hint)
    half = path.with_name(f".{path.name}.half")
    half.unlink(missing_ok=True)
    os.close(os.open(half, os.O_WRONLY | os.O_CREAT, 0o600))
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    address = url.set(drivername="postgresql", password=None).render_as_string()
    done = subprocess.run(  # noqa: S603 – the address is ours, and no shell reads it
        [program, "--format=custom", f"--file={half}", f"--dbname={address}"],
        env={**os.environ, **secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        half.unlink(missing_ok=True)
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise NoBackup(why=f"`pg_dump` ended with {done.returncode}: {_clean(said, url)}", hint=hint)
    os.replace(half, path)
    sync_folder(path.parent)


def _clean(said: str, url: URL) -> str:
    return said.replace(str(url.password), "…") if url.password else said


# -- what its errors mean -----------------------------------------------------------------------------


class DatabaseAway(DatabaseUnusable):
    """the database does not answer"""


class DatabaseRefuses(DatabaseUnusable):
    """the database does not let Freehold in"""


class DatabaseBusy(DatabaseUnusable):
    """the database was held up by something else"""


class Unfit(BadInput):
    """something in the request cannot be kept"""


def failure_of(error: Any) -> Failure | None:
    """The failure for an error of psycopg, by its SQLSTATE; none for what is a mistake of ours."""
    state = getattr(error, "sqlstate", None)
    if state in _UNFIT:
        return Unfit(why=_UNFIT[state])
    if state is None:
        if "NUL" in str(error):  # the driver's own, before it is sent
            return Unfit(why="there is a NUL character in a text")
        is_about_the_connection = type(error).__name__ in ("OperationalError", "ConnectionTimeout")
        return _not_connected(_first_line(error)) if is_about_the_connection else None
    if state.startswith(("08", "57P")):
        return _away(_first_line(error))
    if state in _BUSY or state.startswith("40"):
        return DatabaseBusy(why=_first_line(error), hint="the change was rolled back: try again")
    if state == "53100":
        return DiskFull(
            why="the change was rolled back, nothing is half done", hint="free some space where Postgres runs"
        )
    if state in _REFUSED or state.startswith("28"):
        return DatabaseRefuses(why=_first_line(error), hint=_REFUSED.get(state, _SIGN_IN))
    return None


def _not_connected(why: str) -> Failure:
    """libpq gives no SQLSTATE while it connects; that it was the server who said no stands in its words."""
    if "FATAL:" not in why or "the database system is" in why:
        return _away(why)
    hint = next((_REFUSED[state] for words, state in _WORDS.items() if words in why), _SIGN_IN)
    return DatabaseRefuses(why=why.partition("FATAL:")[2].strip(), hint=hint)


def _away(why: str) -> DatabaseAway:
    return DatabaseAway(
        why=why, hint="is Postgres running, and is its address what `database:` in freehold.yaml says?"
    )


def _first_line(error: Any) -> str:
    """What the server said; libpq names host, port and user there, and never a password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or ["it says nothing"])[0].removeprefix("connection failed: ")


_UNFIT = {"22001": "a text is longer than its column", "22003": "a number is greater than its column holds"}
_BUSY = ("55P03", "25P03", "57014")
_SIGN_IN = "look at the user, PGPASSWORD or ~/.pgpass, and the server's pg_hba.conf"
_WORDS = {'role "': "28000", "does not exist": "3D000", "too many": "53300", "permission denied": "42501"}
_REFUSED = {
    "28000": _SIGN_IN,
    "28P01": _SIGN_IN,
    "3D000": "create it first: `createdb freehold`",
    "42501": "its user needs to own the database, or `GRANT ALL ON SCHEMA public`",
    "53300": "raise max_connections of the server, or run fewer controls",
    "25006": "this is a standby, or the server is set to read only: name the primary",
}
