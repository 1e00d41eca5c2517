"""A backup while everything runs: one consistent state, sealed, as one tar made while it is sent.

The rows are copied first, by SQLite's own online backup or out of Postgres in one reading transaction
into a file of the same shape, then the keyring, then the objects: keys and objects are there before the
rows that name them, so nothing that a row names is missing. Objects never change; each is hashed while
it leaves, and one that is not what its name says ends the backup.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from freehold import __version__
from freehold.control.parts import Parts
from freehold.errors import BadInput, Conflict, NotFound, Unavailable
from freehold.ledger.record import record
from freehold.spec.ids import canonical, new_id
from freehold.spec.notes import Checkpoint, read_checkpoint
from freehold.spec.principal import Principal
from freehold.store import backed_up, postgres, tables, transfer
from freehold.store.backed_up import Statement
from freehold.store.blobs import BlobChanged
from freehold.store.home import DiskFull, Home
from freehold.store.migrate import ROOM_TO_START, revisions
from freehold.store.rows import Database, telling
from freehold.store.sealed import seal

PIECE = 1 << 20
TRIES = 3
_COPY = ".backup-"
"""How the copies begin that lie in the control folder for the moment in which they are made."""


class BackupElsewhere(BadInput):
    """this statement is of another backup"""


class KeysChanged(Unavailable):
    """keys were destroyed while the rows were copied"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What leaves: two open files that have no name any more, the sealed keys, the list of objects."""

    backup: str
    at: int
    checkpoint: Checkpoint
    note: bytes
    rows: BinaryIO
    keyring: BinaryIO
    sealed: bytes
    blobs: tuple[str, ...]
    """Digests, sorted."""

    def close(self) -> None:
        self.rows.close()
        self.keyring.close()


@dataclass(slots=True)
class _Tar:
    """Frames files and remembers what it framed."""

    at: int
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def framed(self, path: str, source: Iterable[bytes], size: int) -> Iterator[bytes]:
        info = tarfile.TarInfo(f"{backed_up.TOP}/{path}")
        info.size, info.mode, info.mtime = size, 0o600, self.at // 1_000_000
        yield info.tobuf(tarfile.PAX_FORMAT)
        hashed, left = hashlib.sha256(), size
        for piece in source:
            hashed.update(piece)
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise BlobChanged(digest=path, why="it became longer or shorter while it was read")
        yield bytes(-size % 512)
        self.files[path] = {"sha256": hashed.hexdigest(), "bytes": size}


def sweep(home: Home, *, idle_seconds: float) -> None:
    """Remove copies that a crash left: nothing else may keep rows that were changed since."""
    for left in home.control.glob(f"{_COPY}*"):
        with suppress(FileNotFoundError):  # another control may have been faster
            if left.stat().st_mtime <= time.time() - idle_seconds:
                left.unlink()


def begin(parts: Parts, by: Principal) -> Copy:
    """Copy what changes, list what does not, and record that it is about to leave.

    Raises DiskFull when the control folder does not hold a copy of the rows, KeysChanged.
    """
    parts.ground.keyring.ensure(backed_up.SEALED_BY)
    if parts.sequencer.newest() is None:
        parts.sequencer.run_once()
    note = parts.sequencer.newest() or ""
    signed = read_checkpoint(note, parts.sequencer.public)  # before the rows, which then cover it
    backup = new_id("bak")
    _record_begun(parts, by, backup, signed)
    _refuse_full(parts)
    with ExitStack() as opened:
        rows, keyring = _of_one_epoch(parts)
        opened.callback(rows.close)
        opened.callback(keyring.close)
        copy = Copy(
            backup=backup,
            at=parts.ground.clock(),
            checkpoint=signed,
            note=note.encode(),
            rows=rows,
            keyring=keyring,
            sealed=_sealed_keys(parts, backup),
            blobs=tuple(sorted(parts.ground.blobs.list())),
        )
        opened.pop_all()  # the caller closes them
        return copy


def size(parts: Parts, copy: Copy) -> int:
    """How many bytes the files have together, without the tar's own."""
    return sum(_size(opened) for opened in (copy.rows, copy.keyring)) + sum(
        (len(copy.note), len(copy.sealed), *(parts.ground.blobs.size(blob) for blob in copy.blobs))
    )


def archive(parts: Parts, copy: Copy) -> Iterator[bytes]:
    """The tar, piece by piece; the signed manifest is its last file. The caller closes the copy."""
    tar = _Tar(copy.at)
    yield from tar.framed(backed_up.DATABASE, _read(copy.rows), _size(copy.rows))
    yield from tar.framed(backed_up.KEYRING, _read(copy.keyring), _size(copy.keyring))
    yield from tar.framed(backed_up.SEALED, [copy.sealed], len(copy.sealed))
    yield from tar.framed(backed_up.CHECKPOINT, [copy.note], len(copy.note))
    for blob in copy.blobs:
        yield from _blob(parts, tar, blob)
    told = backed_up.manifest(_statement(parts, copy, tar), tar.files, parts.ground.release_key)
    yield from tar.framed(backed_up.MANIFEST, [told], len(told))
    yield bytes(2 * 512)


def made(parts: Parts, by: Principal, statement: Statement, signature: Mapping[str, Any]) -> str:
    """Record that a backup arrived whole; whoever received it shows what we signed. Returns the entry."""
    backed_up.check_signature(statement, signature, parts.ground.release_key.public_key())
    with parts.ground.db.write() as tx:
        row = _row(tx.connection, statement.backup)
        if row.state != "begun" or row.entries != statement.entries:
            raise BackupElsewhere(why=f"`{row.id}` is recorded as {row.state}", hint="make a new one")
        said = {"digest": statement.digest(), "bytes": statement.bytes}
        tx.execute(_backups.update().where(_backups.c.id == row.id).values(state="made", **said))
        detail = {"backup": row.id, **said}
        return record(tx, "backup.made", by=by, object=row.id, detail=detail)


def gone(parts: Parts, by: Principal, backup: str) -> str:
    """Record that a backup was destroyed, by the word of who says so. Returns the entry."""
    with parts.ground.db.write() as tx:
        row = _row(tx.connection, backup)
        if row.state == "gone":
            raise Conflict(what=f"`{backup}` is gone already", why="its end is recorded once")
        tx.execute(_backups.update().where(_backups.c.id == row.id).values(state="gone"))
        return record(tx, "backup.gone", by=by, object=row.id, detail={"backup": row.id})


def listed(conn: sa.Connection) -> list[dict[str, Any]]:
    """Every backup there was, newest first."""
    rows = conn.execute(sa.select(_backups).order_by(_backups.c.at.desc(), _backups.c.id.desc()))
    return [dict(row) for row in rows.mappings()]


_backups = tables.backups


def _record_begun(parts: Parts, by: Principal, backup: str, signed: Checkpoint) -> None:
    with parts.ground.db.write() as tx:
        row = {"id": backup, "actor": by.id, "state": "begun", "entries": signed.size, "at": tx.at}
        tx.execute(_backups.insert().values(**row))
        detail = {"backup": backup, "entries": signed.size}
        record(tx, "backup.begun", by=by, object=backup, detail=detail)


def _refuse_full(parts: Parts) -> None:
    home, stat = parts.home, os.statvfs(parts.home.control)
    free = stat.f_bavail * stat.f_frsize
    needed = _size_of_rows(parts) + home.keyring.stat().st_size + ROOM_TO_START
    if free < needed:
        raise DiskFull(
            why=f"a copy of the rows needs {needed >> 20} MB at `{home.control}`, {free >> 20} MB are free",
            hint="free some space",
        )


def _size_of_rows(parts: Parts) -> int:
    if parts.ground.db.is_sqlite:
        return parts.home.database.stat().st_size
    with parts.ground.db.read() as conn:
        return postgres.size(conn)


def _of_one_epoch(parts: Parts) -> tuple[BinaryIO, BinaryIO]:
    """Copies of the rows and of the keyring, between which no key was destroyed. Raises KeysChanged.

    Rows of before a forgetting beside a keyring of after it would look like a backup of after it: nobody
    would be forgotten again, and what the rows name would not open.
    """
    for _ in range(TRIES):
        before = parts.ground.keyring.epoch
        with ExitStack() as opened:
            rows = opened.enter_context(_rows(parts))
            keyring = opened.enter_context(_copied(parts.home, parts.home.keyring))
            if parts.ground.keyring.epoch == before:
                opened.pop_all()
                return rows, keyring
    raise KeysChanged(why=f"that happened {TRIES} times", hint="try again when nobody is being forgotten")


def _rows(parts: Parts) -> BinaryIO:
    """Every row in one consistent state, as a file of the embedded database."""
    if parts.ground.db.is_sqlite:
        return _copied(parts.home, parts.home.database)
    with _nameless(parts.home) as path:
        file = Database.at(path)
        try:
            transfer.fill(file, parts.ground.db)
        finally:
            file.close()
        return _whole(path)


def _copied(home: Home, database: Path) -> BinaryIO:
    """A copy of a file of the embedded database in one consistent state."""
    with _nameless(home) as path:
        with (
            telling(),
            closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
        return _whole(path)


@contextmanager
def _nameless(home: Home) -> Iterator[Path]:
    """A new file that loses its name when the block ends; whoever opened it keeps it."""
    path = home.control / f"{_COPY}{new_id('cpy')}.db"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield path
    finally:
        path.unlink()


def _whole(path: Path) -> BinaryIO:
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself
    return path.open("rb")


def _sealed_keys(parts: Parts, backup: str) -> bytes:
    (key,) = parts.ground.keyring.ensure(backed_up.SEALED_BY)
    found = {
        place: base64.b64encode(Path(path).read_bytes()).decode()
        for place, path in backed_up.own_files(parts.home).items()
        if Path(path).exists()  # freehold.yaml need not be there
    }
    return seal(key, canonical(found), backed_up.seal_place(backup))


def _blob(parts: Parts, tar: _Tar, blob: str) -> Iterator[bytes]:
    name = blob.removeprefix("sha256:")
    place = f"{backed_up.BLOBS}{name[:2]}/{name[2:]}"
    blobs = parts.ground.blobs
    yield from tar.framed(place, blobs.pieces(blob), blobs.size(blob))
    if tar.files[place]["sha256"] != name:
        raise BlobChanged(digest=blob, why="its bytes have another digest now", hint="restore it")


def _read(opened: BinaryIO) -> Iterator[bytes]:
    while piece := opened.read(PIECE):
        yield piece


def _size(opened: BinaryIO) -> int:
    return os.fstat(opened.fileno()).st_size


def _statement(parts: Parts, copy: Copy, tar: _Tar) -> Statement:
    return Statement(
        backup=copy.backup,
        origin=parts.ground.origin,
        at=copy.at,
        version=__version__,
        schema=revisions()[-1],
        entries=copy.checkpoint.size,
        root=copy.checkpoint.root.hex(),
        files=backed_up.files_digest(tar.files),
        count=len(tar.files),
        bytes=sum(about["bytes"] for about in tar.files.values()),
    )


def _row(conn: sa.Connection, backup: str) -> Any:
    row = conn.execute(sa.select(_backups).where(_backups.c.id == backup)).first()
    if row is None:
        raise NotFound(kind="backup", name=backup[:80], hint="`freehold backup --list` shows them")
    return row
