"""From a backup back to an installation: complete, checked and told in its ledger, or not there at all.

It is made in a folder beside the home, which gets the home's name by one rename at the end: until then
there is nothing that could be started. A crash before it leaves `.NAME.restoring`, which the next try
throws away. Rows are worked on in a file of that folder; where they belong on Postgres, they go there in
one transaction, the last thing before the rename.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.engine import URL

from freehold import __version__
from freehold.control.reapply import reapply
from freehold.data import carried
from freehold.errors import BadInput, Conflict, NotFound, Unavailable
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.verify import verify
from freehold.release.publish import publish_after
from freehold.release.words import setting
from freehold.spec.config import Config
from freehold.spec.ids import Clock, canonical, now
from freehold.spec.principal import SYSTEM
from freehold.spec.s3 import Place, place
from freehold.store import backed_up, s3, tables, transfer
from freehold.store.backed_up import BackupBroken, Statement
from freehold.store.backup_files import Found, copy
from freehold.store.blobs import BlobChanged, FileBlobs
from freehold.store.configured import read_config
from freehold.store.elsewhere import epoch_of, objects_of
from freehold.store.ground import Ground
from freehold.store.home import DiskFull, Home, sync_folder, write_atomically
from freehold.store.keyring import EpochKeyWrong, KeyDestroyed, Keyring
from freehold.store.migrate import ROOM_TO_START, open_database, pending, upgrade
from freehold.store.postgres import named, url_of
from freehold.store.rows import Database, Tx
from freehold.store.sealed import unseal
from freehold.store.signing import load_key_file


class HomeTaken(Conflict):
    """`{path}` is not empty"""


class KeysWrong(Unavailable):
    """the keys in `{path}` do not open this backup"""


class KeysMissing(BadInput):
    """there is no epoch key in `{path}`"""


class RowsElsewhere(BadInput):
    """where the rows are to stand is not said"""


class ObjectsElsewhere(BadInput):
    """where the objects are to lie is not said"""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The folder it is made in, and how its epoch key is opened."""

    home: Home
    config: Config

    def keyring(self) -> Keyring:
        return Keyring(self.home.keyring, epoch_of(self.home, self.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """An installation that can be started."""

    home: str
    origin: str
    backup: str
    made_at: int
    """Microseconds UTC: the moment that it shows."""
    entries: int
    """Entries of the ledger that were hashed again."""
    entry: str
    """The ledger's entry about it."""
    forgotten: int
    """Persons who are in the backup and were forgotten after it; they are not in here."""
    kept_out: tuple[str, ...] | None
    """Readmissions after the backup, by reference: whom they were for is kept out again. None: not known."""


def restore(
    source: Path | Place, home: Home, keys: Path, config: Path | None = None, clock: Clock = now
) -> Restored:
    """Make the installation of the backup `source` in `home`, which must be empty or not there.

    `keys` is a folder with the current epoch key, and the current keyring where keys were destroyed since.
    `config` becomes the home's freehold.yaml in the place of the one in the backup: its `database:` names
    an empty database, where rows are to stand on Postgres, its `objects:` a place in S3, its `hsm:` what
    opens the epoch key. Raises HomeTaken, KeysMissing, KeysWrong, CarriedMissing, RowsElsewhere,
    ObjectsElsewhere, NotEmpty, NotFound, BackupBroken, SignatureWrong, DiskFull, LedgerChanged, ObjectsAway.
    """
    refuse_taken(home.root)
    epoch = _epoch(keys)
    said = said_in(config) if config else None
    if said and said.rows:
        refuse_filled(said.rows)
    staging = Home(home.root.with_name(f".{home.root.name}.restoring"))
    shutil.rmtree(staging.root, ignore_errors=True)
    _refuse_full(source, home.root)
    try:
        staging.create()
        found = copy(source, staging.control)
        opened = _Opened(staging, said.config if said else Config())
        since = _place_keys(opened, found, keys, epoch)
        said = said or _said_then(staging)
        staging.config.unlink(missing_ok=True)  # until the end everything is in the folder
        entry, forgotten, kept_out = _open(opened, found.statement, keys, since, clock)
        verdict = verify(staging)
        verdict.raise_if_broken()
        place_objects(staging, said)
        place_rows(staging, said)
        finish(staging, home, found.statement.origin)
    except BaseException:
        shutil.rmtree(staging.root, ignore_errors=True)
        raise
    return Restored(
        home=str(home.root),
        origin=found.statement.origin,
        backup=found.statement.backup,
        made_at=found.statement.at,
        entries=verdict.entries,
        entry=entry,
        forgotten=forgotten,
        kept_out=kept_out,
    )


# -- before anything is written -----------------------------------------------------------------------


def refuse_taken(root: Path) -> None:
    """Raise HomeTaken unless there is nothing."""
    if root.is_dir() and not any(root.iterdir()):
        return
    if root.exists():
        raise HomeTaken(
            path=root,
            why="a backup is restored into an empty home: what is there would be neither old nor new",
            hint="move that folder away and keep it, or name another with --home",
        )


def _epoch(keys: Path) -> bytes:
    try:
        return (keys / "epoch.key").read_bytes()
    except OSError as error:
        raise KeysMissing(
            path=keys,
            why=f"epoch.key: {error.strerror}",
            hint="name the folder where you keep its copy; no backup holds it",
        ) from error


def _size(source: Path | Place) -> int:
    """Of all its files. Raises NotFound."""
    if isinstance(source, Place):
        size = s3.size(source.folder, source.name)
    elif source.exists():
        files = source.rglob("*") if source.is_dir() else [source]
        size = sum(path.stat().st_size for path in files if path.is_file())
    else:
        size = None
    if size is None:
        raise NotFound(kind="backup", name=str(source), hint="name the folder or file that was written")
    return size


def _refuse_full(source: Path | Place, root: Path) -> None:
    needed = _size(source) + ROOM_TO_START
    parent = root.parent
    parent.mkdir(parents=True, exist_ok=True)
    stat = os.statvfs(parent)
    free = stat.f_bavail * stat.f_frsize
    if free < needed:
        raise DiskFull(
            why=f"the backup needs {needed >> 20} MB at `{parent}`, {free >> 20} MB are free",
            hint="free some space, or name a home on another disk",
        )


# -- where the rows are to stand ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """A freehold.yaml, and the Postgres that it names."""

    text: bytes
    config: Config
    rows: URL | None


def said_in(path: Path) -> Said:
    """What a freehold.yaml says. Raises what reading it raises."""
    config = read_config(path)
    return Said(path.read_bytes(), config, url_of(config.database) if config.database else None)


def _said_then(staging: Home) -> Said | None:
    """The freehold.yaml of the backup. Raises RowsElsewhere, ObjectsElsewhere: what it names may be used."""
    if not staging.config.exists():
        return None
    said = said_in(staging.config)
    if said.rows:
        raise RowsElsewhere(
            why=f"the backup is of an installation on Postgres, {named(said.rows)}",
            hint="name a freehold.yaml with --config: with `database:` of an empty one, or without",
        )
    if said.config.objects:
        raise ObjectsElsewhere(
            why=f"the backup is of an installation with its objects in {place(said.config.objects)}",
            hint="name a freehold.yaml with --config: with that `objects:` to go on there, or another",
        )
    return said


def refuse_filled(rows: URL) -> None:
    """Raise NotEmpty when the Postgres holds anything."""
    with closing(Database(rows)) as target:
        transfer.refuse_filled(target)


def place_objects(staging: Home, said: Said | None) -> None:
    """Objects where the freehold.yaml says. What a try that broke off left there is the same objects."""
    if said is None or not said.config.objects:
        return
    files, target = FileBlobs(staging.blobs), objects_of(staging, said.config)
    for digest in files.list():
        if target.put_file(files.path(digest)) != digest:
            raise BlobChanged(digest=digest, why="its bytes have another digest now", hint="try again")
    shutil.rmtree(staging.blobs)
    staging.blobs.mkdir(mode=0o700)


def place_rows(staging: Home, said: Said | None) -> None:
    """The freehold.yaml, and the rows where it says."""
    if said is None:
        return
    if said.rows:
        with closing(Database(said.rows)) as target, closing(Database.at(staging.database)) as made:
            transfer.fill(target, made)
        staging.database.unlink()
    write_atomically(staging.config, said.text)


# -- keys ---------------------------------------------------------------------------------------------


def _place_keys(opened: _Opened, found: Found, keys: Path, epoch: bytes) -> bool:
    """The current keyring, and with it the installation's own keys, each where it belongs.

    Whether keys were destroyed since, as a forgetting does: it changes the epoch key, and then the backup's
    own copy of the keyring opens no more.
    """
    staging = opened.home
    write_atomically(staging.epoch_key, epoch)
    keyring, since = _keyring(opened, keys)
    try:
        key = keyring.key(backed_up.SEALED_BY)
    except KeyDestroyed as error:
        raise KeysWrong(path=keys, why="its keyring is of another installation") from error
    finally:
        keyring.close()
    sealed = staging.control / backed_up.SEALED
    own = json.loads(unseal(key, sealed.read_bytes(), backed_up.seal_place(found.statement.backup)))
    for path, text in own.items():
        write_atomically(staging.root / path, base64.b64decode(text))
    backed_up.check_signature(
        found.statement, found.signature, load_key_file(staging.release_key).public_key()
    )
    sealed.unlink()
    (staging.control / backed_up.MANIFEST).unlink()
    return since


def _keyring(opened: _Opened, keys: Path) -> tuple[Keyring, bool]:
    current = keys / opened.home.keyring.name
    later = _taken(opened, current) if current.is_file() else None
    try:
        keyring = opened.keyring()
    except EpochKeyWrong as error:
        if later is None:
            raise KeysWrong(
                path=keys,
                why="this epoch key is not the one of the backup, and no keyring.db is beside it",
                hint="after a forgetting it takes epoch.key, keyring.db and forgotten, all of after it",
            ) from error
        later.replace(opened.home.keyring)
        return opened.keyring(), True
    if later:
        later.unlink()
    return keyring, False


def _taken(opened: _Opened, current: Path) -> Path:
    """A copy of the current keyring. Raises KeysWrong where the epoch key beside it does not open it.

    The epoch key of then opens a backup by itself, as if nobody had been forgotten since: a keyring of
    another time beside it says that it is not today's.
    """
    copied, journal = (opened.home.control / name for name in ("current.db", "current.db-journal"))
    if (written := current.with_name(f"{current.name}-journal")).is_file():
        shutil.copyfile(written, journal)  # first: by it a change that broke off is taken back whole
    shutil.copyfile(current, copied)
    copied.chmod(0o600)
    try:
        Keyring(copied, epoch_of(opened.home, opened.config)).close()
        journal.unlink(missing_ok=True)
    except EpochKeyWrong as error:
        raise KeysWrong(
            path=current.parent,
            why="epoch.key and keyring.db are not of one time",
            hint=_what_then(current.parent),
        ) from error
    return copied


def _what_then(keys: Path) -> str:
    if (keys / "epoch.key.next").exists():
        return "it was changing its epoch key when it stopped: start that installation once, then try again"
    return "take epoch.key, keyring.db and forgotten from the same moment"


# -- rows and ledger ----------------------------------------------------------------------------------


def _open(
    opened: _Opened, statement: Statement, keys: Path, destroyed: bool, clock: Clock
) -> tuple[str, int, tuple[str, ...] | None]:
    """Bring the rows to this release, tell the ledger, forget again.

    Returns the entry's id, how many persons were forgotten again, and `carried.kept_out`. `keys` is where
    it stands who was forgotten since, if keys were `destroyed`.
    """
    staging = opened.home
    if pending(staging).steps:
        plan = upgrade(staging, _record_upgrade, clock)
        plan.backup.unlink()  # the backup that we are reading is the copy from before
    database = open_database(staging, clock)
    keyring = opened.keyring()
    try:
        with database.read() as conn:
            origin = setting(conn, "origin")
        if origin != statement.origin:
            raise BackupBroken(name=statement.backup, why=f"its rows are of `{origin}`")
        ground = Ground(
            db=database,
            keyring=keyring,
            blobs=FileBlobs(staging.blobs),
            release_key=load_key_file(staging.release_key),
            origin=origin,
            clock=clock,
        )
        since = carried.read(keys, keyring) if destroyed else None
        with database.read() as conn:  # before anybody is forgotten again, for that changes the epoch key
            kept_out = carried.kept_out(conn, keys, keyring)
        entry = _tell(ground, statement, len(since.forgettings) if since else 0)
        forgotten = reapply(ground, keys, since) if since else 0
        key: Ed25519PrivateKey = load_key_file(staging.ledger_key)
        Sequencer(database, staging.ledger, key, origin).run_once()
        return entry, forgotten, kept_out
    finally:
        keyring.close()
        database.close()


def _tell(ground: Ground, statement: Statement, forgotten: int) -> str:
    detail = {"backup": statement.backup, "entries": statement.entries, "root": statement.root}
    with ground.db.write() as tx:
        tx.execute(tables.sessions.delete())  # who was signed in then may have been locked since
        entry = record(
            tx,
            "installation.restored",
            by=SYSTEM,
            object=statement.origin,
            detail={**detail, "made_at": statement.at, "forgotten": forgotten},
        )
        publish_after(tx, ground, by=SYSTEM, made_at=statement.at)
        return entry


def _record_upgrade(tx: Tx, before: str, after: str) -> None:
    detail = {"before": before, "after": after}
    record(tx, "installation.upgraded", by=SYSTEM, object="schema", detail=detail)


# -- the end ------------------------------------------------------------------------------------------


def finish(staging: Home, home: Home, origin: str) -> None:
    """Everything durable, then one rename. If we crash before it there is no installation."""
    write_atomically(staging.installation, canonical({"origin": origin, "version": __version__}))
    os.sync()
    staging.root.rename(home.root)  # an empty folder of that name is replaced
    sync_folder(home.root.parent)
