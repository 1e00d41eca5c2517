"""Logged models: files that a client calls a model. Foreign: kept sealed, handed back, never loaded.

::

    pending ──> ready | failed

While it is pending its files arrive; from then on they stay as they are, and the entry has their digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.ledger.tracked import files_digest
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.tables import mlflow_artifacts, mlflow_experiments, mlflow_models
from freehold.track import experiments, names, points, words
from freehold.track.records import Experiment, LoggedModel, ModelState, Point
from freehold.track.runs import NAMES, USER_TAG

FOREIGN = "freehold.foreign"
PICKLED = "freehold.pickled"
KEPT = "freehold.kept"
OUR_TAGS = frozenset({FOREIGN, PICKLED, KEPT})
"""Tags that we set; a client's own of these names are refused."""

_L, _A = mlflow_models.c, mlflow_artifacts.c


class ModelFixed(Conflict):
    """the logged model `{model}` is {state}"""


def marks(pickled: bool) -> dict[str, str]:
    """What we say of everything that a client brought."""
    return {
        FOREIGN: "true",
        PICKLED: "true" if pickled else "false",
        KEPT: "sealed; handed back to clients, never loaded by Freehold, never released",
    }


def begin(
    ground: Ground,
    *,
    by: Principal,
    experiment: Experiment,
    name: str,
    type: str,
    run: str | None,
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> LoggedModel:
    """A model whose files will follow. Raises ExperimentDeleted, NameUnusable, NotFound for the run."""
    experiments.refuse_deleted(experiment)
    doc = {
        "name": names.check(name, "a model"),
        "type": type and names.check(type, "a model's type"),
        "params": _params(params),
        "tags": _tags(by, tags),
    }
    id_ = "m-" + new_id("m")[2:]  # clients take what begins with `m-` for a logged model
    ground.keyring.ensure(words.key_name(id_))
    with ground.db.write() as tx:
        values = {"id": id_, "experiment": experiment.id, "run": run, "owner": by.id, "state": "pending"}
        made = mlflow_models.insert().values(**values, pickled=False)
        tx.execute(made.values(created_at=tx.at, changed_at=tx.at))
        detail = {"model": id_, "experiment": experiment.id, "run": run}
        record(tx, "mlflow.model.begun", by=by, object=id_, project=experiment.project, detail=detail)
        words.save_cited(tx, ground.keyring, id_, doc, by=by, project=experiment.project)
        return find(tx.connection, ground.keyring, id_)


def _params(params: Mapping[str, str]) -> dict[str, str]:
    for key, value in params.items():
        names.check(key, "a param", names.LONGEST_KEY)
        names.check_value(value, f"param `{key}`", names.LONGEST_PARAM)
    return dict(params)


def _tags(by: Principal, tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        names.check(key, "a tag", names.LONGEST_KEY)
        names.check_value(value, f"tag `{key}`", names.LONGEST_TAG)
        refuse_ours(key)
    return {key: by.id if key == USER_TAG else value for key, value in tags.items()}


def refuse_ours(key: str) -> None:
    """Raises NameUnusable for a tag that only we set."""
    if key in OUR_TAGS:
        raise names.NameUnusable(name=key, kind="a tag of yours", why="Freehold sets it itself")


# -- reading ------------------------------------------------------------------------------------------


def find(conn: sa.Connection, keyring: Keyring, id: str) -> LoggedModel:
    """A logged model, deleted ones as well. Raises NotFound."""
    row = conn.execute(_rows().where(_L.id == id)).mappings().first()
    if row is None:
        raise NotFound(kind="logged model", name=id[:80])
    return _filled(conn, keyring, [row])[0]


def listed(conn: sa.Connection, keyring: Keyring, experiments: Iterable[str]) -> list[LoggedModel]:
    """The models of these experiments that are not deleted, the newest first."""
    query = _rows().where(_L.experiment.in_(list(experiments)), _L.deleted_at.is_(None))
    rows = conn.execute(query.order_by(_L.created_at.desc(), _L.id.desc())).mappings().all()
    return _filled(conn, keyring, rows)


def _rows() -> sa.Select[Any]:
    return sa.select(mlflow_models, mlflow_experiments.c.project).join(
        mlflow_experiments, mlflow_experiments.c.id == _L.experiment
    )


def _filled(conn: sa.Connection, keyring: Keyring, rows: Sequence[Mapping[Any, Any]]) -> list[LoggedModel]:
    ids = [row["id"] for row in rows]
    docs = words.load_many(conn, keyring, ids)
    measured = points.about_models(conn, ids)
    runs = {run for found in measured.values() for run, _ in found}
    read = words.load_many(conn, keyring, runs, "inputs")
    named = {run: doc.get(NAMES, {}) for run, doc in read.items()}
    return [
        _model(row, docs.get(row["id"], {}), _with_names(measured.get(row["id"], ()), named)) for row in rows
    ]


def _with_names(
    found: Iterable[tuple[str, Point]], named: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, Point], ...]:
    return tuple(
        (run, replace(point, dataset_name=named.get(run, {}).get(point.dataset, ""))) for run, point in found
    )


def _model(
    row: Mapping[Any, Any], doc: Mapping[str, Any], metrics: tuple[tuple[str, Point], ...]
) -> LoggedModel:
    plain = ("id", "experiment", "project", "run", "owner", "state", "digest", "created_at", "changed_at")
    pickled = bool(row["pickled"])
    return LoggedModel(
        **{name: row[name] for name in plain},
        pickled=pickled,
        deleted=row["deleted_at"] is not None,
        name=str(doc.get("name", "")),
        type=str(doc.get("type", "")),
        params=doc.get("params", {}),
        tags={**doc.get("tags", {}), **marks(pickled)},
        metrics=metrics,
    )


# -- changing -----------------------------------------------------------------------------------------


def finish(ground: Ground, *, by: Principal, id: str, state: ModelState) -> LoggedModel:
    """The files are complete, or never will be. Doing it twice is doing it once. Raises ModelFixed."""
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        if now.state == state or state == "pending":
            return now
        if now.state != "pending":
            raise ModelFixed(model=id, state=now.state, why="that is said once", hint="log another model")
        files = tx.execute(sa.select(_A.pickled).where(_A.of == id)).scalars().all()
        values = {"state": state, "digest": files_digest(tx.connection, id), "pickled": any(files)}
        tx.execute(mlflow_models.update().where(_L.id == id).values(**values, changed_at=tx.at))
        _record(tx, by, now, **values, files=len(files))
        return find(tx.connection, ground.keyring, id)


def delete(ground: Ground, *, by: Principal, id: str) -> None:
    """Out of sight; its files stay while a version names them. Doing it twice is doing it once."""
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        if not now.deleted:
            tx.execute(mlflow_models.update().where(_L.id == id).values(deleted_at=tx.at, changed_at=tx.at))
            _record(tx, by, now, state=now.state, digest=now.digest, deleted=True)


def tell(
    ground: Ground,
    *,
    by: Principal,
    id: str,
    tags: Mapping[str, str | None] | None = None,
    params: Mapping[str, str] | None = None,
) -> None:
    """Set tags (none removes one), add params. Raises NotFound, NameUnusable."""
    said = _tags(by, {key: value for key, value in (tags or {}).items() if value is not None})
    with ground.db.write() as tx:
        now = _locked(tx, ground.keyring, id)
        doc = words.load(tx.connection, ground.keyring, id)
        kept = {**doc.get("tags", {}), **said}
        for key in (key for key, value in (tags or {}).items() if value is None):
            if kept.pop(key, None) is None:
                raise NotFound(kind="tag", name=key[:80], why=f"model {id} has no such tag")
        doc |= {"tags": kept, "params": {**doc.get("params", {}), **_params(params or {})}}
        tx.execute(mlflow_models.update().where(_L.id == id).values(changed_at=tx.at))
        words.save_cited(tx, ground.keyring, id, doc, by=by, project=now.project)


def _locked(tx: Tx, keyring: Keyring, id: str) -> LoggedModel:
    tx.execute(sa.select(_L.id).where(_L.id == id).with_for_update())
    return find(tx.connection, keyring, id)


def _record(tx: Tx, by: Principal, model: LoggedModel, **detail: Any) -> None:
    record(
        tx,
        "mlflow.model.changed",
        by=by,
        object=model.id,
        project=model.project,
        detail={"model": model.id, "deleted": False, **detail},
    )
