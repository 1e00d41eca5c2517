"""Answers told once by rows and once by entries; compared inside the database: they are too many to hold.

That each row has its entries is quickly seen. That it says what they say takes reading all of them side by
side, which `verify --deep` does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import groupby, islice
from typing import Any

import msgspec
import sqlalchemy as sa

from freehold.ledger.ruled import Found
from freehold.spec.answer import COPY, FORGOTTEN, GIVEN
from freehold.spec.ids import made_at
from freehold.store import tables

_AT_ONCE = 1000
"""Rows that are fetched together."""
_NEAR = 3_600_000_000
"""Microseconds: a body may take half a minute to come, and a clock be put right meanwhile."""


def disagreements(connection: sa.Connection) -> tuple[int, list[tuple[str, str]]]:
    """Each answer has its intent, each ended one its close; both entries name the answer as object."""
    a, found = tables.answers.c, []
    for kind, which in (("answer.intent", sa.true()), ("answer.close", a.ending.is_not(None))):
        e = tables.entries.alias()
        entry = sa.select(e.c.id).where(e.c.object == a.id, e.c.kind == kind).exists()
        row = connection.execute(sa.select(a.id).where(which, ~entry).limit(1)).first()
        if row is not None:
            found.append((f"answers `{row.id}`", f"the row is there, no entry `{kind}` is"))
    count = connection.execute(sa.select(sa.func.count()).select_from(tables.answers)).scalar_one()
    if not found:
        found += _without_row(connection, count)
    return count, found + list(_again(connection))


def _without_row(connection: sa.Connection, count: int) -> Found:
    """Each intent still has its row: as many of them say so, the one that is gone is looked for if not."""
    a, e = tables.answers.c, tables.entries.c
    told = e.kind == "answer.intent"
    if connection.scalar(sa.select(sa.func.count()).where(told)) == count:
        return
    row = sa.select(a.id).where(a.id == e.object).exists()
    answer = connection.scalar(sa.select(e.object).where(told, ~row).limit(1))
    if answer is not None:
        yield f"answers `{answer}`", "entry `answer.intent` is there, the row is not"


def _again(connection: sa.Connection) -> Found:
    """Each time an answer was given again is one row and one entry."""
    rows, e = tables.answers_again, tables.entries.c
    told = e.kind == "answer.again"
    told_of_it = sa.select(sa.func.count()).where(told, e.object == rows.c.answer).scalar_subquery()
    counted = sa.select(rows.c.answer).group_by(rows.c.answer).having(sa.func.count() != told_of_it)
    answer = connection.scalar(counted.limit(1))
    every = connection.scalar(sa.select(sa.func.count()).select_from(rows))
    if answer is not None:
        yield f"answers_again `{answer}`", "it has more or fewer rows than entries `answer.again`"
    elif every != connection.scalar(sa.select(sa.func.count()).where(told)):
        yield "answers_again", "an entry `answer.again` is there, its row is not"


# -- what they say ------------------------------------------------------------------------------------------


Places = Generator[tuple[str, str], None, None]
"""(place, why), to be closed."""


class _Said(msgspec.Struct):
    """What an entry says of an answer."""

    kind: str
    project: str | None
    detail: dict[str, Any]
    request: str | None = None
    trace: str | None = None
    """The first entries there were name none."""


_SAID = msgspec.json.Decoder(_Said)
_BEGUN = ("service", "key", "purpose", "request", "snapshot", "sandbox", "spool", "sequence")
_BEGUN_PERHAPS = ("subject", "release", "serving_digest")
"""Nothing in the entry is nothing in the row."""
_ENDED = ("ending", "status", "reason", "tokens_in", "tokens_out", "cost")
_TURNS = ("answer.intent", "answer.turned", "answer.close", "answer.amended")
"""In which order they come about."""
_EMPTY = dict.fromkeys(("ending", "status", "response", "guards")) | {
    "reason": "",
    "tokens_in": 0,
    "tokens_out": 0,
    "cost": "0",
}


def changed(connection: sa.Connection) -> list[tuple[str, str]]:
    """The first answer whose row says something else than its entries, and the first given again."""
    found: list[tuple[str, str]] = []
    for look in (_changed, _changed_again):
        with closing(look(connection)) as places:  # and what is read for it: nobody reads on
            found += islice(places, 1)
    return found


def _changed(connection: sa.Connection) -> Places:
    for prefix in (GIVEN, COPY):
        with _all_of(connection, _rows(prefix)) as rows, _all_of(connection, _entries(prefix)) as entries:
            said = _told(entries)
            one = next(said, None)
            for row in rows:
                # an entry without a row is told by `disagreements`, and so is the reverse
                while one is not None and one[0] < row.id:
                    one = next(said, None)
                if one is not None and one[0] == row.id:
                    yield from _other(row, one[1])
                    if name := _moved(row, one[1]):
                        yield f"answers `{row.id}`", f"its `{name}` is not when its entries have it"


def _other(row: sa.Row[Any], said: dict[str, Any]) -> Found:
    for name, value in said.items():
        there = getattr(row, name)
        forgotten = name == "subject" and value is not None and there == FORGOTTEN
        if there != value and not forgotten:
            yield f"answers `{row.id}`", f"its `{name}` is not what its entries say"


def _moved(row: sa.Row[Any], said: dict[str, Any]) -> str:
    """Which of its times is not when its entries have it; empty where both are.

    Entries have a gateway's times in other words: an answer's id was made when it began, its close says
    how long it took. A copy's time is counted from its turn, which nothing says.
    """
    began, took, ended = made_at(row.id), said.get("micros"), said.get("ending") is not None
    if began is not None and abs(row.at - began) > _NEAR:
        return "at"
    if (row.closed_at is not None) != ended:
        return "closed_at"
    if not ended or took is None or not row.id.startswith(GIVEN):
        return ""
    lasted = row.closed_at - row.at
    set_back = lasted < 0 and not took  # the clock was, while it was answered
    return "closed_at" if abs(lasted - took) > _NEAR and not set_back else ""


def _rows(prefix: str) -> sa.Select[Any]:
    a = tables.answers.c
    return sa.select(tables.answers).where(_begins(a.id, prefix)).order_by(a.id)


def _entries(prefix: str) -> sa.Select[Any]:
    """In the order of answers: an index has them so."""
    e = tables.entries.c
    return sa.select(e.object, e.body).where(_begins(e.object, prefix)).order_by(e.object)


def _all_of(connection: sa.Connection, query: sa.Select[Any]) -> sa.CursorResult[Any]:
    """Some at a time. To be closed: on Postgres a cursor stays open for it."""
    return connection.execute(query, execution_options={"yield_per": _AT_ONCE})


def _told(entries: Iterable[sa.Row[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(answer, its row by its entries)."""
    for answer, some in groupby(entries, lambda one: str(one.object)):
        yield answer, _row_of(_said(entry.body) for entry in some)


def _begins(column: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    """Names that begin so; texts are in the order of their bytes."""
    return (column >= prefix) & (column < prefix[:-1] + chr(ord(prefix[-1]) + 1))


def _said(body: str) -> _Said | None:
    try:
        return _SAID.decode(body)
    except msgspec.MsgspecError:
        return None  # the walk over the entries names it


def _row_of(entries: Iterable[_Said | None]) -> dict[str, Any]:
    """What the row of an answer holds when it holds what these say, one after the other."""
    row: dict[str, Any] = {}
    told = [one for one in entries if one is not None and one.kind in _TURNS]
    for one in sorted(told, key=lambda one: (_TURNS.index(one.kind), one.detail.get("sequence", 0))):
        said = one.detail
        match one.kind:
            case "answer.intent":
                row |= {**_EMPTY, "project": one.project, **{name: said.get(name) for name in _BEGUN_PERHAPS}}
                row |= {name: said[name] for name in _BEGUN if name in said}
                asked = {"request_id": one.request, "trace": one.trace}
                row |= {name: value for name, value in asked.items() if value is not None}
            case "answer.turned":
                row |= {name: said.get(name) for name in ("release", "serving_digest")}
            case "answer.close":
                row |= {name: said[name] for name in (*_ENDED, "micros", "estimated") if name in said}
                row |= {"response": said.get("response"), "guards": "; ".join(said.get("guards", ())) or None}
            case "answer.amended" if "again" not in said:
                row |= {name: said[name] for name in ("ending", "status", "reason") if name in said}
    return row


def _changed_again(connection: sa.Connection) -> Places:
    """Answers that were given again, one by one: each is given again a few times, and they are many."""
    given_again, e = tables.answers_again, tables.entries.c
    rows = sa.select(given_again).order_by(given_again.c.answer)
    told = sa.select(e.object, e.body).where(e.kind.in_(("answer.again", "answer.amended")))
    with _all_of(connection, rows) as found, _all_of(connection, told.order_by(e.object)) as entries:
        said = groupby(entries, lambda one: str(one.object))
        one = next(said, None)
        for answer, some in groupby(found, lambda row: str(row.answer)):
            while one is not None and one[0] < answer:
                one = next(said, None)
            given = _given(entry.body for entry in one[1]) if one is not None and one[0] == answer else {}
            for row in some:
                for name, value in given.get(row.id, {"answer": None}).items():
                    if getattr(row, name) != value:
                        yield f"answers_again `{row.id}`", f"its `{name}` is not what its entries say"


def _given(bodies: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the rows of an answer that was given again hold when they hold what these entries say."""
    given: dict[str, dict[str, Any]] = {}
    told = [one for one in map(_said, bodies) if one is not None and "again" in one.detail]
    for one in sorted(told, key=lambda one: one.kind):
        said = one.detail
        if one.kind == "answer.again":
            given[said["again"]] = {name: said.get(name) for name in ("answer", "key", "at", "given")}
        elif said["again"] in given:
            given[said["again"]]["given"] = False
    return given
