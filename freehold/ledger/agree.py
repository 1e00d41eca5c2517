"""Do the rows of state and the entries tell the same story? The second half of `freehold verify`.

A row without the entry that began it was put there past us, and so was a state that no entry brought
about. Entries are read once, answers are compared inside the database: they are too many to hold.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.store import tables

Detail = Mapping[str, Any]
Found = Iterator[tuple[str, str]]
"""(place, why) of each disagreement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Each row of a table has an entry that began it, and each such entry still has its row."""

    table: sa.Table
    key: str
    kinds: tuple[str, ...]
    field: str
    """The field of the entry's detail that names the row."""
    same: tuple[str, ...] = ()
    """Columns that say what the entry's field of the same name says."""


BIRTHS = (
    Birth(table=tables.people, key="id", kinds=("person.added",), field="person"),
    Birth(table=tables.projects, key="name", kinds=("project.added",), field="name"),
    Birth(table=tables.keys, key="id", kinds=("key.created",), field="key", same=("zone", "owner")),
    Birth(table=tables.journeys, key="id", kinds=("journey.begun",), field="journey", same=("kind",)),
    Birth(table=tables.jobs, key="id", kinds=("job.queued",), field="job", same=("kind",)),
    Birth(table=tables.runs, key="id", kinds=("run.begun",), field="run", same=("kind",)),
    Birth(
        table=tables.models,
        key="id",
        kinds=("model.version",),
        field="model",
        same=("digest", "serving_digest"),
    ),
    Birth(
        table=tables.cards, key="id", kinds=("card.issued",), field="card", same=("model", "serving_digest")
    ),
    Birth(table=tables.services, key="name", kinds=("service.declared", "service.attached"), field="service"),
    Birth(
        table=tables.approvals,
        key="id",
        kinds=("approval.requested",),
        field="approval",
        same=("service", "serving_digest", "role"),
    ),
    Birth(
        table=tables.releases,
        key="id",
        kinds=("release.begun",),
        field="release",
        same=("service", "serving_digest"),
    ),
    Birth(table=tables.snapshots, key="ix", kinds=("snapshot.published",), field="ix", same=("digest",)),
)

_APPROVAL = {"requested": "waiting", "given": "given", "refused": "refused", "void": "void"}


def disagreements(connection: sa.Connection) -> tuple[int, list[tuple[str, str]]]:
    """How many rows were looked at, and what does not fit: at most one finding a rule, the first."""
    said = _said(connection)
    looked, found = 0, []
    for birth in BIRTHS:
        rows = _rows(connection, birth.table)
        looked += len(rows)
        found += _first(_birth(birth, rows, said))
        for rule in _STATES.get(birth.table.name, ()):
            found += _first(rule(rows, said))
    found += _first(_roles(_rows(connection, tables.memberships), said))
    answers, against = _answers(connection)
    return looked + answers, found + against


def _said(connection: sa.Connection) -> dict[str, list[Detail]]:
    """The details of entries by kind, in the order they were written; without the answers'."""
    e = tables.entries.c
    query = sa.select(e.kind, e.body).where(e.kind.not_like("answer.%")).order_by(e.at, e.id)
    said: dict[str, list[Detail]] = defaultdict(list)
    for kind, body in connection.execution_options(yield_per=1000).execute(query):
        try:
            said[kind].append(json.loads(body)["detail"])
        except (ValueError, KeyError, TypeError):
            continue  # the walk over the entries names it
    return said


def _rows(connection: sa.Connection, table: sa.Table) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def _first(found: Found) -> list[tuple[str, str]]:
    first = next(found, None)
    return [] if first is None else [first]


# -- beginnings -------------------------------------------------------------------------------------


def _birth(birth: Birth, rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    entries = {detail.get(birth.field): detail for kind in birth.kinds for detail in said.get(kind, [])}
    for row in rows:
        place = f"{birth.table.name} `{row[birth.key]}`"
        detail = entries.pop(row[birth.key], None)
        if detail is None:
            yield place, f"the row is there, no entry `{birth.kinds[0]}` is"
            continue
        for column in birth.same:
            if row[column] != detail.get(column):
                yield place, f"its `{column}` is not what entry `{birth.kinds[0]}` says"
    for key in entries:
        yield f"{birth.table.name} `{key}`", f"entry `{birth.kinds[0]}` is there, the row is not"


# -- what became of them ----------------------------------------------------------------------------


def _keys(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    revoked = {detail["key"] for detail in said.get("key.revoked", [])}
    for row in rows:
        if (row["revoked_at"] is not None) != (row["id"] in revoked):
            yield f"keys `{row['id']}`", "whether it is revoked is not what the entries say"


def _people(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    """How often somebody was locked and unlocked says what they are now: the two alternate."""
    locked: dict[str, int] = defaultdict(int)
    for kind, step in (("person.locked", 1), ("person.unlocked", -1)):
        for detail in said.get(kind, []):
            locked[detail["person"]] += step
    for row in rows:
        if (row["state"] == "locked") != (locked[row["id"]] > 0):
            yield f"people `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _models(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    now = {detail["model"]: detail["after"] for detail in said.get("model.state", [])}
    for row in rows:
        if row["state"] != now.get(row["id"], "trained"):
            yield f"models `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _approvals(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    now: dict[str, str] = {}
    for word, state in _APPROVAL.items():
        for detail in said.get(f"approval.{word}", []):
            now[detail["approval"]] = state  # requested, then decided, then void: never back
    for row in rows:
        if row["state"] != now.get(row["id"]):
            yield f"approvals `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _releases(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    ended = {detail["release"]: detail["state"] for detail in said.get("release.ended", [])}
    for row in rows:
        if (row["ended_at"] is not None) != (row["id"] in ended):
            yield f"releases `{row['id']}`", "whether it has ended is not what the entries say"


_STATES: dict[str, tuple[Callable[[list[Mapping[str, Any]], Mapping[str, list[Detail]]], Found], ...]] = {
    "keys": (_keys,),
    "people": (_people,),
    "models": (_models,),
    "approvals": (_approvals,),
    "releases": (_releases,),
}


def _roles(rows: list[Mapping[str, Any]], said: Mapping[str, list[Detail]]) -> Found:
    """Who holds which role, told once by the entries and once by the rows."""
    held: set[tuple[str, str, str]] = set()
    for detail in said.get("person.added", []):
        held |= {(detail["person"], *role.rsplit("/", 1)) for role in detail["roles"]}
    for detail in said.get("person.roles", []):
        project = detail["project"]
        held |= {(detail["person"], project, role) for role in detail["added"]}
        held -= {(detail["person"], project, role) for role in detail["removed"]}
    rows_say = {(row["person"], row["project"], row["role"]) for row in rows}
    for person, project, role in sorted(rows_say ^ held):
        yield f"memberships `{person}`", f"the role {role} in {project} is not what the entries say"


# -- answers ----------------------------------------------------------------------------------------


def _answers(connection: sa.Connection) -> tuple[int, list[tuple[str, str]]]:
    """Each answer has its intent, each ended one its close; both entries name the answer as object."""
    a, found = tables.answers.c, []
    for kind, which in (("answer.intent", sa.true()), ("answer.close", a.ending.is_not(None))):
        e = tables.entries.alias()
        entry = sa.select(e.c.id).where(e.c.object == a.id, e.c.kind == kind).exists()
        row = connection.execute(sa.select(a.id).where(which, ~entry).limit(1)).first()
        if row is not None:
            found.append((f"answers `{row.id}`", f"the row is there, no entry `{kind}` is"))
    count = connection.execute(sa.select(sa.func.count()).select_from(tables.answers)).scalar_one()
    return count, found
