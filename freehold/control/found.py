"""Finding answers and entries in long lists: newest first, page by page, at the same speed anywhere.

A page is asked for by where the one before ended, never by how many rows to skip. Each combination of
what is filtered by is read from its own stretch of one index, and the stretches are laid together.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from freehold.control.day import ENDINGS
from freehold.store.tables import answers, entries, ledger

Row = Mapping[str, Any]
Cursor = tuple[int, str]
"""(time, id) of the row a page continues behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which answers; none means every one."""

    service: str | None = None
    ending: str | None = None
    """One of `day.ENDINGS`, or `under way`."""
    key: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows, newest first, and where the pages beside this one begin."""

    rows: Sequence[Row]
    newer: Cursor | None
    older: Cursor | None


Way = Literal["older", "newer"]


def page_of_answers(
    conn: sa.Connection, projects: Sequence[str], asked: Asked, cursor: Cursor | None, way: Way, size: int
) -> Page:
    """The answers asked for in these projects, `size` of them, older or newer than `cursor`."""
    a = answers.c
    endings: Sequence[str | None] = (*ENDINGS, None)
    if asked.ending is not None:
        endings = (None if asked.ending == "under way" else asked.ending,)
    where = [
        *([a.service == asked.service] if asked.service else []),
        *([a.key == asked.key] if asked.key else []),
        *([a.at >= asked.since] if asked.since is not None else []),
        *([a.at < asked.until] if asked.until is not None else []),
    ]
    stretches = [
        sa.select(answers).where(a.project == project, a.ending == ending, *where)
        for project, ending in itertools.product(projects, endings)
    ]
    return _page(conn, stretches, a.at, a.id, cursor, way, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEntries:
    """Which entries; none means every one."""

    kind: str | None = None
    actor: str | None = None
    object: str | None = None
    since: int | None = None
    until: int | None = None


def page_of_entries(
    conn: sa.Connection,
    projects: Sequence[str] | None,
    asked: AskedEntries,
    cursor: Cursor | None,
    way: Way,
    size: int,
) -> Page:
    """The entries asked for, with their places; without `projects` those of the whole installation."""
    e = entries.c
    where = [
        *([e.actor == asked.actor] if asked.actor else []),
        *([e.object == asked.object] if asked.object else []),
        *([e.kind == asked.kind] if asked.kind else []),
        *([e.at >= asked.since] if asked.since is not None else []),
        *([e.at < asked.until] if asked.until is not None else []),
    ]
    base = sa.select(entries, ledger.c.ix).select_from(entries.outerjoin(ledger, ledger.c.id == e.id))
    if asked.kind and not (asked.actor or asked.object):
        named: Iterable[str | None] = projects if projects is not None else _projects(conn, asked.kind)
        stretches = [base.where(e.project == project, *where) for project in named]
    elif projects is not None:
        stretches = [base.where(e.project.in_(projects), *where)]
    else:
        stretches = [base.where(*where)]
    return _page(conn, stretches, e.at, e.id, cursor, way, size)


def _projects(conn: sa.Connection, kind: str) -> list[str | None]:
    """The projects that have entries of a kind, found by leaping along the index."""
    e = entries.c
    found: list[str | None] = []
    none = sa.select(e.id).where(e.kind == kind, e.project.is_(None)).limit(1)
    if conn.scalar(none) is not None:
        found.append(None)
    last: str | None = ""
    while last is not None:
        leap = sa.select(e.project).where(e.kind == kind, e.project > last).order_by(e.project).limit(1)
        last = conn.scalar(leap)
        found += [last] if last else []
    return found


def _page(
    conn: sa.Connection,
    stretches: Sequence[sa.Select[Any]],
    at: sa.ColumnElement[int],
    id: sa.ColumnElement[str],
    cursor: Cursor | None,
    way: Way,
    size: int,
) -> Page:
    newer = way == "newer" and cursor is not None
    order = (at, id) if newer else (at.desc(), id.desc())
    parts = []
    for query in stretches:
        if cursor is not None:
            query = query.where(_beyond(at, id, cursor, newer))
        parts.append(conn.execute(query.order_by(*order).limit(size + 1)).mappings().all())
    merged = heapq.merge(*parts, key=lambda row: (row["at"], row["id"]), reverse=not newer)
    rows = [dict(row) for row in itertools.islice(merged, size + 1)]
    more, rows = len(rows) > size, rows[:size]
    if newer:
        rows.reverse()
    before, behind = (more, bool(rows)) if newer else (cursor is not None and bool(rows), more)
    return Page(
        rows=rows,
        newer=_cursor(rows[0]) if before else None,
        older=_cursor(rows[-1]) if behind else None,
    )


def _beyond(
    at: sa.ColumnElement[int], id: sa.ColumnElement[str], cursor: Cursor, newer: bool
) -> sa.ColumnElement[bool]:
    """Rows on the other side of `cursor`; the first comparison alone lets an index be used."""
    if newer:
        return sa.and_(at >= cursor[0], sa.or_(at > cursor[0], id > cursor[1]))
    return sa.and_(at <= cursor[0], sa.or_(at < cursor[0], id < cursor[1]))


def _cursor(row: Row) -> Cursor:
    return row["at"], row["id"]
