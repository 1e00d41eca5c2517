"""Runs of MLflow clients: begun, filled, ended.

::

    running <──> scheduled
       └──> finished | failed | killed ──(taken up again)──> running

What a run under way holds is not recorded bit by bit: the entry that ends it has a digest of all of it.
Whatever is added after that changes the digest, and so brings an entry of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput, Conflict, NotFound
from freehold.ledger.record import record
from freehold.ledger.tracked import run_digest
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.tables import mlflow_experiments, mlflow_runs, mlflow_series
from freehold.track import experiments, names, points, words
from freehold.track.records import ENDED, Experiment, Point, Run, RunHead, RunState

NAME_TAG = "mlflow.runName"
USER_TAG = "mlflow.user"
NOTE_TAG = "mlflow.note.content"

NAMES = "measured_on"
"""In the words about inputs: the names of data sets by the client's digest."""

MOST_WORDS = 5000
"""Params, and tags, of one run."""

_R = mlflow_runs.c


class RunDeleted(Conflict):
    """the run `{run}` is deleted"""


class ParamChanged(BadInput):
    """the param `{key}` of run `{run}` has another value already"""


def begin(
    ground: Ground,
    *,
    by: Principal,
    experiment: Experiment,
    name: str,
    started_at: int,
    tags: Mapping[str, str],
) -> Run:
    """A new run; one without a name is called after its id. Raises ExperimentDeleted, NameUnusable."""
    experiments.refuse_deleted(experiment)
    id_ = new_id("mlr")
    name = name or f"run-{id_[-6:]}"
    doc = {"name": names.check(name, "a run"), "params": {}, "tags": _tags(by, {**tags, NAME_TAG: name})}
    ground.keyring.ensure(words.key_name(id_))
    with ground.db.write() as tx:
        tx.execute(
            mlflow_runs.insert().values(
                id=id_,
                experiment=experiment.id,
                owner=by.id,
                state="running",
                started_at=started_at,
                created_at=tx.at,
            )
        )
        detail = {"run": id_, "experiment": experiment.id}
        record(tx, "mlflow.run.begun", by=by, object=id_, project=experiment.project, detail=detail)
        words.save(tx, ground.keyring, id_, doc)
        return find(tx.connection, ground.keyring, id_)


def _tags(by: Principal, tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as they are kept: who it was says the key that came with it, not the client."""
    for key, value in tags.items():
        names.check(key, "a tag", names.LONGEST_KEY)
        names.check_value(value, f"tag `{key}`", names.LONGEST_TAG)
    return {key: by.id if key == USER_TAG else value for key, value in tags.items()}


# -- reading ------------------------------------------------------------------------------------------


def head(conn: sa.Connection, id: str) -> RunHead:
    """A run's row. Raises NotFound."""
    row = conn.execute(heads().where(_R.id == id)).mappings().first()
    if row is None:
        raise NotFound(kind="run", name=id[:80])
    return as_head(row)


def heads() -> sa.Select[Any]:
    """The query whose rows `as_head` reads."""
    return sa.select(mlflow_runs, mlflow_experiments.c.project).join(
        mlflow_experiments, mlflow_experiments.c.id == _R.experiment
    )


def as_head(row: Mapping[Any, Any]) -> RunHead:
    """A row of `heads` as a record."""
    plain = ("id", "experiment", "project", "owner", "state", "digest", "started_at", "ended_at")
    return RunHead(**{name: row[name] for name in plain}, deleted=row["deleted_at"] is not None)


def find(conn: sa.Connection, keyring: Keyring, id: str) -> Run:
    """A run in full, deleted ones as well. Raises NotFound."""
    return filled(conn, keyring, [head(conn, id)], inputs=True)[0]


def filled(
    conn: sa.Connection, keyring: Keyring, found: Sequence[RunHead], *, inputs: bool = False
) -> list[Run]:
    """Runs with their words and latest metrics."""
    ids = [one.id for one in found]
    docs = words.load_many(conn, keyring, ids)
    read = words.load_many(conn, keyring, ids, "inputs") if inputs else {}
    measured = points.latest(conn, ids)
    return [
        Run(
            head=one,
            name=str(docs.get(one.id, {}).get("name", "")),
            params=docs.get(one.id, {}).get("params", {}),
            tags=docs.get(one.id, {}).get("tags", {}),
            metrics=measured.get(one.id, ()),
            inputs=read.get(one.id, {}),
        )
        for one in found
    ]


# -- filling ------------------------------------------------------------------------------------------


def log(
    ground: Ground,
    *,
    by: Principal,
    run: str,
    metrics: Sequence[Point] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Add to a run, all of it or nothing. A param keeps its first value.

    Raises NotFound, RunDeleted, ParamChanged, NameUnusable, BadInput.
    """
    for point in metrics:
        names.check(point.key, "a metric", names.LONGEST_KEY)
    with ground.db.write() as tx:
        now = opened(tx, run)
        if params or tags:
            doc = words.load(tx.connection, ground.keyring, run)
            _add_params(doc, run, params or {})
            doc["tags"] = _bounded({**doc.get("tags", {}), **_tags(by, tags or {})}, "tags")
            doc["name"] = doc["tags"].get(NAME_TAG, doc.get("name", ""))
            words.save(tx, ground.keyring, run, doc)
        if metrics:
            points.add(tx, run, metrics)
            _name_datasets(tx, ground.keyring, run, metrics)
        changed(tx, by, now)


def _name_datasets(tx: Tx, keyring: Keyring, run: str, metrics: Sequence[Point]) -> None:
    """What the data is called on which something was measured: a word, so it is kept with the words."""
    named = {point.dataset: point.dataset_name for point in metrics if point.dataset}
    if named:
        doc = words.load(tx.connection, keyring, run, "inputs")
        words.save(tx, keyring, run, {**doc, NAMES: {**doc.get(NAMES, {}), **named}}, "inputs")


def _add_params(doc: dict[str, Any], run: str, params: Mapping[str, str]) -> None:
    there = doc.setdefault("params", {})
    for key, value in params.items():
        names.check(key, "a param", names.LONGEST_KEY)
        names.check_value(value, f"param `{key}`", names.LONGEST_PARAM)
        if there.setdefault(key, value) != value:
            raise ParamChanged(
                key=key, run=run, why="a param is said once", hint="log a metric or a tag for what changes"
            )
    _bounded(there, "params")


def _bounded(said: dict[str, str], what: str) -> dict[str, str]:
    if len(said) > MOST_WORDS:
        raise BadInput(what=f"a run has at most {MOST_WORDS:,} {what}", why=f"these would make {len(said):,}")
    return said


def delete_tag(ground: Ground, *, by: Principal, run: str, key: str) -> None:
    """Remove a tag. Raises NotFound, RunDeleted."""
    with ground.db.write() as tx:
        now = opened(tx, run)
        doc = words.load(tx.connection, ground.keyring, run)
        if doc.get("tags", {}).pop(key, None) is None:
            raise NotFound(kind="tag", name=key[:80], why=f"run {run} has no such tag")
        words.save(tx, ground.keyring, run, doc)
        changed(tx, by, now)


def add_inputs(
    ground: Ground,
    *,
    by: Principal,
    run: str,
    datasets: Sequence[Mapping[str, Any]] = (),
    models: Sequence[Mapping[str, Any]] = (),
    outputs: Sequence[Mapping[str, Any]] = (),
) -> None:
    """What a run read and made, as the client says; the same again is nothing new."""
    with ground.db.write() as tx:
        now = opened(tx, run)
        doc = words.load(tx.connection, ground.keyring, run, "inputs")
        for part, said in (("datasets", datasets), ("models", models), ("outputs", outputs)):
            there = doc.setdefault(part, [])
            there += [dict(one) for one in said if dict(one) not in there]
        words.save(tx, ground.keyring, run, doc, "inputs")
        changed(tx, by, now)


# -- changing -----------------------------------------------------------------------------------------


def change(
    ground: Ground,
    *,
    by: Principal,
    run: str,
    state: RunState | None = None,
    ended_at: int | None = None,
    name: str | None = None,
) -> Run:
    """End a run, take it up again, name it anew. Raises NotFound, RunDeleted, NameUnusable."""
    with ground.db.write() as tx:
        now = opened(tx, run)
        if name:
            doc = words.load(tx.connection, ground.keyring, run)
            doc["name"] = names.check(name, "a run")
            doc["tags"] = {**doc.get("tags", {}), NAME_TAG: name}
            words.save(tx, ground.keyring, run, doc)
        after = state or now.state
        at = (ended_at or now.ended_at or tx.at) if after in ENDED else None
        if at != now.ended_at:
            tx.execute(mlflow_runs.update().where(_R.id == run).values(ended_at=at))
        if after != now.state:
            _set(tx, by, now, state=after, deleted=False)
        else:
            changed(tx, by, now)
        return find(tx.connection, ground.keyring, run)


def set_deleted(ground: Ground, *, by: Principal, run: str, deleted: bool) -> None:
    """Delete or restore; nothing is destroyed, and doing it twice is doing it once. Raises NotFound."""
    with ground.db.write() as tx:
        now = _locked(tx, run)
        if now.deleted != deleted:
            at = tx.at if deleted else None
            tx.execute(mlflow_runs.update().where(_R.id == run).values(deleted_at=at))
            _set(tx, by, now, state=now.state, deleted=deleted)


def opened(tx: Tx, run: str) -> RunHead:
    """The run, locked until the transaction ends, when it may be added to. Raises RunDeleted."""
    now = _locked(tx, run)
    if now.deleted:
        raise RunDeleted(run=run, why="nothing is added to it", hint="restore it first")
    return now


def _locked(tx: Tx, run: str) -> RunHead:
    tx.execute(sa.select(_R.id).where(_R.id == run).with_for_update())
    return head(tx.connection, run)


def changed(tx: Tx, by: Principal, before: RunHead) -> None:
    """Whoever changed what a run holds says so: one that ended has another digest now."""
    if before.state in ENDED and run_digest(tx.connection, before.id) != before.digest:
        _set(tx, by, before, state=before.state, deleted=False)


def _set(tx: Tx, by: Principal, before: RunHead, *, state: str, deleted: bool) -> None:
    digest = run_digest(tx.connection, before.id) if state in ENDED else None
    tx.execute(mlflow_runs.update().where(_R.id == before.id).values(state=state, digest=digest))
    total = sa.select(sa.func.coalesce(sa.func.sum(mlflow_series.c.points), 0))
    count = tx.connection.scalar(total.where(mlflow_series.c.run == before.id))
    detail = {
        "run": before.id,
        "state": state,
        "digest": digest,
        "deleted": deleted,
        "points": int(count or 0),
    }
    record(tx, "mlflow.run.changed", by=by, object=before.id, project=before.project, detail=detail)
