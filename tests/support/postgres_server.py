"""A Postgres of the tests' own: made when first needed, never shared, gone with the session.

With `FREEHOLD_TEST_DATABASE=postgres` (`make test DATABASE=postgres`) every home folder that a test makes
has one line in its freehold.yaml, `database: …`, and a database of its own behind it; without, only the
tests that ask for one have. The server refuses root, so root starts it as somebody else.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa
from ports import free_port

from freehold.store import tables
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.place import rows_of
from freehold.store.rows import Database

EVERYWHERE = os.environ.get("FREEHOLD_TEST_DATABASE", "") == "postgres"
"""Whether each home of the suite stands on Postgres."""

embedded = pytest.mark.skipif(EVERYWHERE, reason="it is about the file of the embedded database")

_NAMES = itertools.count(1)
_MADE: dict[str, Path] = {}
"""Database -> the folder of the home it belongs to."""
_LIKE_NEW: set[str] = set()
"""Databases that can be emptied and given to the next home: making one takes a quarter of a second."""
_FREE: list[str] = []


class Server:
    """One server: local connections are trusted, those over TCP need a password."""

    def __init__(self, programs: Path, of: Server | None = None) -> None:
        """Started, and empty; or a standby of another one, which then streams to it."""
        self.programs = programs
        self.root = Path(tempfile.mkdtemp(prefix="freehold-postgres-"))
        self.user = _somebody()
        if os.geteuid() == 0:
            os.chown(self.root, pwd.getpwnam(self.user).pw_uid, pwd.getpwnam(self.user).pw_gid)
        self.port = free_port()
        data = f"--pgdata={self.root}/data"
        if of is None:
            self._run("initdb", data, "--username=freehold", "--encoding=UTF8", *_ORDER)
            (self.root / "data" / "pg_hba.conf").write_text(_MAY)
        else:
            where = (f"--host={of.root}", f"--port={of.port}", "--username=freehold")
            self._run(
                "pg_basebackup", data, *where, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"
            )
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {**_FAST, "port": self.port, "unix_socket_directories": f"'{self.root}'"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._ctl("start", "-o", options, "-l", f"{self.root}/log")

    def stop(self, how: str = "fast") -> None:
        """Stop it; `immediate` is what a crash is like."""
        self._ctl("stop", "-m", how)

    def promote(self) -> None:
        """A standby becomes the one that is written to."""
        self._ctl("promote")

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, database: str) -> str:
        """As it stands in freehold.yaml."""
        return f"postgresql://freehold@/{database}?host={self.root}&port={self.port}"

    def sql(self, command: str, database: str = "postgres") -> str:
        """Run a command as the server's owner, and return the rows as text."""
        import psycopg

        address = f"host={self.root} port={self.port} user=freehold dbname={database}"
        with psycopg.connect(address, autocommit=True) as connection:
            found = connection.execute(command.encode())
            return "\n".join(str(row[0]) for row in found) if found.description else ""

    def _ctl(self, *words: str) -> None:
        self._run("pg_ctl", "-w", "-t", "30", "-s", "-D", f"{self.root}/data", *words)

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.programs / program), *words]
        is_root = os.geteuid() == 0
        with (self.root / "said").open("a") as said:
            subprocess.run(
                command,
                cwd=self.root,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                user=self.user if is_root else None,
                group=pwd.getpwnam(self.user).pw_gid if is_root else None,
                extra_groups=[] if is_root else None,
                check=True,
            )


_MAY = """\
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
"""
_ORDER = ("--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8", "--auth=trust", "--no-sync")
"""A language's order, as most servers have it: what depends on another has to say so."""
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "256MB",
}


def _somebody() -> str:
    """Whom root starts it as."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _programs() -> Path | None:
    """Where the server's programs are: Debian keeps them off the path, a folder a release."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[4]), reverse=True
    )
    return folders[0].parent if folders else None


@cache
def _started() -> Server | str:
    programs = _programs()
    if programs is None:
        return "this machine has no postgres"
    try:
        return Server(programs)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"postgres does not start here: {error}"


def server() -> Server:
    """The session's server; skips where there is none."""
    started = _started()
    if isinstance(started, str):
        pytest.skip(started)
    return started


@contextmanager
def pair() -> Iterator[tuple[Server, Server]]:
    """Two servers of this block's own: one that is written to, and a standby of it."""
    server()  # skips where there is none
    programs = _programs()
    assert programs is not None
    with ExitStack() as running:
        primary = Server(programs)
        running.callback(primary.remove)
        standby = Server(programs, of=primary)
        running.callback(standby.remove)
        yield primary, standby


def end() -> None:
    """Stop and remove what was started."""
    if _started.cache_info().currsize and isinstance(started := _started(), Server):
        started.remove()
    _started.cache_clear()


@cache
def ready() -> str:
    """A database with the schema of this release, to be copied: that is faster than making it each time."""
    name = new_database()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "fh")
        _settle(home, name)
        home.control.mkdir()
        open_database(home).close()
    del _MADE[name]
    return name


def new_database(*, like: str = "template0") -> str:
    """A fresh one, empty or a copy; its name."""
    name = f"freehold_{next(_NAMES)}"
    server().sql(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
    return name


def settle(home: Home, *, empty: bool = False) -> str:
    """Give a home the one line of freehold.yaml, and a database of its own; its name."""
    if empty:
        name = new_database()
    else:
        name = _FREE.pop() if _FREE else new_database(like=ready())
        _LIKE_NEW.add(name)
    _settle(home, name)
    return name


def prepare(root: Path) -> None:
    """For a home folder that another process will make: its line and its database, in this mode."""
    home = Home(root)
    said = home.config.read_text() if home.config.exists() else ""
    if EVERYWHERE and not database_of(home) and "database:" not in said:
        settle(home, empty=True)


def _settle(home: Home, name: str) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    others = [] if not home.config.exists() else home.config.read_text().splitlines()
    kept = [line for line in others if not line.startswith("database:")]
    home.config.write_text("\n".join([*kept, f'database: "{server().url(name)}"']) + "\n")
    _MADE[name] = home.root


def config_for(folder: Path) -> Path | None:
    """A freehold.yaml in `folder` for an installation that something else makes, in this mode."""
    return new_config(folder) if EVERYWHERE else None


def new_config(folder: Path) -> Path:
    """A freehold.yaml in `folder` that names an empty database."""
    name = new_database()
    path = folder / f"{name}.yaml"
    path.write_text(f'database: "{server().url(name)}"\n')
    _MADE[name] = path
    return path


def is_empty(config: Path) -> bool:
    """Whether there is no table in the database that a freehold.yaml of ours names."""
    name = next(name for name, root in _MADE.items() if root == config)
    return server().sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "0"


def database_of(home: Home) -> str:
    """The database behind a home; empty when it has a file."""
    return next((name for name, root in _MADE.items() if root == home.root), "")


def copied(home: Home, root: Path, *, living: bool = False) -> Home:
    """A home and its database once more. Nobody may be connected to it, but where it is `living`."""
    shutil.copytree(home.root, root)
    copy = Home(root)
    if name := database_of(home):
        _settle(copy, _dumped(name) if living else new_database(like=name))
    return copy


def _dumped(name: str) -> str:
    """A copy of a database while others are connected to it; its name."""
    to, told = new_database(), server()
    to_it = ("--host", str(told.root), "--port", str(told.port), "--username", "freehold")
    dump = str(told.root / f"{to}.dump")
    told._run("pg_dump", *to_it, "--format=custom", "--file", dump, name)
    told._run("pg_restore", *to_it, "--exit-on-error", "--dbname", to, dump)
    return to


@contextmanager
def past_us(where: Home | Database) -> Iterator[sa.Connection]:
    """A transaction that goes past Freehold, as somebody with the database's own tools could.

    It minds no foreign keys and needs no entry.
    """
    database = rows_of(where) if isinstance(where, Home) else Database(where.url)
    try:
        with database.writer_engine.connect() as connection:
            connection.exec_driver_sql(
                "PRAGMA foreign_keys=OFF" if database.is_sqlite else "SET session_replication_role = replica"
            )
            yield connection
            connection.commit()
    finally:
        database.writer_engine.dispose()


def drop_below(folder: Path) -> None:
    """The databases of homes in a folder go with it, or are emptied for the next home."""
    for name in [name for name, root in _MADE.items() if root.is_relative_to(folder)]:
        server().sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        if name in _LIKE_NEW and _emptied(name):
            _FREE.append(name)
        else:
            server().sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        del _MADE[name]


def _emptied(name: str) -> bool:
    """Whether every row could be taken out of a database whose tables are as we made them."""
    if server().sql(_STATE, name) != server().sql(_STATE, ready()):
        return False
    deletes = "; ".join(f'DELETE FROM "{table.name}"' for table in tables.metadata.sorted_tables)
    server().sql(f"SET session_replication_role = replica; {deletes}", name)
    return True


_STATE = """
SELECT (SELECT version_num FROM alembic_version) || ' ' || count(*) || ' ' || max(ordinal_position)
FROM information_schema.columns WHERE table_schema = 'public'
"""


@contextmanager
def everywhere() -> Iterator[None]:
    """While this lasts, each home folder that is made has its line and its database."""
    made_before = Home.create

    def create(home: Home) -> None:
        made_before(home)
        if home.root.parent.name.startswith("freehold-doctor-"):
            return  # the house that `freehold doctor` proves in stands on a file everywhere
        if not database_of(home) and not (home.config.exists() and "database:" in home.config.read_text()):
            settle(home)

    Home.create = create  # type: ignore[method-assign]
    try:
        yield
    finally:
        Home.create = made_before  # type: ignore[method-assign]
