"""Finding answers and entries in long lists: newest first, page by page, at the same speed anywhere.

A page is asked for by where the one before ended, never by how many rows to skip. Each combination of
what is filtered by is read from its own stretch of one index, and the stretches are laid together.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from freehold.control.day import ENDINGS
from freehold.errors import BadInput
from freehold.store.tables import answers, entries, incidents, ledger

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
    release: str | None = None
    subject: str | None = None
    """The HMAC that records carry."""
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
    a, index = answers.c, _index(asked)
    where = [
        *(_equal(name, said, index) for name in _NARROWEST if (said := getattr(asked, name)) is not None),
        *([a.at >= asked.since] if asked.since is not None else []),
        *([a.at < asked.until] if asked.until is not None else []),
    ]
    stretches = [
        sa.select(answers).where(there, *ended, *where)
        for there, ended in itertools.product(_in_projects(projects, index), _ended(asked, index))
    ]
    return _page(conn, stretches, a.at, a.id, cursor, way, size)


_NARROWEST = ("subject", "release", "key", "service")
_INDEXED = {
    "subject": ("project", "subject"),
    "release": ("release",),
    "key": ("key", "ending"),
    "service": ("project", "service", "ending"),
    "ending": ("project", "ending"),
}
"""Index (`answers_by_…`) to the columns that stand in it before the time."""


def _index(asked: Asked) -> str:
    """The index that holds what is asked for in the order of time."""
    return next((name for name in _NARROWEST if getattr(asked, name) is not None), "ending")


def _equal(name: str, value: str | None, index: str) -> sa.ColumnElement[bool]:
    """A comparison that only the chosen index can serve: a planner without figures takes any other."""
    column: sa.ColumnElement[str] = answers.c[name]
    return _is(column if name in _INDEXED[index] else column + "", value)


def _in_projects(projects: Sequence[str], index: str) -> Sequence[sa.ColumnElement[bool]]:
    """One by one where the index has each in a stretch of its own; a key or a release is in one of them."""
    if "project" in _INDEXED[index]:
        return [_equal("project", project, index) for project in projects]
    return [(answers.c.project + "").in_(projects)]


def _ended(asked: Asked, index: str) -> Sequence[Sequence[sa.ColumnElement[bool]]]:
    """Which endings; one by one where the index has each in a stretch of its own."""
    if asked.ending is not None:
        return [[_equal("ending", None if asked.ending == "under way" else asked.ending, index)]]
    if index in ("subject", "release"):
        return [[]]
    return [[_equal("ending", one, index)] for one in (*ENDINGS, None)]


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
    rest = [
        *([e.at >= asked.since] if asked.since is not None else []),
        *([e.at < asked.until] if asked.until is not None else []),
    ]
    base = sa.select(entries, ledger.c.ix).select_from(entries.outerjoin(ledger, ledger.c.id == e.id))
    stretches = [base.where(*where, *rest) for where in _stretches(conn, projects, asked)]
    return _page(conn, stretches, e.at, e.id, cursor, way, size)


INCIDENT_STATES = ("open", "acknowledged", "closed")


def page_of_incidents(
    conn: sa.Connection,
    projects: Sequence[str],
    state: str | None,
    cursor: Cursor | None,
    way: Way,
    size: int,
) -> Page:
    """The incidents of these projects, in one state or in any."""
    i, states = incidents.c, [state] if state else INCIDENT_STATES
    stretches = [
        sa.select(incidents).where(i.project == project, i.state == one)
        for project, one in itertools.product(projects, states)
    ]
    return _page(conn, stretches, i.at, i.id, cursor, way, size)


def _stretches(
    conn: sa.Connection, projects: Sequence[str] | None, asked: AskedEntries
) -> Iterator[Sequence[sa.ColumnElement[bool]]]:
    """What an index holds together in the order of time, and what is asked for is made of."""
    e = entries.c
    if asked.object:  # an object has few entries: these are read, and what else is asked of them
        among = [(e.project + "").in_(projects)] if projects is not None else []
        kind = [e.kind == asked.kind] if asked.kind else []
        actor = [e.actor + "" == asked.actor] if asked.actor else []
        yield [e.object == asked.object, *among, *kind, *actor]
    elif asked.actor:
        who = e.actor == asked.actor
        for project in _among(conn, projects, who):
            there = _is(e.project, project)
            kinds = [asked.kind] if asked.kind else _values(conn, e.kind, who, there)
            yield from ([who, there, e.kind == kind] for kind in kinds)
    elif asked.kind:
        what = e.kind == asked.kind
        yield from ([what, _is(e.project, project)] for project in _among(conn, projects, what))
    elif projects is not None:
        yield from ([e.project == project] for project in projects)
    else:
        yield []


def _among(
    conn: sa.Connection, projects: Sequence[str] | None, where: sa.ColumnElement[bool]
) -> Iterable[str | None]:
    """The projects that are looked at; of the whole installation those that have such entries."""
    return projects if projects is not None else _values(conn, entries.c.project, where)


def _is(column: sa.ColumnElement[str], value: str | None) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _values(
    conn: sa.Connection, column: sa.ColumnElement[str], *where: sa.ColumnElement[bool]
) -> list[str | None]:
    """The different values a column has there, found by leaping along an index."""
    found: list[str | None] = []
    if conn.scalar(sa.select(entries.c.id).where(*where, column.is_(None)).limit(1)) is not None:
        found.append(None)
    last: str | None = ""
    while last is not None:
        leap = sa.select(column).where(*where, column > last).order_by(column).limit(1)
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


# -- places as addresses say them -------------------------------------------------------------------


def written(cursor: Cursor | None) -> str | None:
    """`TIME.ID`, for the address of the page behind it."""
    return f"{cursor[0]}.{cursor[1]}" if cursor else None


def read(text: str) -> Cursor | None:
    """What `written` wrote; none where it cannot have written this."""
    at, _, id = text.partition(".")
    return (int(at), id) if at.isdecimal() and at.isascii() and len(at) < 18 and id else None


def behind(older: str | None, what: str) -> Cursor | None:
    """Where a page of the API continues: the `next` of the one before. Raises BadInput."""
    if older is None:
        return None
    if (cursor := read(older)) is None:
        raise BadInput(
            what="`older` is no place in this list",
            why=f"a place is a time and {what}",
            hint="give the `next` of the page before",
        )
    return cursor
