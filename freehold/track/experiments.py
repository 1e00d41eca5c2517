"""Experiments: headings under which clients put their runs, each in one project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.tables import mlflow_experiments
from freehold.track import names, words
from freehold.track.names import Named
from freehold.track.records import Experiment

DEFAULT = "Default"
"""What MLflow calls the experiment of whoever names none."""

_E = mlflow_experiments.c


class ExperimentTaken(Conflict):
    """there is an experiment `{name}` already"""


class ExperimentDeleted(Conflict):
    """the experiment `{name}` is deleted"""


def begin(
    ground: Ground, *, by: Principal, named: Named, tags: Mapping[str, str] | None = None
) -> Experiment:
    """A new experiment. Raises ExperimentTaken, NameUnusable."""
    names.check_new(named, "experiment")
    for key, value in (tags or {}).items():
        _check_tag(key, value)
    id_ = new_id("exp")
    called = names.called(ground.keyring, named.project, "experiment", named.name)
    ground.keyring.ensure(words.key_name(id_))
    with ground.db.write() as tx:
        _refuse_taken(tx, ground.keyring, named, called)
        values = {"id": id_, "project": named.project, "called": called}
        tx.execute(mlflow_experiments.insert().values(**values, created_at=tx.at, changed_at=tx.at))
        detail = {"experiment": id_, "called": called}
        record(tx, "mlflow.experiment.begun", by=by, object=id_, project=named.project, detail=detail)
        doc = {"name": named.name, "tags": dict(tags or {})}
        words.save_cited(tx, ground.keyring, id_, doc, by=by, project=named.project)
        return find(tx.connection, ground.keyring, id_)


def _refuse_taken(tx: Tx, keyring: Keyring, named: Named, called: str) -> None:
    where = _E.project == named.project, _E.called == called
    there = tx.execute(sa.select(_E.deleted_at).where(*where)).first()
    if there is None:
        return
    name = f"{named.project}/{named.name}"
    if there.deleted_at is not None:
        raise ExperimentTaken(name=name, why="it is deleted", hint="restore it, or choose another name")
    raise ExperimentTaken(name=name)


def default(ground: Ground, *, by: Principal, project: str) -> Experiment:
    """The experiment of runs that name none, made when it is first needed."""
    named = Named(project, DEFAULT)
    try:
        with ground.db.read() as conn:
            return by_name(conn, ground.keyring, named)
    except NotFound:
        return begin(ground, by=by, named=named)


def find(conn: sa.Connection, keyring: Keyring, id: str) -> Experiment:
    """An experiment by id, deleted ones as well. Raises NotFound."""
    row = conn.execute(sa.select(mlflow_experiments).where(_E.id == id)).mappings().first()
    if row is None:
        raise NotFound(kind="experiment", name=id[:80])
    return _experiment(row, words.load(conn, keyring, id))


def by_name(conn: sa.Connection, keyring: Keyring, named: Named) -> Experiment:
    """An experiment by name, deleted ones as well. Raises NotFound."""
    called = names.called(keyring, named.project, "experiment", named.name)
    id_ = conn.scalar(sa.select(_E.id).where(_E.project == named.project, _E.called == called))
    if id_ is None:
        raise NotFound(kind="experiment", name=f"{named.project}/{named.name}"[:200])
    return find(conn, keyring, id_)


def listed(
    conn: sa.Connection, keyring: Keyring, projects: Iterable[str], *, deleted: bool | None = False
) -> list[Experiment]:
    """The experiments of these projects, the newest first; `deleted=None` means both kinds."""
    query = sa.select(mlflow_experiments).where(_E.project.in_(list(projects)))
    if deleted is not None:
        query = query.where(_E.deleted_at.is_not(None) if deleted else _E.deleted_at.is_(None))
    rows = conn.execute(query.order_by(_E.created_at.desc(), _E.id.desc())).mappings().all()
    docs = words.load_many(conn, keyring, [row["id"] for row in rows])
    return [_experiment(row, docs.get(row["id"], {})) for row in rows]


def rename(ground: Ground, *, by: Principal, id: str, named: Named) -> None:
    """Give it another name in its project. Raises NotFound, ExperimentTaken, ExperimentDeleted."""
    names.check_new(named, "experiment")
    called = names.called(ground.keyring, named.project, "experiment", named.name)
    with ground.db.write() as tx:
        now = _open(tx, ground.keyring, id)
        if now.name == named.name:
            return
        if now.project != named.project:
            raise Conflict(
                what=f"an experiment stays in its project `{now.project}`", why="its runs belong there"
            )
        _refuse_taken(tx, ground.keyring, named, called)
        tx.execute(mlflow_experiments.update().where(_E.id == id).values(called=called, changed_at=tx.at))
        _record(tx, by, now, called, deleted=False)
        doc = {"name": named.name, "tags": dict(now.tags)}
        words.save_cited(tx, ground.keyring, id, doc, by=by, project=now.project)


def set_deleted(ground: Ground, *, by: Principal, id: str, deleted: bool) -> None:
    """Delete or restore; nothing is destroyed, and doing it twice is doing it once. Raises NotFound."""
    with ground.db.write() as tx:
        now = find(tx.connection, ground.keyring, id)
        if now.deleted == deleted:
            return
        at = tx.at if deleted else None
        change = mlflow_experiments.update().where(_E.id == id)
        tx.execute(change.values(deleted_at=at, changed_at=tx.at))
        called = tx.connection.scalar(sa.select(_E.called).where(_E.id == id))
        _record(tx, by, now, str(called), deleted=deleted)


def set_tag(ground: Ground, *, by: Principal, id: str, key: str, value: str | None) -> None:
    """Set a tag, or remove it with none. Raises NotFound, ExperimentDeleted, NameUnusable."""
    if value is not None:
        _check_tag(key, value)
    with ground.db.write() as tx:
        now = _open(tx, ground.keyring, id)
        if value is None and key not in now.tags:
            raise NotFound(kind="tag", name=key[:80])
        tags = {**now.tags, key: value}
        doc = {"name": now.name, "tags": {k: v for k, v in tags.items() if v is not None}}
        tx.execute(mlflow_experiments.update().where(_E.id == id).values(changed_at=tx.at))
        words.save_cited(tx, ground.keyring, id, doc, by=by, project=now.project)


def _check_tag(key: str, value: str) -> None:
    names.check(key, "a tag", names.LONGEST_KEY)
    names.check_value(value, f"tag `{key}`", names.LONGEST_TAG)


def _open(tx: Tx, keyring: Keyring, id: str) -> Experiment:
    """The experiment, locked until the transaction ends, when it is not deleted."""
    tx.execute(sa.select(_E.id).where(_E.id == id).with_for_update())
    now = find(tx.connection, keyring, id)
    refuse_deleted(now)
    return now


def refuse_deleted(experiment: Experiment) -> None:
    """Raises ExperimentDeleted."""
    if experiment.deleted:
        raise ExperimentDeleted(
            name=experiment.full_name, why="nothing is added to it", hint="restore it first"
        )


def _record(tx: Tx, by: Principal, experiment: Experiment, called: str, *, deleted: bool) -> None:
    record(
        tx,
        "mlflow.experiment.changed",
        by=by,
        object=experiment.id,
        project=experiment.project,
        detail={"experiment": experiment.id, "called": called, "deleted": deleted},
    )


def _experiment(row: Mapping[Any, Any], doc: Mapping[str, Any]) -> Experiment:
    return Experiment(
        id=row["id"],
        project=row["project"],
        name=str(doc.get("name", "")),
        tags=dict(doc.get("tags", {})),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        deleted=row["deleted_at"] is not None,
    )
