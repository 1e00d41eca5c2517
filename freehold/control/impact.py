"""From a record forward: everything that learned from it, and every answer that came of that.

Answers are counted, and the newest ids given; the rest is a list of its own (`/api/answers`), read
page by page: a model may have answered millions of times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.control import lineage
from freehold.data import versions
from freehold.data.versions import DataVersion
from freehold.errors import BadInput, NotFound
from freehold.spec.figures import plural
from freehold.spec.ids import parse_reference
from freehold.spec.tree import Tree
from freehold.store import tables
from freehold.store.ground import Ground

Row = Mapping[str, Any]

IDS_SHOWN = 20
DEEPEST = 32
"""Generations of model versions that are followed; a longer chain is told as a hole."""


class WhichOne(BadInput):
    """`{ref}` could be more than one thing"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a reference stands for: a data set version or a model version."""

    project: str
    data: DataVersion | None = None
    model: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What of the answers the reader may see."""

    ids: bool
    """Their ids; without, only how many."""
    most: int = IDS_SHOWN


def resolve(conn: sa.Connection, ref: str, projects: Sequence[str]) -> Found:
    """What `ref` means in these projects; `data:claims@7` and `model:claims@7` say which kind.

    Raises NotFound; WhichOne when it could be several.
    """
    kind, _, name_at = ref.rpartition(":")
    name, number = parse_reference(name_at)
    found = [*_data(conn, name, number, projects)] if kind in ("", "data") else []
    found += _models(conn, name, number, projects) if kind in ("", "model") else []
    if not found:
        raise NotFound(
            kind="data set or model version", name=ref[:80], hint="`freehold data list`, `freehold runs`"
        )
    if len(found) > 1:
        raise WhichOne(ref=ref[:80], why=_which(found, name_at), hint=_choose(found, name_at))
    return found[0]


def _which(found: list[Found], ref: str) -> str:
    words = [f"the {'data set' if f.data else 'model'} in {f.project}" for f in found]
    return f"{ref} is {' and '.join(words)}"


def _choose(found: list[Found], ref: str) -> str:
    if len({f.project for f in found}) > 1:
        return "say `--project NAME`"
    return f"say `data:{ref}` or `model:{ref}`"


def _data(conn: sa.Connection, name: str, number: int, projects: Sequence[str]) -> list[Found]:
    v, d = tables.data_versions, tables.datasets
    rows = conn.execute(
        sa.select(v.c.id, d.c.project)
        .join(d, d.c.id == v.c.dataset)
        .where(d.c.name == name, v.c.version == number, d.c.project.in_(projects))
        .order_by(d.c.project)
    )
    return [Found(project=row.project, data=versions.by_id(conn, row.id)) for row in rows]


def _models(conn: sa.Connection, name: str, number: int, projects: Sequence[str]) -> list[Found]:
    m = tables.models
    rows = conn.execute(
        sa.select(m)
        .where(m.c.name == name, m.c.version == number, m.c.project.in_(projects))
        .order_by(m.c.project)
    )
    return [Found(project=row["project"], model=dict(row)) for row in rows.mappings()]


def of_version(
    ground: Ground, found: Found, reader: Reader, *, row: int | None = None, subject: str | None = None
) -> Tree:
    """Forward from a data set or model version; with `row` or `subject` (an HMAC) from what is in it.

    Raises BadInput when a model is asked about rows, NotFound for a row or person not in the version.
    """
    with ground.db.read() as conn:
        if found.model is not None:
            if row is not None or subject is not None:
                raise BadInput(
                    what="a model version has no rows",
                    why="rows and people are in data set versions",
                    hint="ask with the data set's `name@version`; `freehold why` names it",
                )
            return _model(conn, found.model, reader, 0)
        assert found.data is not None
        learned = _learned(conn, found.data, reader)
        if row is not None:
            return _of_row(ground, found.data, row, learned)
        if subject is not None:
            return _of_subject(ground, conn, found.data, subject, learned, reader)
        return lineage.data_tree(conn, found.data, children=learned)


def _of_row(ground: Ground, version: DataVersion, number: int, learned: tuple[Tree, ...]) -> Tree:
    if not 1 <= number <= version.rows:
        raise NotFound(kind="row", name=f"{version.ref}#{number}", hint=f"its rows are 1 to {version.rows}")
    row = lineage.row_tree(ground, version, number)
    return Tree(kind=row.kind, ref=row.ref, label=row.label, facts=row.facts, children=learned)


def _of_subject(
    ground: Ground,
    conn: sa.Connection,
    version: DataVersion,
    subject: str,
    learned: tuple[Tree, ...],
    reader: Reader,
) -> Tree:
    rows = lineage.rows_about(conn, version.id, subject)
    if not rows:
        raise NotFound(
            kind="person in this version",
            name=subject[:16],
            hint="the value is compared with the subject columns as they were added",
        )
    theirs = tuple(lineage.row_tree(ground, version, number) for number in rows[: reader.most])
    answers = tables.answers
    about = sa.and_(answers.c.project == version.project, answers.c.subject == subject)
    return Tree(
        kind="subject",
        ref=subject[:16],
        label=f"{plural(len(rows), 'row')} in {version.ref}",
        facts={"subject": subject, "project": version.project, "rows": rows},
        children=(*theirs, *learned, _answers(conn, about, reader, f"subject={subject}")),
    )


def _learned(conn: sa.Connection, version: DataVersion, reader: Reader) -> tuple[Tree, ...]:
    """Every run over the version, with the model it made (or, evaluating, whose card it wrote)."""
    table = tables.runs
    rows = conn.execute(
        sa.select(table).where(table.c.data_version == version.id).order_by(table.c.number)
    ).mappings()
    return tuple(_run(conn, dict(run), reader) for run in rows)


def _run(conn: sa.Connection, run: Row, reader: Reader) -> Tree:
    m = tables.models
    rows = conn.execute(sa.select(m).where(m.c.run == run["id"]).order_by(m.c.version)).mappings()
    made = tuple(_model(conn, dict(model), reader, 0) for model in rows)
    return lineage.run_tree(run, children=made)


def _model(conn: sa.Connection, model: Row, reader: Reader, depth: int) -> Tree:
    if depth >= DEEPEST:
        return Tree(kind="model", ref=f"{model['name']}@{model['version']}", hole="too deep to follow")
    m, r = tables.models, tables.releases
    derived = conn.execute(sa.select(m).where(m.c.parent == model["id"]).order_by(m.c.created_at)).mappings()
    rolled = conn.execute(
        sa.select(r).where(r.c.model == model["id"]).order_by(r.c.created_at, r.c.id)
    ).mappings()
    children = [_model(conn, dict(child), reader, depth + 1) for child in derived]
    children += [_release(conn, dict(release), reader) for release in rolled]
    return lineage.model_tree(model, children=tuple(children))


def _release(conn: sa.Connection, release: Row, reader: Reader) -> Tree:
    names = ("service", "state", "weight", "serving_digest", "created_at", "ended_at")
    answers = _answers(conn, tables.answers.c.release == release["id"], reader, f"release={release['id']}")
    return Tree(
        kind="release",
        ref=release["id"],
        label=f"{release['state']} on {release['service']}",
        facts={name: release[name] for name in names} | {"approvals": json.loads(release["approvals"])},
        children=(answers,),
    )


def _answers(conn: sa.Connection, where: sa.ColumnElement[bool], reader: Reader, rest: str) -> Tree:
    table = tables.answers
    count = int(conn.scalar(sa.select(sa.func.count()).select_from(table).where(where)) or 0)
    newest = sa.select(table.c.id).where(where).order_by(table.c.at.desc(), table.c.id.desc())
    ids = list(conn.scalars(newest.limit(reader.most))) if reader.ids and count else []
    return Tree(
        kind="answers",
        ref=rest,
        label=plural(count, "answer"),
        facts={"count": count, "ids": ids, "more": max(0, count - len(ids))},
        hole="" if reader.ids else lineage.NOT_YOURS,
    )
