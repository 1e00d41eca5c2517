"""Answers told once by rows and once by entries; compared inside the database: they are too many to hold."""

from __future__ import annotations

import sqlalchemy as sa

from freehold.ledger.ruled import Found
from freehold.store import tables


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
