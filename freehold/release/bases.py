"""Base models as versions: their files lie open, for nothing of them came from anybody's data.

::

    ready ──> retired

A base is known by the digest of its files. The same files under the same name are the version that is
there already, whoever adds them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.release.versions import State, VersionTaken, check_path
from freehold.spec.base import BASE_TYPE, Base, BaseFacts, base_digest
from freehold.spec.ids import canonical, check_name, new_id, parse_reference
from freehold.spec.model import FileEntry
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.signing import sign
from freehold.store.tables import models

KIND = "base"


class BaseChanged(Conflict):
    """`{path}` of `{name}` changed while it was taken"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base as its row says."""

    id: str
    project: str
    name: str
    version: int
    digest: str
    state: State
    sensitivity: Sensitivity
    facts: BaseFacts
    source: str
    """Where it came from: `folder`, `package NAME`, `hub ORG/NAME at COMMIT`."""
    files: tuple[FileEntry, ...]
    created_at: int

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def as_base(self) -> Base:
        """As training is told of it."""
        return Base(model=self.id, ref=self.ref, digest=self.digest, facts=self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBase:
    """Files that are stored, waiting for their row."""

    values: Mapping[str, Any]
    licence: str


def prepare(
    ground: Ground,
    *,
    project: str,
    name: str,
    folder: Path,
    files: tuple[FileEntry, ...],
    facts: BaseFacts,
    source: str,
    sensitivity: Sensitivity = Sensitivity.PUBLIC,
) -> PreparedBase:
    """Store the files of a folder that was checked, and sign what they are; outside any transaction."""
    check_name(name, "base model")
    for entry in files:
        check_path(entry.path)
        stored = ground.blobs.put_file(folder / entry.path)
        if stored != entry.digest:
            raise BaseChanged(path=entry.path, name=name, hint="add it again when nobody writes to it")
    digest = base_digest(files)
    about = {"data": "", "source": source, "facts": asdict(facts)}
    said = {"name": name, "digest": digest, "files": [asdict(entry) for entry in files], **about}
    return PreparedBase(
        licence=facts.licence,
        values={
            "id": new_id("mod"),
            "project": project,
            "name": name,
            "version": _next_version(ground, project, name),
            "kind": KIND,
            "task": KIND,
            "parent": None,
            "run": None,
            "digest": digest,
            "serving_digest": digest,
            "manifest": canonical(sign(ground.release_key, BASE_TYPE, canonical(said)).as_json()).decode(),
            "files": canonical({e.path: {"digest": e.digest, "bytes": e.bytes} for e in files}).decode(),
            "about": canonical(about).decode(),
            "sensitivity": int(sensitivity),
        },
    )


def register(tx: Tx, *, by: Principal, prepared: PreparedBase) -> tuple[BaseModel, bool]:
    """Write row and entry; the same files under the same name are there already, and nothing is written.

    Returns the version and whether it is new. Raises VersionTaken.
    """
    values = prepared.values
    there = _same(tx.connection, values)
    if there is not None:
        return there, False
    if _taken(tx.connection, values):
        raise VersionTaken(name=values["name"], version=values["version"], hint="add it again")
    tx.execute(models.insert().values(state="ready", because="", created_at=tx.at, **values))
    record(
        tx,
        "model.version",
        by=by,
        object=f"{values['name']}@{values['version']}",
        project=values["project"],
        detail={
            "model": values["id"],
            "digest": values["digest"],
            "serving_digest": values["serving_digest"],
            "run": None,
            "licence": prepared.licence,
        },
    )
    return by_id(tx.connection, str(values["id"])), True


def find(conn: sa.Connection, project: str, ref: str) -> BaseModel:
    """A base by `name@version`. Raises NotFound, BadInput."""
    name, version = parse_reference(ref, "base model")
    query = _bases().where(models.c.project == project, models.c.name == name, models.c.version == version)
    row = conn.execute(query).mappings().first()
    if row is None:
        raise NotFound(kind="base model", name=ref, hint="`freehold base list` shows what there is")
    return _base(row)


def by_id(conn: sa.Connection, model: str) -> BaseModel:
    """A base by id. Raises NotFound."""
    row = conn.execute(_bases().where(models.c.id == model)).mappings().first()
    if row is None:
        raise NotFound(kind="base model", name=model[:80])
    return _base(row)


def listed(conn: sa.Connection, project: str | None = None) -> list[BaseModel]:
    """Every base, or those of a project, by name and version."""
    query = _bases().order_by(models.c.project, models.c.name, models.c.version)
    if project is not None:
        query = query.where(models.c.project == project)
    return [_base(row) for row in conn.execute(query).mappings()]


@dataclass(frozen=True, slots=True)
class OpenBase:
    """The files of a base, to be copied out."""

    digest: str
    files: tuple[FileEntry, ...]
    _ground: Ground

    def copy(self, path: str, target: Path) -> None:
        """Write one file to `target`, checked. Raises NotFound, BlobChanged."""
        entry = next((entry for entry in self.files if entry.path == path), None)
        if entry is None:
            raise NotFound(kind="file of a base model", name=path[:120])
        self._ground.blobs.get_file(entry.digest, target)


def open_base(ground: Ground, digest: str) -> OpenBase:
    """The base with this digest, whatever it is called and wherever. Raises NotFound."""
    with ground.db.read() as conn:
        row = conn.execute(_bases().where(models.c.digest == digest).limit(1)).mappings().first()
    if row is None:
        raise NotFound(kind="base model", name=digest[:80])
    return OpenBase(digest, _base(row).files, ground)


def _bases() -> sa.Select[Any]:
    return sa.select(models).where(models.c.kind == KIND)


def _same(conn: sa.Connection, values: Mapping[str, Any]) -> BaseModel | None:
    query = _bases().where(
        models.c.project == values["project"],
        models.c.name == values["name"],
        models.c.digest == values["digest"],
        models.c.state == "ready",
    )
    row = conn.execute(query).mappings().first()
    return _base(row) if row is not None else None


def _taken(conn: sa.Connection, values: Mapping[str, Any]) -> bool:
    query = sa.select(models.c.id).where(
        models.c.project == values["project"],
        models.c.name == values["name"],
        models.c.version == values["version"],
    )
    return conn.execute(query).first() is not None


def _next_version(ground: Ground, project: str, name: str) -> int:
    query = sa.select(sa.func.max(models.c.version)).where(models.c.project == project, models.c.name == name)
    with ground.db.read() as conn:
        return int(conn.scalar(query) or 0) + 1


def _base(row: Mapping[Any, Any]) -> BaseModel:
    about = json.loads(row["about"])
    files = json.loads(row["files"])
    names = ("id", "project", "name", "version", "digest", "state", "created_at")
    return BaseModel(
        **{name: row[name] for name in names},
        sensitivity=Sensitivity(row["sensitivity"]),
        facts=BaseFacts(**about["facts"]),
        source=about["source"],
        files=tuple(FileEntry(path=path, **said) for path, said in sorted(files.items())),
    )
