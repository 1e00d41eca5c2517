"""Measured values: every point as it came, and the latest of each metric.

A series is one metric of one run. Its points are chained (`ledger.tracked.chain`), so that the entry
which ends the run can cite all of them without reading them again. A batch that comes twice, because
its answer was lost, counts once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from freehold.ledger.tracked import EMPTY, chain
from freehold.store.few import few
from freehold.store.rows import Tx
from freehold.store.tables import mlflow_metrics, mlflow_model_metrics, mlflow_series
from freehold.track.records import Point, value_of

_S, _P, _M = mlflow_series.c, mlflow_metrics.c, mlflow_model_metrics.c

Bare = tuple[int, int, float, str]
"""step, time, value, special: what a point is within its series."""


def add(tx: Tx, run: str, points: Sequence[Point]) -> None:
    """Add points to a run that the caller has locked."""
    by_key: dict[str, list[Bare]] = defaultdict(list)
    for point in points:
        value, special = point.stored
        by_key[point.key].append((point.step, point.at, value, special))
    there = _series(tx.connection, run, list(by_key))
    known = _known(tx.connection, there, by_key)
    fresh = {key: _unseen(bare, known.get(key, set())) for key, bare in by_key.items()}
    ids = _begin(tx, run, {key: bare for key, bare in fresh.items() if key not in there})
    _extend(tx, there, fresh)
    rows = []
    for key, bare in fresh.items():
        before = there[key]["points"] if key in there else 0
        series = there[key]["id"] if key in there else ids[key]
        rows += [_row(series, before + n, one) for n, one in enumerate(bare, 1)]
    if rows:
        tx.execute(mlflow_metrics.insert(), rows)
    _add_about_models(tx, run, [point for point in points if point.model])


def _series(conn: sa.Connection, run: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for some in few(keys):
        query = sa.select(mlflow_series).where(_S.run == run, _S.key.in_(some))
        found |= {row["key"]: dict(row) for row in conn.execute(query).mappings()}
    return found


def _known(
    conn: sa.Connection, there: dict[str, dict[str, Any]], by_key: dict[str, list[Bare]]
) -> dict[str, set[Bare]]:
    """Points that are stored already, of the series where that is possible at all."""
    known = {}
    for key, series in there.items():
        steps = [bare[0] for bare in by_key[key]]
        if min(bare[:2] for bare in by_key[key]) <= (series["step"], series["at"]):
            some = _P.series == series["id"], _P.step.between(min(steps), max(steps))
            rows = conn.execute(sa.select(_P.step, _P.at, _P.value, _P.special).where(*some))
            known[key] = {tuple(row) for row in rows}
    return known


def _unseen(points: Iterable[Bare], known: set[Bare]) -> list[Bare]:
    return [one for one in dict.fromkeys(points) if one not in known]


def _begin(tx: Tx, run: str, fresh: dict[str, list[Bare]]) -> dict[str, int]:
    """New series; their ids by key."""
    rows = [
        {"run": run, "key": key, "points": len(bare), "head": chain(EMPTY, bare), **_latest(bare)}
        for key, bare in fresh.items()
    ]
    if not rows:
        return {}
    made = tx.execute(mlflow_series.insert().returning(_S.id, _S.key), rows)
    return {row.key: row.id for row in made}


def _extend(tx: Tx, there: dict[str, dict[str, Any]], fresh: dict[str, list[Bare]]) -> None:
    rows = []
    for key, series in there.items():
        if bare := fresh[key]:
            before = (series["step"], series["at"], series["value"], series["special"])
            rows.append(
                {
                    "series_id": series["id"],
                    "points": series["points"] + len(bare),
                    "head": chain(series["head"], bare),
                    **_latest([before, *bare]),
                }
            )
    if rows:
        names = ("points", "head", "step", "at", "value", "special")
        change = mlflow_series.update().where(_S.id == sa.bindparam("series_id"))
        tx.execute(change.values({name: sa.bindparam(name) for name in names}), rows)


def _latest(points: Sequence[Bare]) -> dict[str, Any]:
    """Greatest step, then time, then value: what MLflow calls the latest."""
    step, at, value, special = max(points, key=lambda one: one[:3])
    return {"step": step, "at": at, "value": value, "special": special}


def _row(series: int, n: int, point: Bare) -> dict[str, Any]:
    step, at, value, special = point
    return {"series": series, "n": n, "step": step, "at": at, "value": value, "special": special}


def _add_about_models(tx: Tx, run: str, points: Sequence[Point]) -> None:
    """The latest point of each metric that says which logged model it is about."""
    for point in points:
        value, special = point.stored
        where = (
            _M.model == point.model,
            _M.run == run,
            _M.key == point.key,
            _M.dataset == point.dataset,
        )
        said = {"step": point.step, "at": point.at, "value": value, "special": special}
        there = tx.execute(sa.select(_M.step, _M.at).where(*where)).first()
        if there is None:
            which = {"model": point.model, "run": run, "key": point.key, "dataset": point.dataset}
            tx.execute(mlflow_model_metrics.insert().values(**which, **said))
        elif (there.step, there.at) <= (point.step, point.at):
            tx.execute(mlflow_model_metrics.update().where(*where).values(**said))


# -- reading ------------------------------------------------------------------------------------------


def latest(conn: sa.Connection, runs: Sequence[str]) -> dict[str, tuple[Point, ...]]:
    """The latest point of every metric of these runs."""
    found: dict[str, list[Point]] = defaultdict(list)
    for some in few(runs):
        query = sa.select(_S.run, _S.key, _S.step, _S.at, _S.value, _S.special).where(_S.run.in_(some))
        for row in conn.execute(query.order_by(_S.run, _S.id)):
            found[row.run].append(_point(row))
    return {run: tuple(points) for run, points in found.items()}


def history(conn: sa.Connection, run: str, key: str, *, after: int = 0, limit: int = 25_000) -> list[Point]:
    """The points of one metric in the order they came, beyond the first `after`."""
    query = (
        sa.select(_S.key, _P.step, _P.at, _P.value, _P.special)
        .join(mlflow_series, _S.id == _P.series)
        .where(_S.run == run, _S.key == key, _P.n > after)
        .order_by(_P.n)
        .limit(limit)
    )
    return [_point(row) for row in conn.execute(query)]


def about_models(conn: sa.Connection, models: Sequence[str]) -> dict[str, list[tuple[str, Point]]]:
    """(run, point) of what was measured on each logged model, without the names of the data."""
    found: dict[str, list[tuple[str, Point]]] = defaultdict(list)
    for some in few(models):
        query = sa.select(mlflow_model_metrics).where(_M.model.in_(some))
        for row in conn.execute(query.order_by(_M.run, _M.key, _M.dataset)):
            point = _point(row)
            found[row.model].append((row.run, _about(point, row.model, row.dataset)))
    return found


def _point(row: Any) -> Point:
    return Point(key=row.key, value=value_of(row.value, row.special), step=row.step, at=row.at)


def _about(point: Point, model: str, dataset: str) -> Point:
    return Point(key=point.key, value=point.value, step=point.step, at=point.at, model=model, dataset=dataset)
