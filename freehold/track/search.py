"""Finding runs: conditions on attributes and metrics in the database, on sealed words after opening them.

Paging is by position in the order asked for, so a run that begins meanwhile may shift a page, as it
does in MLflow.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.errors import BadInput
from freehold.spec.ids import digest
from freehold.store.keyring import Keyring
from freehold.store.tables import mlflow_runs, mlflow_series
from freehold.track import filters, runs, words
from freehold.track.filters import Comparison, FilterUnusable, Order
from freehold.track.records import Run, RunHead

MOST = 1000
"""Runs in one page."""

ATTRIBUTES = {
    "run_id": mlflow_runs.c.id,
    "status": mlflow_runs.c.state,
    "user_id": mlflow_runs.c.owner,
    "start_time": mlflow_runs.c.started_at,
    "end_time": mlflow_runs.c.ended_at,
    "created": mlflow_runs.c.started_at,
    "Created": mlflow_runs.c.started_at,
}
NUMBERS = ("start_time", "end_time", "created", "Created")
NAMES = ("run_name", "Run Name", "run name")

_R, _S = mlflow_runs.c, mlflow_series.c


class TokenUnusable(BadInput):
    """this page token belongs to another search"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some runs, and where to go on."""

    runs: list[Run]
    token: str | None


def search(
    conn: sa.Connection,
    keyring: Keyring,
    *,
    experiments: Sequence[str],
    filter: str = "",
    order_by: Sequence[str] = (),
    deleted: bool | None = False,
    limit: int = MOST,
    token: str = "",
) -> Page:
    """Runs of these experiments. Raises FilterUnusable, TokenUnusable.

    `deleted=None` means both kinds. At most `MOST` runs come at once.
    """
    conditions = filters.parse(
        filter,
        attributes={*ATTRIBUTES, *NAMES},
        numbers=NUMBERS,
        kinds=("attribute", "metric", "param", "tag"),
    )
    later = [one for one in conditions if not _in_database(one)]
    query = _query(experiments, [one for one in conditions if _in_database(one)], deleted)
    query = _ordered(query, order_by)
    asked = digest([list(experiments), filter, list(order_by), str(deleted)])
    start = _position(token, asked)
    found: list[RunHead] = []
    wanted = max(1, min(limit, MOST))
    for position, head in _fitting(conn, keyring, query, later, start):
        if len(found) == wanted:
            return Page(runs=runs.filled(conn, keyring, found), token=_token(position, asked))
        found.append(head)
    return Page(runs=runs.filled(conn, keyring, found), token=None)


def _query(
    experiments: Sequence[str], conditions: Sequence[Comparison], deleted: bool | None
) -> sa.Select[Any]:
    query = runs.heads().where(_R.experiment.in_(list(experiments)))
    if deleted is not None:
        query = query.where(_R.deleted_at.is_not(None) if deleted else _R.deleted_at.is_(None))
    return query.where(*(_condition(one) for one in conditions))


def _in_database(one: Comparison) -> bool:
    """Words are sealed, and databases do not agree on whether LIKE minds upper case."""
    return one.kind == "metric" or (one.key in ATTRIBUTES and "LIKE" not in one.op)


def _condition(one: Comparison) -> sa.ColumnElement[bool]:
    if one.kind == "metric":
        is_it = _compared(_S.value, one.op, one.value)
        return sa.exists().where(_S.run == _R.id, _S.key == one.key, _S.special != "NaN", is_it)
    value = one.value
    if one.key in NUMBERS and isinstance(value, float):
        value = value * 1000  # MLflow speaks in milliseconds
    if one.key == "status":
        value = tuple(v.lower() for v in value) if isinstance(value, tuple) else str(value).lower()
    return _compared(ATTRIBUTES[one.key], one.op, value)


def _compared(column: Any, op: str, value: Any) -> sa.ColumnElement[bool]:
    made: dict[str, Any] = {
        "=": lambda: column == value,
        "!=": lambda: column != value,
        "<": lambda: column < value,
        "<=": lambda: column <= value,
        ">": lambda: column > value,
        ">=": lambda: column >= value,
        "IN": lambda: column.in_(value),
        "NOT IN": lambda: column.not_in(value),
        "IS NULL": lambda: column.is_(None),
        "IS NOT NULL": lambda: column.is_not(None),
    }
    condition: sa.ColumnElement[bool] = made[op]()
    return condition


def _ordered(query: sa.Select[Any], order_by: Sequence[str]) -> sa.Select[Any]:
    """What has no value comes last, whichever way; then the newest first."""
    for text in order_by:
        one = filters.parse_order(
            text, attributes={*ATTRIBUTES, *NAMES}, kinds=("attribute", "metric", "param", "tag")
        )
        column = _order_column(one, text)
        query = query.order_by(column.is_(None), column.desc() if one.descending else column.asc())
    return query.order_by(_R.started_at.desc(), _R.id)


def _order_column(one: Order, text: str) -> Any:
    if one.kind == "metric":
        value = sa.select(_S.value).where(_S.run == _R.id, _S.key == one.key, _S.special != "NaN")
        return value.scalar_subquery()
    if one.kind == "attribute" and one.key in ATTRIBUTES:
        return ATTRIBUTES[one.key]
    raise FilterUnusable(
        text=text[:80],
        why="params, tags and names are kept sealed and cannot order a search",
        hint="order by an attribute or a metric, and sort what comes back",
    )


def _fitting(
    conn: sa.Connection,
    keyring: Keyring,
    query: sa.Select[Any],
    later: Sequence[Comparison],
    start: int,
) -> Iterator[tuple[int, RunHead]]:
    """Positions and runs that fulfil everything, from `start` on; words are opened some at a time."""
    at_once = 500 if later else MOST + 1
    while True:
        rows = conn.execute(query.offset(start).limit(at_once)).mappings().all()
        heads = [runs.as_head(row) for row in rows]
        docs = words.load_many(conn, keyring, [head.id for head in heads]) if later else {}
        for position, head in enumerate(heads, start):
            if all(one.holds(_value(head, docs.get(head.id, {}), one)) for one in later):
                yield position, head
        if len(rows) < at_once:
            return
        start += at_once


def _value(head: RunHead, doc: dict[str, Any], one: Comparison) -> str | None:
    if one.kind == "attribute":
        own = {"run_id": head.id, "status": head.state.upper(), "user_id": head.owner}
        return own.get(one.key, str(doc.get("name", "")))
    value = doc.get(f"{one.kind}s", {}).get(one.key)
    return None if value is None else str(value)


def _token(position: int, asked: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([position, asked]).encode()).decode()


def _position(token: str, asked: str) -> int:
    if not token:
        return 0
    try:
        position, of = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError) as error:
        raise TokenUnusable(why="it is none of ours") from error
    if of != asked or not isinstance(position, int) or position < 0:
        raise TokenUnusable(why="page tokens go with the same filter and order", hint="start without one")
    return position
