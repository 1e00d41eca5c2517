"""Files that clients bring: sealed while they arrive, under a key of their run or logged model.

Nothing in clear touches the disk. A path is `EXPERIMENT/RUN/artifacts/…` or
`EXPERIMENT/models/MODEL/artifacts/…`, as MLflow writes them; what stands in a row is its HMAC and the
sealed path. Files that a registered version names, and those of a model that is ready, do not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound, Refused
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.home import DiskFull
from freehold.store.keyring import KeyDestroyed, Keyring
from freehold.store.rows import Tx
from freehold.store.sealed import derive, seal, unseal
from freehold.store.sealed_pieces import Sealing
from freehold.store.sealed_pieces import opened as opened_pieces
from freehold.store.tables import (
    mlflow_artifacts,
    mlflow_experiments,
    mlflow_models,
    mlflow_registered,
    mlflow_uploads,
    mlflow_versions,
)
from freehold.track import names, runs, words
from freehold.track.foreign import pickled

SPARE = 1 << 30
"""Bytes that stay free on the disk."""
LONGEST_PATH = 500
SCRATCH = "track-"
"""How folders begin in which files arrive and leave."""

_FOLDER = re.compile(r"(?P<experiment>[\w-]+)/(models/(?P<model>[\w-]+)|(?P<run>[\w-]+))/artifacts(/|$)")
_A, _V, _L = mlflow_artifacts.c, mlflow_versions.c, mlflow_models.c


class PathUnusable(BadInput):
    """`{path}` is no path for a file here"""


class FileFixed(Conflict):
    """`{path}` does not change any more"""


class FileForgotten(Refused):
    """`{path}` was forgotten"""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place below the files of a run or a logged model."""

    experiment: str
    of: str
    is_model: bool
    path: str
    """Empty for all of it."""

    @property
    def uri(self) -> str:
        """As MLflow writes it."""
        folder = f"models/{self.of}" if self.is_model else self.of
        return f"mlflow-artifacts:/{self.experiment}/{folder}/artifacts" + (self.path and f"/{self.path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder in a listing."""

    path: str
    """Below the files of its run or model."""
    is_dir: bool
    bytes: int | None = None
    pickled: bool = False
    blob: str = ""


def spot(text: str) -> Spot:
    """A path of the wire taken apart. Raises PathUnusable."""
    found = _FOLDER.match(text)
    if found is None:
        raise PathUnusable(
            path=text[:120],
            why="files belong to a run or a logged model",
            hint="log them with an MLflow client",
        )
    path = _checked(text[found.end() :].strip("/"))
    model = found["model"]
    return Spot(found["experiment"], model or found["run"], model is not None, path)


def _checked(path: str) -> str:
    parts = path.split("/") if path else []
    if len(path) > LONGEST_PATH or any(part in ("", ".", "..") for part in parts) or "\\" in path:
        raise PathUnusable(
            path=path[:120], why=f"plain names joined by `/`, {LONGEST_PATH} characters at most"
        )
    return names.check(path, "a file", LONGEST_PATH) if path else ""


def project_of(conn: sa.Connection, place: Spot) -> str:
    """The project a place belongs to. Raises NotFound."""
    if not place.is_model:
        found = runs.head(conn, place.of)
        experiment, project = found.experiment, found.project
    else:
        query = sa.select(_L.experiment, mlflow_experiments.c.project).join(
            mlflow_experiments, mlflow_experiments.c.id == _L.experiment
        )
        row = conn.execute(query.where(_L.id == place.of)).first()
        if row is None:
            raise NotFound(kind="logged model", name=place.of[:80])
        experiment, project = row.experiment, row.project
    if experiment != place.experiment:
        raise NotFound(kind="file", name=place.uri[:200])
    return str(project)


# -- arriving -----------------------------------------------------------------------------------------


class Arriving:
    """A file on its way in. Feed it, then `finish`; `close` in any case."""

    def __init__(self, ground: Ground, project: str, place: Spot, folder: Path) -> None:
        if not place.path:
            raise PathUnusable(path=place.uri, why="a file has a name")
        self._ground = ground
        self._spot = place
        self._called = names.called(ground.keyring, project, "path", place.path)
        self._key = ground.keyring.key(words.key_name(place.of))
        self._sealed = folder / f"{SCRATCH}{secrets.token_hex(8)}"
        self._file: BinaryIO = os.fdopen(
            os.open(self._sealed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        )
        about = _about(place.of, self._called)
        self._sealing = Sealing(derive(self._key, "files"), about, self._file.write)
        # half of what is free: the sealed file is kept a second time before this one goes
        self._most = max(0, shutil.disk_usage(folder).free - SPARE) // 2

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises DiskFull before the disk is."""
        if self._sealing.bytes + len(data) > self._most:
            raise DiskFull(why="there is no room for this file", hint="free some space")
        self._sealing.feed(data)

    def finish(self, by: Principal) -> None:
        """Keep it, in place of what was there. Raises FileFixed, RunDeleted."""
        self._sealing.finish()
        self._file.close()
        ground, place, blob = self._ground, self._spot, _digest_of(self._sealed)
        with ground.db.write() as tx:  # noted first, so that a crash from here on leaves nothing behind
            _refuse_fixed(tx, place, self._called)
            tx.execute(mlflow_uploads.insert().values(blob=blob, created_at=tx.at))
        try:
            ground.blobs.put_file(self._sealed)
            _swap(ground, by, place, self._called, self._row(blob))
        except BaseException:
            _drop(ground, [blob])
            raise

    def _row(self, blob: str) -> dict[str, Any]:
        path = self._spot.path
        return {
            "of": self._spot.of,
            "called": self._called,
            "path": seal(derive(self._key, "paths"), path.encode(), self._spot.of.encode()),
            "blob": blob,
            "bytes": self._sealing.bytes,
            "pickled": pickled(path, self._sealing.head),
        }

    def close(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._sealed.unlink(missing_ok=True)


def _swap(ground: Ground, by: Principal, place: Spot, called: str, row: Mapping[str, Any] | None) -> None:
    """Put a file's row in place of the one before; none takes it away. The old bytes go last."""
    where = (_A.of == place.of, _A.called == called)
    with ground.db.write() as tx:
        _refuse_fixed(tx, place, called)
        now = None if place.is_model else runs.opened(tx, place.of)
        old = tx.connection.scalar(sa.select(_A.blob).where(*where))
        tx.execute(mlflow_artifacts.delete().where(*where))
        if row is not None:
            tx.execute(mlflow_artifacts.insert().values(**row, created_at=tx.at))
            tx.execute(mlflow_uploads.delete().where(mlflow_uploads.c.blob == row["blob"]))
        elif old is None:
            raise NotFound(kind="file", name=place.uri[:200])
        if old is not None:  # noted until it is gone, so that a crash here leaves nothing behind
            tx.execute(mlflow_uploads.insert().values(blob=old, created_at=tx.at))
        if now is not None:
            runs.changed(tx, by, now)
    if old is not None:
        _drop(ground, [old])


def delete(ground: Ground, *, by: Principal, project: str, place: Spot) -> None:
    """Remove a file for good. Raises NotFound, FileFixed, RunDeleted."""
    _swap(ground, by, place, names.called(ground.keyring, project, "path", place.path), None)


def _refuse_fixed(tx: Tx, place: Spot, called: str) -> None:
    if place.is_model:
        row = tx.execute(sa.select(_L.state, _L.deleted_at).where(_L.id == place.of).with_for_update()).one()
        if row.state != "pending" or row.deleted_at is not None:
            state = "deleted" if row.deleted_at is not None else row.state
            raise FileFixed(
                path=place.path, why=f"the model {place.of} is {state}", hint="log another model instead"
            )
    query = sa.select(_V.files, _V.version).join(mlflow_registered, mlflow_registered.c.id == _V.registered)
    for row in tx.execute(query.where(_V.of == place.of, _V.deleted_at.is_(None))):
        if any(named == called for named, *_ in json.loads(row.files)):
            raise FileFixed(path=place.path, why=f"version {row.version} of a registered model names it")


def _drop(ground: Ground, blobs: list[str]) -> None:
    for blob in blobs:
        ground.blobs.delete(blob)
    with ground.db.write() as tx:
        tx.execute(mlflow_uploads.delete().where(mlflow_uploads.c.blob.in_(blobs)))


def sweep(ground: Ground, folder: Path, *, idle_seconds: int = 0) -> int:
    """Take away what uploads left that died with their process; how many objects that was.

    At the start of the only control process every one that is noted is dead. Where several run, pass an
    `idle_seconds` longer than any upload takes.
    """
    if not idle_seconds:
        for left in folder.glob(f"{SCRATCH}*"):
            left.unlink(missing_ok=True)
    before = ground.clock() - idle_seconds * 1_000_000
    with ground.db.read() as conn:
        noted = sa.select(mlflow_uploads.c.blob).where(mlflow_uploads.c.created_at <= before)
        dead = conn.execute(noted).scalars().all()
    if dead:
        _drop(ground, list(dead))
    return len(dead)


# -- reading ------------------------------------------------------------------------------------------


def listed(conn: sa.Connection, keyring: Keyring, of: str, folder: str = "") -> list[Entry]:
    """What lies directly in a folder: files and folders, by name."""
    below = f"{folder}/" if folder else ""
    found: dict[str, Entry] = {}
    for entry in every(conn, keyring, of):
        if not entry.path.startswith(below):
            continue
        name, deeper, _ = entry.path.removeprefix(below).partition("/")
        found[name] = Entry(path=below + name, is_dir=True) if deeper else entry
    return [found[name] for name in sorted(found)]


def every(conn: sa.Connection, keyring: Keyring, of: str) -> list[Entry]:
    """Every file of a run or logged model; those whose key is gone are left out."""
    rows = conn.execute(sa.select(mlflow_artifacts).where(_A.of == of)).mappings().all()
    try:
        key = derive(keyring.key(words.key_name(of)), "paths") if rows else b""
    except KeyDestroyed:
        return []
    return [
        Entry(
            path=unseal(key, row["path"], of.encode()).decode(),
            is_dir=False,
            bytes=row["bytes"],
            pickled=bool(row["pickled"]),
            blob=row["blob"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A file on its way out."""

    pieces: Iterator[bytes]
    bytes: int


def read(ground: Ground, project: str, place: Spot, folder: Path) -> Leaving:
    """A file in clear, piece by piece. Raises NotFound, FileForgotten, BlobChanged, SealBroken."""
    called = names.called(ground.keyring, project, "path", place.path)
    with ground.db.read() as conn:
        row = conn.execute(sa.select(_A.blob, _A.bytes).where(_A.of == place.of, _A.called == called)).first()
    if row is None:
        raise NotFound(kind="file", name=place.uri[:200])
    try:
        key = derive(ground.keyring.key(words.key_name(place.of)), "files")
    except KeyDestroyed as error:
        raise FileForgotten(path=place.path, why="its key was destroyed") from error
    return _leaving(ground, row.blob, row.bytes, folder, key, _about(place.of, called))


def _leaving(ground: Ground, blob: str, size: int, folder: Path, key: bytes, about: bytes) -> Leaving:
    sealed = folder / f"{SCRATCH}{secrets.token_hex(8)}"
    ground.blobs.get_file(blob, sealed)  # checked as a whole before the first byte leaves
    file = sealed.open("rb")
    sealed.unlink()
    return Leaving(bytes=size, pieces=_pieces(file, key, about))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file of a run or logged model as its row has it."""

    of: str
    called: str
    sealed_path: bytes
    blob: str
    bytes: int

    def path(self, keyring: Keyring) -> str:
        """Below the files of its run or model. Raises KeyDestroyed."""
        key = derive(keyring.key(words.key_name(self.of)), "paths")
        return unseal(key, self.sealed_path, self.of.encode()).decode()

    def leaving(self, ground: Ground, folder: Path) -> Leaving:
        """Its bytes in clear. Raises KeyDestroyed, BlobChanged, SealBroken."""
        key = derive(ground.keyring.key(words.key_name(self.of)), "files")
        return _leaving(ground, self.blob, self.bytes, folder, key, _about(self.of, self.called))


def stored(row: Mapping[Any, Any]) -> Stored:
    """A row of `mlflow_artifacts`."""
    return Stored(
        of=row["of"], called=row["called"], sealed_path=row["path"], blob=row["blob"], bytes=row["bytes"]
    )


def _pieces(file: BinaryIO, key: bytes, about: bytes) -> Iterator[bytes]:
    with file:
        yield from opened_pieces(key, about, file)


def _about(of: str, called: str) -> bytes:
    return f"track/{of}/{called}".encode()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
