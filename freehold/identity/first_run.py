"""The first run: folders, keys, schema and the first administrator; and the way back when that key is lost.

A mark is written first and another one last. Between the two a crash leaves a beginning, and the next
start throws it away and begins again: nobody had a key to it yet. Without either mark a folder that
holds a database is not ours to touch.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from freehold import __version__
from freehold.errors import Conflict, NotFound
from freehold.identity import keys, people
from freehold.identity.keys import NewKey
from freehold.identity.people import Person
from freehold.ledger.record import record
from freehold.spec.config import Config
from freehold.spec.ids import Clock, canonical, check_name, now
from freehold.spec.principal import INSTALLATION, SYSTEM
from freehold.store import hpke, migrate, signing
from freehold.store.elsewhere import epoch_of
from freehold.store.home import Home, sync_folder, write_atomically
from freehold.store.lock import alone
from freehold.store.migrate import open_database
from freehold.store.postgres import named
from freehold.store.rows import Database, Tx
from freehold.store.tables import settings

FIRST_ADMINISTRATOR = "administrator@localhost"


class InstallationExists(Conflict):
    """`{path}` holds an installation already"""


class NotABeginning(Conflict):
    """`{path}` holds parts of an installation that this run did not begin"""


class DatabaseTaken(Conflict):
    """the database {database} holds another installation"""


class NoInstallation(NotFound):
    """there is no installation in `{path}`"""


class NotAnAdministrator(NotFound):
    """there is no administrator with this address"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """What a new installation has to tell its owner, once."""

    home: Path
    origin: str
    """The installation's name, the origin line of its ledger checkpoints."""
    administrator: str
    administrator_key: str = field(repr=False)
    """The only copy: whoever reads this is the first administrator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A new key for an administrator who lost theirs."""

    administrator: str
    administrator_key: str = field(repr=False)
    voided: tuple[str, ...]
    """The keys that no longer sign in: a lost key may have been found."""


def needed(home: Home) -> bool:
    """Whether the installation in `home` has yet to be made, or made again after a crash."""
    return not home.installation.exists()


def create(
    home: Home, config: Config, *, administrator: str = FIRST_ADMINISTRATOR, clock: Clock = now
) -> FirstRun:
    """Make an installation in `home`; the caller holds the lock of its control folder.

    Killed in the middle, it is complete or begins again. Raises FolderUnusable, InstallationExists,
    NotABeginning, DatabaseTaken, BadName for the site, BadAddress, and what `open_database` raises.
    """
    origin = f"freehold.{check_name(config.site, 'site')}/{secrets.token_hex(4)}"
    home.create()
    origin = _begin(home, origin)
    write_keys(home, config)
    database = open_database(home, clock)
    try:
        _begin_in(database, origin)
        with database.write() as tx:
            person, key, borders = _populate(tx, home, origin, administrator)
    finally:
        database.close()
    for path, border in borders:
        write_atomically(path, border.text.encode())
    _finish(home, origin)
    return FirstRun(home=home.root, origin=origin, administrator=person.email, administrator_key=key.text)


def recover(home: Home, *, administrator: str | None = None, clock: Clock = now) -> Recovered:
    """Give an administrator of the installation a new key, void their old ones, and record it.

    It is for whoever may read the control folder on the host, while control is stopped: only one process
    opens the database. Without `administrator` it is the longest-standing one. Raises NoInstallation,
    AlreadyRunning, NotAnAdministrator.
    """
    if needed(home):
        raise NoInstallation(
            path=home.root, hint="set FREEHOLD_HOME to its folder, or begin with `freehold up`"
        )
    with alone(home.control):
        database = open_database(home, clock)
        try:
            with database.write() as tx:
                return reissue(tx, administrator_of(tx, administrator))
        finally:
            database.close()


def _begin(home: Home, origin: str) -> str:
    """Throw away what a run left that was killed, and go on under the name it had; else under `origin`."""
    if home.installation.exists():
        raise InstallationExists(
            path=home.root, why="its first run is complete", hint="`freehold up` starts it"
        )
    left = [path for path in _made(home) if path.exists()]
    if left and not home.beginning.exists():
        raise NotABeginning(
            path=home.root,
            why=f"`{left[0]}` is there, and `{home.installation.name}` is not",
            hint="restore the whole folder from a backup, or choose an empty one with FREEHOLD_HOME",
        )
    begun = home.beginning.read_text() if home.beginning.exists() else ""
    origin = begun or origin
    write_atomically(home.beginning, origin.encode())
    for path in left:
        path.unlink()
    return origin


def _begin_in(database: Database, origin: str) -> None:
    """A database that is not in the folder may hold rows: of this very run, begun before, or of others."""
    with database.read() as conn:
        found = conn.scalar(sa.select(settings.c.value).where(settings.c.name == "origin"))
    if found == origin:
        migrate.begin_again(database)
    elif found is not None:
        raise DatabaseTaken(
            database=named(database.url),
            why="the folder of this one is new",
            hint="name an empty one with `database:`, or the installation's own folder with FREEHOLD_HOME",
        )


def _made(home: Home) -> Iterator[Path]:
    """Every file a first run writes between its two marks."""
    for database in (home.database, home.keyring):
        for suffix in ("", "-wal", "-shm", "-journal"):
            yield database.with_name(database.name + suffix)
    yield from (home.epoch_key, home.ledger_key, home.release_key, home.spool_key, home.gateway_pub)
    yield from (home.release_pub, home.gateway_key, home.gateway_border, home.worker_border)


def write_keys(home: Home, config: Config) -> None:
    """Everything 0600; the public halves too, for nobody else has any business here."""
    epoch_of(home, config).create()
    signing.new_key_file(home.ledger_key)
    release = signing.new_key_file(home.release_key)
    write_atomically(home.release_pub, release.public_key().public_bytes_raw())
    hpke.new_key_file(home.spool_key)
    hpke.new_key_file(home.gateway_key, home.gateway_pub)


def _populate(
    tx: Tx, home: Home, origin: str, administrator: str
) -> tuple[Person, NewKey, list[tuple[Path, NewKey]]]:
    """The first rows, in one transaction with their entries."""
    said = {
        "origin": origin,
        "spool_key": base64.b64encode(hpke.public_of(home.spool_key.read_bytes())).decode(),
        "gateway_key": base64.b64encode(home.gateway_pub.read_bytes()).decode(),
    }
    for name, value in said.items():
        tx.execute(settings.insert().values(name=name, value=value))
    detail = {"origin": origin, "version": __version__}
    record(tx, "installation.created", by=SYSTEM, object=origin, detail=detail)
    person = people.add(tx, by=SYSTEM, email=administrator, roles=[(INSTALLATION, "administrator")])
    key = keys.create(tx, by=SYSTEM, owner=person.id, zone="control", label="first")
    gateway = keys.create(tx, by=SYSTEM, owner="gateway", zone="border", label="gateway")
    worker = keys.create(tx, by=SYSTEM, owner="worker", zone="border", label="worker")
    return person, key, [(home.gateway_border, gateway), (home.worker_border, worker)]


def _finish(home: Home, origin: str) -> None:
    """If we crash before the rename, the next start begins again; after it, the installation stands."""
    write_atomically(home.installation, canonical({"origin": origin, "version": __version__}))
    home.beginning.unlink()
    sync_folder(home.control)


def administrator_of(tx: Tx, address: str | None) -> Person:
    """The administrator of that address, or the longest-standing one. Raises NotAnAdministrator."""
    known = people.administrators(tx.connection)
    if address is None and known:
        return known[0]
    for person in known:
        if address is not None and address.strip().lower() in (person.email, person.id):
            return person
    raise NotAnAdministrator(why="only an administrator of the whole installation is recovered")


def reissue(tx: Tx, person: Person) -> Recovered:
    """A new control key for an administrator, in the place of all they had."""
    people.unlock(tx, by=SYSTEM, person=person)
    voided = keys.revoke_all(tx, by=SYSTEM, owner=person.id, zones=["control"])
    key = keys.create(tx, by=SYSTEM, owner=person.id, zone="control", label="recovered")
    record(tx, "installation.recovered", by=SYSTEM, object=person.id, detail={"key": key.id})
    return Recovered(administrator=person.email, administrator_key=key.text, voided=voided)
