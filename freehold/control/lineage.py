"""From an answer back: release, approvals, gates, model, run, data version, rows and their bases.

Reads tables of every room; only what a row says of its basis comes from `data`. Each function tells
one thing and asks for what lies behind it, so the file reads in the order of the walk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data import chunks, consent, versions
from freehold.data import lineage as rows_of
from freehold.data.versions import DataVersion
from freehold.errors import NotFound
from freehold.release import abtests
from freehold.spec.answer import copied, copy_of
from freehold.spec.figures import plural
from freehold.spec.tree import Tree
from freehold.store import tables
from freehold.store.ground import Ground

Row = Mapping[str, Any]

PATIENCE = 2.0
"""Seconds to wait for a record that is still on its way from a gateway."""
ROWS_SHOWN = 5
NOT_YOURS = "not yours to see"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the reader may see beyond the answer itself."""

    data: bool
    rows: int = ROWS_SHOWN
    """How many rows of the data version are told one by one."""


def find_answer(ground: Ground, answer: str, *, patience: float | None = None) -> Row:
    """An answer's record; waits a moment, for records reach control just after the answer left.

    Raises NotFound.
    """
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        with ground.db.read() as conn:
            row = _one(conn, tables.answers, tables.answers.c.id == answer)
        if row is not None and (row["ending"] is not None or time.monotonic() >= deadline):
            return row
        if row is None and time.monotonic() >= deadline:
            raise NotFound(
                kind="answer",
                name=answer[:80],
                hint="the id stands in the header `x-freehold-answer`; a gateway that is cut off sends later",
            )
        time.sleep(0.05)


def why(ground: Ground, answer: Row, sight: Sight) -> Tree:
    """Everything behind one answer, as far as `sight` goes."""
    with ground.db.read() as conn:
        release = _one(conn, tables.releases, tables.releases.c.id == answer["release"])
        behind = (_release(ground, conn, answer, release, sight),) if release else ()
        facts = _answer_facts(conn, answer)
        return Tree(
            kind="answer",
            ref=answer["id"],
            label=_said_of(answer, facts.get("arm")),
            facts=facts,
            children=(_service(conn, answer), *behind),
        )


def _said_of(answer: Row, arm: str | None) -> str:
    ending = answer["ending"] or "under way"
    why_not = "" if answer["reason"] in ("", "ok") else f" ({answer['reason']})"
    mark = " · sandbox" if answer["sandbox"] else ""
    mark += " · a copy, given to nobody" if copied(answer["id"]) else ""
    mark += f" · arm {arm} of an A/B test" if arm else ""
    return f"{ending}{why_not} for {answer['purpose']}{mark}"


def _answer_facts(conn: sa.Connection, answer: Row) -> dict[str, Any]:
    names = (
        "project",
        "purpose",
        "subject",
        "key",
        "at",
        "closed_at",
        "ending",
        "reason",
        "status",
        "sandbox",
        "snapshot",
        "request",
        "response",
        "tokens_in",
        "tokens_out",
        "micros",
        "cost",
        "guards",
    )
    again = tables.answers_again.c
    given = sa.select(sa.func.count()).where(again.answer == answer["id"], again.given)
    turned = _entry(conn, "answer.turned", answer["id"])
    instead = {"instead": ", ".join(json.loads(turned["body"])["detail"]["instead"])} if turned else {}
    return (
        {name: answer[name] for name in names}
        | instead
        | _went(conn, answer["id"])
        | _copy(conn, answer["id"])
        | _arm(conn, answer)
        | {
            "given_again": conn.scalar(given),
            "ledger": places(conn, answer["id"]),
        }
    )


def _went(conn: sa.Connection, answer: str) -> dict[str, str]:
    """Where its words went, of several addresses at which the model stands; mostly there is one."""
    close = _entry(conn, "answer.close", answer)
    went = json.loads(close["body"])["detail"].get("went") if close else None
    return {"went_to": ", ".join(went)} if went else {}


def _copy(conn: sa.Connection, answer: str) -> dict[str, str]:
    """Of which answer it is a copy, or which copy of its request a shadow was asked; mostly neither."""
    if (given := copied(answer)) is not None:
        return {"copy_of": given}
    copy = _one(conn, tables.answers, tables.answers.c.id == copy_of(answer))
    return {"copy": str(copy["id"])} if copy else {}


def _arm(conn: sa.Connection, answer: Row) -> dict[str, str]:
    """Of which A/B test it is part, and of which arm: A was live before, B is the candidate; mostly none."""
    found = abtests.arm_of(conn, answer)
    return {"abtest": found[0].id, "arm": found[1]} if found else {}


def places(conn: sa.Connection, object: str) -> dict[str, int | None]:
    """Kind -> place in the ledger, for every entry about `object`; None while it has no place yet."""
    entries, ledger = tables.entries, tables.ledger
    rows = conn.execute(
        sa.select(entries.c.kind, ledger.c.ix)
        .select_from(entries.outerjoin(ledger, ledger.c.id == entries.c.id))
        .where(entries.c.object == object)
        .order_by(ledger.c.ix.is_(None), ledger.c.ix, entries.c.at)
    )
    return {row.kind: row.ix for row in rows}


def _service(conn: sa.Connection, answer: Row) -> Tree:
    row = _one(conn, tables.services, tables.services.c.name == answer["service"])
    if row is None:  # a request for a service that never was is recorded too
        return Tree(kind="service", ref=answer["service"], label="unknown here")
    names = ("project", "kind", "purpose", "sensitivity", "tier", "owner", "state", "spec_digest")
    return Tree(
        kind="service",
        ref=row["name"],
        label=f"{row['tier']}, for {row['purpose']}",
        facts={name: row[name] for name in names},
    )


def _release(ground: Ground, conn: sa.Connection, answer: Row, release: Row, sight: Sight) -> Tree:
    names = ("service", "state", "weight", "serving_digest", "created_at", "ended_at")
    began = _entry(conn, "release.begun", release["id"])
    model = _one(conn, tables.models, tables.models.c.id == release["model"])
    behind = (
        (_model(ground, conn, answer, model, release["serving_digest"], sight),)
        if model
        else (_provider(conn, release),)
    )
    return Tree(
        kind="release",
        ref=release["id"],
        label=f"{release['state']}, {release['weight'] / 100:g} % of the traffic",
        facts={name: release[name] for name in names}
        | {"by": began["actor"] if began else None, "ledger": places(conn, release["id"])},
        children=(*_approvals(conn, release), *behind),
    )


def _provider(conn: sa.Connection, release: Row) -> Tree:
    """What an attached service's release stands for; the declaration of an ended one is not kept."""
    service = _one(conn, tables.services, tables.services.c.name == release["service"])
    said = json.loads(service["provider"]) if service and release["state"] == "live" else {}
    facts = {name: said.get(name) for name in ("url", "model", "region")} if said else {}
    also = said.get("also", ())
    facts |= {"also": ", ".join(also)} if also else {}
    where = [f"in {said['region']}"] if said.get("region") else []
    where += [f"at one of {1 + len(also)} addresses"] if also else []
    contract = (said.get("contract") or {}) if said else {}
    return Tree(
        kind="provider",
        ref=said.get("model") or release["serving_digest"],
        label=", ".join(where),
        facts=facts | {"contract": contract.get("digest"), "contract_until": contract.get("last_day")},
        hole="" if said else "replaced since",
    )


def _approvals(conn: sa.Connection, release: Row) -> tuple[Tree, ...]:
    ids = json.loads(release["approvals"])
    table = tables.approvals
    rows = conn.execute(sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.decided_at)).mappings()
    return tuple(
        Tree(
            kind="approval",
            ref=row["id"],
            label=f"{row['state']} by {row['decided_by']} as {row['role']}",
            facts={
                "role": row["role"],
                "by": row["decided_by"],
                "at": row["decided_at"],
                "serving_digest": row["serving_digest"],
                "ledger": places(conn, row["id"]),
            },
        )
        for row in rows
    )


def _model(
    ground: Ground, conn: sa.Connection, answer: Row, model: Row, serving_digest: str, sight: Sight
) -> Tree:
    run = _one(conn, tables.runs, tables.runs.c.id == model["run"])
    card = card_of(conn, model["id"], serving_digest)
    behind = (_run(ground, conn, answer, run, sight),) if run else ()
    base = _one(conn, tables.models, tables.models.c.id == model["parent"]) if model["parent"] else None
    tuned = (model_tree(base),) if base else ()
    return model_tree(model, children=(*((_card(card),) if card else ()), *tuned, *behind))


def model_tree(model: Row, children: tuple[Tree, ...] = ()) -> Tree:
    """A model version; what lies behind or before it are its children."""
    names = ("id", "kind", "task", "digest", "serving_digest", "state", "sensitivity", "created_at")
    return Tree(
        kind="model",
        ref=f"{model['name']}@{model['version']}",
        label=f"{model['state']}, {model['task']}",
        facts={name: model[name] for name in names},
        children=children,
    )


def card_of(conn: sa.Connection, model: str, serving_digest: str) -> Row | None:
    """The newest card of exactly this model and digest."""
    table = tables.cards
    query = (
        sa.select(table)
        .where(table.c.model == model, table.c.serving_digest == serving_digest)
        .order_by(table.c.created_at.desc())
        .limit(1)
    )
    row = conn.execute(query).mappings().first()
    return dict(row) if row else None


def _card(card: Row) -> Tree:
    gates = json.loads(card["body"]).get("gates", [])
    passed = sum(gate["passed"] for gate in gates)
    return Tree(
        kind="card",
        ref=card["id"],
        label=f"{passed} of {len(gates)} gates passed",
        facts={"digest": card["digest"], "passed": card["passed"], "at": card["created_at"]},
        children=tuple(
            Tree(kind="gate", ref=gate["name"], label=gate["because"], facts=gate) for gate in gates
        ),
    )


def _run(ground: Ground, conn: sa.Connection, answer: Row, run: Row, sight: Sight) -> Tree:
    version = _version(conn, run)
    data = (_data(ground, conn, answer, version, sight),) if version else ()
    return run_tree(run, children=data)


def run_tree(run: Row, children: tuple[Tree, ...] = ()) -> Tree:
    """A run; what it learned from, or what it made, are its children."""
    names = ("id", "kind", "state", "spec_digest", "data_digest", "started_at", "ended_at")
    return Tree(
        kind="run",
        ref=f"run:{run['number']}",
        label=f"{run['kind']}, {run['state']}, {run['wall_seconds']:.1f} s",
        facts={name: run[name] for name in names} | {"metrics": json.loads(run["metrics"])},
        children=children,
    )


def _version(conn: sa.Connection, run: Row) -> DataVersion | None:
    return versions.by_id(conn, run["data_version"]) if run["data_version"] else None


# -- data and rows ----------------------------------------------------------------------------------


def _data(ground: Ground, conn: sa.Connection, answer: Row, version: DataVersion, sight: Sight) -> Tree:
    if not sight.data:
        children: tuple[Tree, ...] = (
            Tree(kind="row", ref=version.ref, label=plural(version.rows, "row"), hole=NOT_YOURS),
        )
    else:
        children = _rows(ground, conn, answer, version, sight.rows)
    return data_tree(conn, version, children=children)


def data_tree(conn: sa.Connection, version: DataVersion, children: tuple[Tree, ...] = ()) -> Tree:
    """A data set version with what people agreed to; rows, or what learned from it, are its children."""
    since = _withdrawn_since(conn, version)
    holes = len(chunks.layout_of(conn, version.id).holes)
    gone = f" ({holes} forgotten)" if holes else ""
    return Tree(
        kind="data",
        ref=version.ref,
        label=f"{plural(version.rows, 'row')}{gone}, {version.basis}, for {', '.join(version.purposes)}",
        facts={
            "id": version.id,
            "digest": version.digest,
            "rows": version.rows,
            "forgotten": holes,
            "basis": version.basis,
            "purposes": list(version.purposes),
            "sensitivity": version.sensitivity.word,
            "regions": list(version.regions),
            "left_out": version.left_out,
            "subjects": _subjects(conn, version),
            "withdrew_since": since,
            "added_at": version.created_at,
            "ledger": places(conn, version.ref),
        },
        children=children,
    )


def _subjects(conn: sa.Connection, version: DataVersion) -> int:
    table = tables.data_subjects
    query = sa.select(sa.func.count()).select_from(table).where(table.c.version == version.id)
    return int(conn.scalar(query) or 0)


def _withdrawn_since(conn: sa.Connection, version: DataVersion) -> int:
    """How many people in the version have withdrawn one of its purposes by now."""
    withdrew = {s for purpose in version.purposes for s in consent.withdrawn(conn, version.project, purpose)}
    if not withdrew:
        return 0
    table = tables.data_subjects
    query = sa.select(table.c.subject).where(table.c.version == version.id)
    return sum(subject in withdrew for subject in conn.scalars(query))


def _rows(
    ground: Ground, conn: sa.Connection, answer: Row, version: DataVersion, most: int
) -> tuple[Tree, ...]:
    """The rows about the person who was answered about, else the first ones; and how many more."""
    theirs = rows_about(conn, version.id, answer["subject"])
    shown = (theirs or _first(conn, version, most))[:most]
    told = tuple(row_tree(ground, version, number, mine=bool(theirs)) for number in shown)
    left = version.rows - len(told)
    more = (
        (Tree(kind="rows", ref=version.ref, label=f"{left} more rows", facts={"rows": left}),) if left else ()
    )
    return (*told, *more)


def _first(conn: sa.Connection, version: DataVersion, most: int) -> list[int]:
    """The first rows, holes before them: that somebody was there says more than one row of many."""
    holes = chunks.layout_of(conn, version.id).holes[: (most + 1) // 2]
    return list(dict.fromkeys((*holes, *range(1, version.rows + 1))))[:most]


def rows_about(conn: sa.Connection, version: str, subject: str | None) -> list[int]:
    """The numbers of the rows about a subject."""
    table = tables.data_subjects
    query = sa.select(table.c.rows).where(table.c.version == version, table.c.subject == subject)
    text = conn.scalar(query) if subject else None
    return list(json.loads(text)) if text else []


def row_tree(ground: Ground, version: DataVersion, number: int, *, mine: bool = False) -> Tree:
    """One row: on what basis it is there, for which purposes, with whose consent; never its content."""
    found = rows_of.row(ground, version, number)
    whose = " · about the person asked about" if mine else ""
    agreed = ", ".join(f"{state} for {purpose}" for purpose, state in found.consent.items())
    broken = "" if found.holds or not found.present else " · NOT WHAT WAS ADDED"
    return Tree(
        kind="row",
        ref=f"{version.ref}#{number}",
        label=f"basis {found.basis}, consent {agreed}{whose}{broken}",
        facts={
            "row": number,
            "basis": found.basis,
            "purposes": list(found.purposes),
            "consent": dict(found.consent),
            "subjects": list(found.subjects),
            "commitment": found.commitment,
            "holds": found.holds,
        },
        hole="" if found.present else "forgotten",
    )


# -- small reads ------------------------------------------------------------------------------------


def _one(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> Row | None:
    row = conn.execute(sa.select(table).where(where)).mappings().first()
    return dict(row) if row else None


def _entry(conn: sa.Connection, kind: str, object: str) -> Row | None:
    table = tables.entries
    return _one(conn, table, sa.and_(table.c.kind == kind, table.c.object == object))
