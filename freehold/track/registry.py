"""Registered names and versions of foreign models: a list to find them by, not a way into service.

A version names files of a logged model or a run, and from then on they stay as they are. Aliases move;
each move has an entry. Nothing here is ever released: `release` knows only what Freehold trained, or a
base model whose files it looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.tables import mlflow_registered, mlflow_versions
from freehold.track import artifacts, logged, names, runs, words
from freehold.track.artifacts import Spot
from freehold.track.names import Named
from freehold.track.records import Registered, Version

_G, _V = mlflow_registered.c, mlflow_versions.c

_RUN_SOURCE = re.compile(r"runs:/+(?P<run>[\w-]+)(/(?P<path>.+))?")
_MODEL_SOURCE = re.compile(r"models:/+(?P<model>m-[\w-]+)")
_FILE_SOURCE = re.compile(r"mlflow-artifacts:/+(?P<path>.+)")


class NameTaken(Conflict):
    """there is a registered model `{name}` already"""


class SourceElsewhere(BadInput):
    """the files at `{source}` are not here"""


class NoFiles(BadInput):
    """there are no files at `{source}`"""


# -- names --------------------------------------------------------------------------------------------


def begin(
    ground: Ground, *, by: Principal, named: Named, description: str = "", tags: Mapping[str, str]
) -> Registered:
    """A new name for models. Raises NameTaken, NameUnusable."""
    names.check_new(named, "model")
    doc = {"name": named.name, "description": _text(description), "tags": _tags(tags), "aliases": {}}
    id_ = new_id("rgm")
    called = names.called(ground.keyring, named.project, "model", named.name)
    ground.keyring.ensure(words.key_name(id_))
    with ground.db.write() as tx:
        _refuse_taken(tx, named, called)
        values = {"id": id_, "project": named.project, "called": called, "name_held": called}
        tx.execute(mlflow_registered.insert().values(**values, created_at=tx.at, changed_at=tx.at))
        detail = {"registered": id_, "called": called}
        record(tx, "mlflow.registered.begun", by=by, object=id_, project=named.project, detail=detail)
        words.save_cited(tx, ground.keyring, id_, doc, by=by, project=named.project)
        return find(tx.connection, ground.keyring, id_)


def _refuse_taken(tx: Tx, named: Named, called: str) -> None:
    if tx.execute(sa.select(_G.id).where(_G.name_held == called)).first():
        raise NameTaken(name=f"{named.project}.{named.name}")


def find(conn: sa.Connection, keyring: Keyring, id: str) -> Registered:
    """A registered name by id. Raises NotFound."""
    row = (
        conn.execute(sa.select(mlflow_registered).where(_G.id == id, _G.deleted_at.is_(None)))
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(kind="registered model", name=id[:80])
    return _registered(row, words.load(conn, keyring, id))


def by_name(conn: sa.Connection, keyring: Keyring, named: Named) -> Registered:
    """A registered name. Raises NotFound."""
    called = names.called(keyring, named.project, "model", named.name)
    id_ = conn.scalar(sa.select(_G.id).where(_G.name_held == called, _G.project == named.project))
    if id_ is None:
        raise NotFound(kind="registered model", name=f"{named.project}.{named.name}"[:200])
    return find(conn, keyring, id_)


def listed(conn: sa.Connection, keyring: Keyring, projects: Iterable[str]) -> list[Registered]:
    """The registered names of these projects, by name."""
    query = sa.select(mlflow_registered).where(_G.project.in_(list(projects)), _G.deleted_at.is_(None))
    rows = conn.execute(query).mappings().all()
    docs = words.load_many(conn, keyring, [row["id"] for row in rows])
    found = [_registered(row, docs.get(row["id"], {})) for row in rows]
    return sorted(found, key=lambda one: one.full_name)


def rename(ground: Ground, *, by: Principal, id: str, named: Named) -> Registered:
    """Give it another name in its project. Raises NotFound, NameTaken, NameUnusable."""
    names.check_new(named, "model")
    called = names.called(ground.keyring, named.project, "model", named.name)
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        if now.project != named.project:
            raise Conflict(
                what=f"a model stays in its project `{now.project}`", why="its versions belong there"
            )
        if now.name == named.name:
            return now
        _refuse_taken(tx, named, called)
        change = mlflow_registered.update().where(_G.id == id)
        tx.execute(change.values(called=called, name_held=called, changed_at=tx.at))
        _record(tx, by, now, called, deleted=False)
        doc = {**words.load(tx.connection, ground.keyring, id), "name": named.name}
        words.save_cited(tx, ground.keyring, id, doc, by=by, project=now.project)
        return find(tx.connection, ground.keyring, id)


def delete(ground: Ground, *, by: Principal, id: str) -> None:
    """Out of sight, with its versions; the name is free again, the files stay. Raises NotFound."""
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        for version in _version_ids(tx, id):
            _delete_version(tx, by, now, version)
        called = str(tx.connection.scalar(sa.select(_G.called).where(_G.id == id)))
        change = mlflow_registered.update().where(_G.id == id)
        tx.execute(change.values(deleted_at=tx.at, changed_at=tx.at, name_held=None))
        _record(tx, by, now, called, deleted=True)


def tell(
    ground: Ground,
    *,
    by: Principal,
    id: str,
    description: str | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> Registered:
    """Describe it, set tags (none removes one). Raises NotFound, NameUnusable."""
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        _tell(tx, ground.keyring, id, by, now.project, description, tags)
        tx.execute(mlflow_registered.update().where(_G.id == id).values(changed_at=tx.at))
        return find(tx.connection, ground.keyring, id)


def set_alias(ground: Ground, *, by: Principal, id: str, alias: str, version: int | None) -> None:
    """Point an alias at a version, or remove it with none. Raises NotFound, NameUnusable."""
    with ground.db.read() as conn:
        project = find(conn, ground.keyring, id).project
    if version is not None:
        names.check_alias(alias)
    called = names.called(ground.keyring, project, "alias", alias)
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        if version is not None:
            _version_id(tx.connection, now, version)
        elif alias not in now.aliases:
            raise NotFound(kind="alias", name=alias[:80])
        if now.aliases.get(alias) == version:
            return
        doc = words.load(tx.connection, ground.keyring, id)
        aliases = {**now.aliases, alias: version}
        doc["aliases"] = {name: to for name, to in aliases.items() if to is not None}
        words.save_cited(tx, ground.keyring, id, doc, by=by, project=now.project)
        detail = {"registered": id, "alias": called, "version": version}
        record(tx, "mlflow.alias", by=by, object=id, project=now.project, detail=detail)


def _locked(tx: Tx, keyring: Keyring, id: str) -> Registered:
    tx.execute(sa.select(_G.id).where(_G.id == id).with_for_update())
    return find(tx.connection, keyring, id)


def _record(tx: Tx, by: Principal, registered: Registered, called: str, *, deleted: bool) -> None:
    record(
        tx,
        "mlflow.registered.changed",
        by=by,
        object=registered.id,
        project=registered.project,
        detail={"registered": registered.id, "called": called, "deleted": deleted},
    )


def _registered(row: Mapping[Any, Any], doc: Mapping[str, Any]) -> Registered:
    return Registered(
        id=row["id"],
        project=row["project"],
        name=str(doc.get("name", "")),
        description=str(doc.get("description", "")),
        tags=doc.get("tags", {}),
        aliases=doc.get("aliases", {}),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


# -- versions -----------------------------------------------------------------------------------------


def where(conn: sa.Connection, source: str, *, run: str | None, model: str | None) -> Spot:
    """The files that a new version means. Raises SourceElsewhere, NotFound, PathUnusable."""
    if found := _MODEL_SOURCE.fullmatch(source):
        return _of_model(conn, found["model"])
    if found := _RUN_SOURCE.fullmatch(source):
        head = runs.head(conn, found["run"])
        return artifacts.spot(f"{head.experiment}/{head.id}/artifacts/{found['path'] or ''}")
    if found := _FILE_SOURCE.fullmatch(source):
        return artifacts.spot(found["path"])
    if not source and model:
        return _of_model(conn, model)
    if not source and run:
        return where(conn, f"runs:/{run}", run=run, model=None)
    raise SourceElsewhere(
        source=source[:200],
        why="a version names files that were logged to this installation",
        hint="log the model with this tracking server first; then `models:/m-…` or `runs:/RUN/PATH`",
    )


def _of_model(conn: sa.Connection, model: str) -> Spot:
    from freehold.store.tables import mlflow_models as m

    experiment = conn.scalar(sa.select(m.c.experiment).where(m.c.id == model))
    if experiment is None:
        raise NotFound(kind="logged model", name=model[:80])
    return Spot(str(experiment), model, True, "")


def add(
    ground: Ground,
    *,
    by: Principal,
    registered: str,
    place: Spot,
    source: str,
    run: str | None = None,
    description: str = "",
    tags: Mapping[str, str],
) -> Version:
    """A new version over the files at `place`. Raises NotFound, NoFiles, Conflict across projects."""
    doc = {"source": source, "folder": place.path, "description": _text(description), "tags": _tags(tags)}
    id_ = new_id("mlv")
    ground.keyring.ensure(words.key_name(id_))
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, registered)
        if artifacts.project_of(tx.connection, place) != now.project:
            raise Conflict(what="the files belong to another project", why=f"`{now.full_name}` is not theirs")
        files, pickled = _files(tx.connection, ground.keyring, place)
        last = tx.connection.scalar(sa.select(sa.func.max(_V.version)).where(_V.registered == registered))
        about = {"registered": registered, "digest": digest(files), "pickled": pickled, "of": place.of}
        about["run"] = run or _run_of(tx.connection, place)
        number = int(last or 0) + 1
        tx.execute(
            mlflow_versions.insert().values(
                id=id_,
                version=number,
                owner=by.id,
                files=canonical(files).decode(),
                created_at=tx.at,
                changed_at=tx.at,
                **about,
            )
        )
        detail = {"version": id_, "number": number, **about}
        record(tx, "mlflow.version.begun", by=by, object=id_, project=now.project, detail=detail)
        words.save_cited(tx, ground.keyring, id_, doc, by=by, project=now.project)
        tx.execute(mlflow_registered.update().where(_G.id == registered).values(changed_at=tx.at))
        return version(tx.connection, ground.keyring, now, number)


def _files(conn: sa.Connection, keyring: Keyring, place: Spot) -> tuple[list[list[Any]], bool]:
    """[called, blob, bytes] of every file at a place, and whether one of them is pickled."""
    project = artifacts.project_of(conn, place)
    inside = [
        entry
        for entry in artifacts.every(conn, keyring, place.of)
        if not place.path or entry.path == place.path or entry.path.startswith(f"{place.path}/")
    ]
    if not inside:
        raise NoFiles(source=place.uri, why="a version without files would be a name for nothing")
    files = [[names.called(keyring, project, "path", e.path), e.blob, e.bytes] for e in inside]
    return sorted(files), any(entry.pickled for entry in inside)


def _run_of(conn: sa.Connection, place: Spot) -> str | None:
    from freehold.store.tables import mlflow_models as m

    if not place.is_model:
        return place.of
    return conn.scalar(sa.select(m.c.run).where(m.c.id == place.of))


def version(conn: sa.Connection, keyring: Keyring, registered: Registered, number: int) -> Version:
    """One version. Raises NotFound."""
    _version_id(conn, registered, number)
    return next(v for v in versions(conn, keyring, [registered]) if v.version == number)


def _version_id(conn: sa.Connection, registered: Registered, number: int) -> str:
    which = (_V.registered == registered.id, _V.version == number, _V.deleted_at.is_(None))
    id_ = conn.scalar(sa.select(_V.id).where(*which))
    if id_ is None:
        raise NotFound(kind="model version", name=f"{registered.full_name}/{number}"[:200])
    return str(id_)


def versions(conn: sa.Connection, keyring: Keyring, of: Iterable[Registered]) -> list[Version]:
    """The versions of these names, the newest first."""
    known = {one.id: one for one in of}
    query = sa.select(mlflow_versions).where(_V.registered.in_(list(known)), _V.deleted_at.is_(None))
    rows = conn.execute(query.order_by(_V.created_at.desc(), _V.version.desc())).mappings().all()
    docs = words.load_many(conn, keyring, [row["id"] for row in rows])
    return [_version(row, known[row["registered"]], docs.get(row["id"], {})) for row in rows]


def tell_version(
    ground: Ground,
    *,
    by: Principal,
    registered: str,
    number: int,
    description: str | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> Version:
    """Describe it, set tags (none removes one). Raises NotFound, NameUnusable."""
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, registered)
        id_ = _version_id(tx.connection, now, number)
        _tell(tx, ground.keyring, id_, by, now.project, description, tags)
        tx.execute(mlflow_versions.update().where(_V.id == id_).values(changed_at=tx.at))
        return version(tx.connection, ground.keyring, now, number)


def delete_version(ground: Ground, *, by: Principal, registered: str, number: int) -> None:
    """Out of sight; aliases that pointed at it go, its files stay. Raises NotFound."""
    with ground.db.read() as conn:
        now = find(conn, ground.keyring, registered)
    for alias, to in now.aliases.items():
        if to == number:
            set_alias(ground, by=by, id=registered, alias=alias, version=None)
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, registered)
        _delete_version(tx, by, now, _version_id(tx.connection, now, number))


def _delete_version(tx: Tx, by: Principal, registered: Registered, id: str) -> None:
    tx.execute(mlflow_versions.update().where(_V.id == id).values(deleted_at=tx.at, changed_at=tx.at))
    detail = {"version": id}
    record(tx, "mlflow.version.deleted", by=by, object=id, project=registered.project, detail=detail)


def _version_ids(tx: Tx, registered: str) -> list[str]:
    query = sa.select(_V.id).where(_V.registered == registered, _V.deleted_at.is_(None))
    return [str(id_) for id_ in tx.execute(query).scalars()]


def _version(row: Mapping[Any, Any], registered: Registered, doc: Mapping[str, Any]) -> Version:
    plain = ("id", "version", "owner", "of", "run", "digest", "created_at", "changed_at")
    pickled = bool(row["pickled"])
    return Version(
        **{name: row[name] for name in plain},
        registered=registered,
        source=str(doc.get("source", "")),
        folder=str(doc.get("folder", "")),
        pickled=pickled,
        description=str(doc.get("description", "")),
        tags={**doc.get("tags", {}), **logged.marks(pickled)},
    )


# -- small things -------------------------------------------------------------------------------------


def _tell(
    tx: Tx,
    keyring: Keyring,
    of: str,
    by: Principal,
    project: str,
    description: str | None,
    tags: Mapping[str, str | None] | None,
) -> None:
    doc = words.load(tx.connection, keyring, of)
    if description is not None:
        doc["description"] = _text(description)
    kept = {**doc.get("tags", {}), **_tags({k: v for k, v in (tags or {}).items() if v is not None})}
    for key in (key for key, value in (tags or {}).items() if value is None):
        if kept.pop(key, None) is None:
            raise NotFound(kind="tag", name=key[:80])
    words.save_cited(tx, keyring, of, {**doc, "tags": kept}, by=by, project=project)


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        names.check(key, "a tag", names.LONGEST_KEY)
        names.check_value(value, f"tag `{key}`", names.LONGEST_TAG)
        logged.refuse_ours(key)
    return dict(tags)


def _text(text: str) -> str:
    return names.check_value(text, "the description", 100_000)
