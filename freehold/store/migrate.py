"""Opening the database: make a new schema, or say in one sentence why this one cannot be used.

The schema's history is one Alembic file a step under `store/migrations/versions`, named by its number.
A step and the ledger entry about it commit together. An older schema is refused, never moved silently:
`freehold upgrade` shows the steps, makes a backup and takes them.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from freehold.errors import Failure
from freehold.spec.ids import Clock, now
from freehold.store import postgres, tables
from freehold.store.ahead import read_ahead
from freehold.store.home import DiskFull, FolderUnusable, Home, sync_folder
from freehold.store.place import postgres_of
from freehold.store.rows import (
    Database,
    DatabaseDamaged,
    DatabaseUnusable,
    Tx,
    telling,
)

SQLITE_MINIMUM = (3, 34, 0)
"""We use window functions and row values (3.25) and read-only handles in WAL mode (3.22). No maintained
system with Python 3.11 ships less than 3.34; our tests run on 3.40."""

ROOM_TO_START = 32 * 1024 * 1024
"""Bytes that must be free: less than this and the first busy minute would end in the middle."""

LEAVING = 1.0
"""Seconds in which a session that was closed may still be seen by the server."""

CHECKED_AT_OPEN = 64 * 1024 * 1024
"""A file up to this size is checked page by page whenever it is opened; a larger one by `freehold verify`."""

_STEPS = Path(__file__).parent / "migrations" / "versions"


class SqliteTooOld(DatabaseUnusable):
    """the SQLite library `{found}` is too old"""


class SchemaOlder(DatabaseUnusable):
    """the database has the older schema `{found}`"""


class SchemaNewer(DatabaseUnusable):
    """the database has the newer schema `{found}`"""


class NotOurs(DatabaseUnusable):
    """`{path}` is a database of something else"""


class InUse(DatabaseUnusable):
    """the database `{path}` is in use"""


class Emptied(DatabaseUnusable):
    """the database of this installation is empty"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """What `upgrade` would do, or did."""

    before: str
    after: str
    steps: tuple[str, ...]
    """File names without `.py`, in the order they run; empty when the schema is the newest."""
    backup: Path
    """Where the copy from before lies, or would lie."""


def revisions() -> tuple[str, ...]:
    """Every schema revision this release knows, oldest first."""
    return tuple(path.name[:4] for path in _step_files())


def open_database(
    home: Home,
    clock: Clock = now,
    *,
    sqlite: tuple[int, ...] = sqlite3.sqlite_version_info,
    room: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Database:
    """The database of `home` with exactly the schema of this release.

    An empty one gets the schema, unless the installation should have one already. Raises SqliteTooOld,
    DiskFull, DatabaseDamaged, Emptied, NotOurs, SchemaOlder, SchemaNewer, and what is said of a Postgres
    that is away or refuses; whatever it raises, it leaves the database as it was.
    """
    url = postgres_of(home)
    with _folder_of(home):
        _refuse_full_disk(home.control, room)
    if url is None:
        _refuse_old_library(sqlite)
        with _folder_of(home):
            _make_private(home.database)
    database = Database(url, clock) if url else Database.at(home.database, clock)
    try:
        _check_and_create(database, begun=home.installation.exists())
    except BaseException:
        with suppress(Failure):
            database.close()
        raise
    return database


def begin_again(database: Database) -> None:
    """Empty a database whose first run was killed: nobody had a key to it yet."""
    with telling(), database.writer_engine.connect() as connection:
        database.begin_writing(connection)
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(table.delete())
        connection.commit()


def pending(home: Home) -> Upgrade:
    """What `upgrade` would do; changes nothing."""
    with _alone(home) as connection:
        return _upgrade_of(home, _found(connection))


def upgrade(home: Home, record: Callable[[Tx, str, str], object], clock: Clock = now) -> Upgrade:
    """Take the steps that are missing, after a backup, in one transaction with their ledger entry.

    `record` writes the entry for (before, after). Raises InUse while Freehold runs on this home.
    """
    with _alone(home) as connection:
        plan = _upgrade_of(home, _found(connection))
        if not plan.steps:
            return plan
        if connection.dialect.name == "sqlite":
            _back_up(connection, plan.backup)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.rollback()  # the dump is another session, and must not wait for this one
            postgres.back_up(connection.engine.url, plan.backup)
            postgres.be_the_one_writer(connection)
        tx = Tx(connection, clock())
        run_steps(connection)
        _refuse_broken_references(connection)
        record(tx, plan.before, plan.after)
        tx.catch_up()
        connection.commit()
        return plan


def check_pages(connection: sa.Connection) -> None:
    """Have SQLite look at every page of its file. Raises DatabaseDamaged naming the first problem.

    Postgres looks after its own pages: `initdb --data-checksums`, `pg_amcheck`.
    """
    if connection.dialect.name != "sqlite":
        return
    for _, _, file in connection.exec_driver_sql("PRAGMA database_list"):
        read_ahead(Path(file))
    with telling():
        (first,) = connection.exec_driver_sql("PRAGMA quick_check(1)").fetchone() or ("no answer",)
    if first != "ok":
        said = str(first).splitlines()[-1]
        raise DatabaseDamaged(why=said, hint="restore the newest backup: the file itself is damaged")


def _refuse_old_library(found: tuple[int, ...]) -> None:
    if found < SQLITE_MINIMUM:
        raise SqliteTooOld(
            found=".".join(map(str, found)),
            why=f"{'.'.join(map(str, SQLITE_MINIMUM))} is the oldest that has what the schema needs",
            hint="use a Python built with a newer SQLite, such as your distribution's current one",
        )


@contextmanager
def _folder_of(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderUnusable(
            path=home.control, why=error.strerror or str(error), hint="look at its owner and its rights"
        ) from error


def _refuse_full_disk(folder: Path, room: Callable[[Path], int]) -> None:
    free = room(folder)
    if free < ROOM_TO_START:
        raise DiskFull(
            why=f"{free // 2**20} MB are free at `{folder}`, {ROOM_TO_START // 2**20} MB are needed to start",
            hint="free some space, or set FREEHOLD_HOME to a folder on another disk",
        )


def _make_private(path: Path) -> None:
    """SQLite gives its write-ahead files the rights of the database file."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _check_and_create(database: Database, *, begun: bool) -> None:
    with telling(), database.writer_engine.connect() as connection:
        if database.is_sqlite:
            _check_file(database, connection)
        database.begin_writing(connection)  # to the commit no second process can create the same schema
        found = _found(connection)
        if found == "":
            if begun:
                raise Emptied(
                    why="the folder holds an installation, and its rows are not there",
                    hint="does `database:` in freehold.yaml name the one it was made with? else restore it",
                )
            run_steps(connection)
        else:
            _refuse_other(found)
        connection.commit()


def _check_file(database: Database, connection: sa.Connection) -> None:
    path = Path(str(database.url.database))
    if path.stat().st_size <= CHECKED_AT_OPEN:
        check_pages(connection)


def _found(connection: sa.Connection) -> str:
    """The revision in the database: empty when there is nothing in it. Raises NotOurs."""
    there = set(sa.inspect(connection).get_table_names())
    if not there:
        return ""
    if "alembic_version" not in there or "entries" not in there:
        raise NotOurs(
            path=connection.engine.url.database,
            why="it holds tables, but not those of Freehold",
            hint="name another folder with FREEHOLD_HOME",
        )
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _refuse_other(found: str) -> None:
    newest = revisions()[-1]
    if found == newest:
        return
    if found in revisions():
        raise SchemaOlder(
            found=found,
            why=f"this release works with schema {newest}",
            hint="run `freehold upgrade`: it shows the steps and makes a backup first",
        )
    raise SchemaNewer(
        found=found,
        why=f"this release works with schema {newest} and knows nothing newer",
        hint="install the release that wrote it, or restore a backup from before the upgrade",
    )


def _upgrade_of(home: Home, found: str) -> Upgrade:
    known = revisions()
    if found not in known:
        _refuse_other(found)
    steps = tuple(path.stem for path in _step_files() if path.name[:4] > found)
    ending = "db" if postgres_of(home) is None else "dump"
    backup = home.control / f"freehold-before-{known[-1]}.{ending}"
    return Upgrade(before=found, after=known[-1], steps=steps, backup=backup)


def _step_files() -> list[Path]:
    return sorted(_STEPS.glob("[0-9][0-9][0-9][0-9]_*.py"))


def run_steps(connection: sa.Connection) -> None:
    """Bring the schema to the newest revision, inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_STEPS.parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "postgresql":
        postgres.sort_by_bytes(connection)


@contextmanager
def _alone(home: Home) -> Iterator[sa.Connection]:
    """A connection that no other process of Freehold shares the database with. Raises InUse."""
    url = postgres_of(home)
    with _alone_in(home.database) if url is None else _alone_at(url) as connection:
        yield connection


@contextmanager
def _alone_at(url: sa.URL) -> Iterator[sa.Connection]:
    engine = postgres.engine(url)
    try:
        with telling(), engine.connect() as connection:
            deadline = time.monotonic() + LEAVING
            while postgres.others(connection):
                connection.rollback()  # a transaction sees the same sessions to its end
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                raise InUse(
                    path=url.database,
                    why="another session of Freehold is in it",
                    hint="stop Freehold first, on every machine that uses this database",
                )
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _alone_in(path: Path) -> Iterator[sa.Connection]:
    """In WAL mode every open connection holds a shared lock on the file, so an exclusive one is only to be
    had when Freehold does not run. Foreign keys are off, for SQLite rebuilds tables to change them.
    """
    if not path.exists():
        raise DatabaseUnusable(why=f"there is no `{path}`", hint="set FREEHOLD_HOME to the folder it is in")
    raw = sqlite3.connect(path, isolation_level=None, timeout=0.5)
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=sa.pool.StaticPool)
    try:
        with telling():
            _lock(raw, path)
            with engine.connect() as connection:
                yield connection
    finally:
        engine.dispose()
        raw.close()


def _lock(raw: sqlite3.Connection, path: Path) -> None:
    try:
        for statement in ("PRAGMA locking_mode=EXCLUSIVE", "PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"):
            raw.execute(statement)
        raw.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise InUse(
            path=path, why="another process has it open", hint="stop Freehold here first, with Ctrl-C"
        ) from error


def _back_up(connection: sa.Connection, path: Path) -> None:
    """A complete copy at `path`, 0600, durable when this returns; an older copy there is replaced."""
    half = path.with_name(f".{path.name}.half")
    half.unlink(missing_ok=True)
    os.close(os.open(half, os.O_WRONLY | os.O_CREAT, 0o600))
    copy = sqlite3.connect(half)
    try:
        source = connection.connection.dbapi_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(copy)
    finally:
        copy.close()
    os.replace(half, path)
    sync_folder(path.parent)


def _refuse_broken_references(connection: sa.Connection) -> None:
    if connection.dialect.name != "sqlite":
        return  # Postgres never looks away from them
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise DatabaseDamaged(
            why=f"a row of `{broken[0]}` names a row of `{broken[2]}` that is not there",
            hint="nothing was changed; restore the newest backup",
        )
