"""A person's rows and words go: from every version, without changing what the versions are.

Chunks that hold a row of the person are written anew without it, under keys of their own; then one
transaction puts them in the place of the old ones and takes away the words of answers and the index;
then the keys of what was replaced are destroyed. A version keeps its number, its digest and its
commitments, and every other row keeps its number: what cites them still holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from freehold.data import chunks, lineage, versions
from freehold.data import laying as laying_of
from freehold.data.chunks import Chunk, Layout
from freehold.data.declare import LEGAL
from freehold.data.laying import Laying
from freehold.data.versions import DataVersion
from freehold.errors import Conflict
from freehold.ledger.record import record
from freehold.spec.answer import FORGOTTEN
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import (
    answers,
    consents,
    contents,
    data_subjects,
    data_versions,
    incidents,
    intakes,
)


class ChangedMeanwhile(Conflict):
    """`{ref}` was changed by somebody else meanwhile"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRows:
    """A person's rows in one version."""

    version: DataVersion
    rows: tuple[int, ...]

    @property
    def by_law(self) -> bool:
        """Whether they have to be kept until their time is over."""
        return self.version.basis == LEGAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a person is, in numbers and ids."""

    removed: tuple[FoundRows, ...]
    """What goes."""
    kept: tuple[FoundRows, ...]
    """What has to be kept by law."""
    answers: int
    words: int
    """Answers whose words are kept, sealed."""
    consents: int
    services: Mapping[str, int]
    """Service -> answers about the person."""
    incidents: int = 0
    """In which somebody who asked about them looked like an attacker."""

    @property
    def nothing(self) -> bool:
        """Whether nobody of that name is known here."""
        return not (self.removed or self.kept or self.answers or self.consents or self.incidents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaid:
    """New chunks, stored, that nothing refers to yet."""

    note: str
    """The row of `intakes` that names them, should the process die."""
    layouts: Mapping[str, tuple[Layout, Layout]]
    """Version -> its layout before and after."""
    index: Mapping[tuple[str, str], list[int]] = field(default_factory=dict)
    """(version, somebody else) -> the rows about both that go, too."""


# -- looking ----------------------------------------------------------------------------------------


def found(ground: Ground, project: str, subject: str) -> Found:
    """Where a person (their HMAC) is in `project`."""
    with ground.db.read() as conn:
        rows = [
            FoundRows(version=version, rows=tuple(numbers))
            for version, numbers in lineage.versions_of(conn, project, subject)
        ]
        theirs = (answers.c.project == project) & (answers.c.subject == subject)
        by_service = conn.execute(
            sa.select(answers.c.service, sa.func.count()).where(theirs).group_by(answers.c.service)
        ).all()
        worded = sa.select(sa.func.count(sa.distinct(contents.c.answer))).where(
            contents.c.answer.in_(_ids(theirs))
        )
        said = sa.select(sa.func.count()).where(consents.c.project == project, consents.c.subject == subject)
        i = incidents.c
        seen = sa.select(sa.func.count()).where(i.project == project, i.subject == subject)
        return Found(
            removed=tuple(each for each in rows if not each.by_law),
            kept=tuple(each for each in rows if each.by_law),
            answers=sum(count for _, count in by_service),
            words=int(conn.scalar(worded) or 0),
            consents=int(conn.scalar(said) or 0),
            incidents=int(conn.scalar(seen) or 0),
            services={str(service): int(count) for service, count in by_service},
        )


def _ids(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(answers.c.id).where(where)


def unsearched(conn: sa.Connection, project: str) -> tuple[str, ...]:
    """Versions in which something looks personal and that do not say whom a row is about."""
    return tuple(
        version.ref
        for version in versions.list(conn, project)
        if not version.subject_columns and any(column.looks for column in version.columns)
    )


def with_holes(conn: sa.Connection, project: str) -> tuple[DataVersion, ...]:
    """The versions in which rows are gone, and others are left."""
    return tuple(
        version
        for version in versions.list(conn, project)
        if version.state == versions.READY and chunks.layout_of(conn, version.id).holes
    )


# -- laying anew ------------------------------------------------------------------------------------


def relay(ground: Ground, note: str, project: str, gone: Sequence[FoundRows]) -> Relaid:
    """Store the chunks of these versions without these rows. What an earlier attempt stored is taken away.

    Raises NotStored; KeyDestroyed, BlobChanged, ChunkBroken when a chunk cannot be opened.
    """
    laying_of.take_back(ground, note)
    layouts, index = {}, dict[tuple[str, str], list[int]]()
    with Laying(ground, project, note) as laying:
        for each in gone:
            with ground.db.read() as conn:
                before = chunks.layout_of(conn, each.version.id)
            after, others = _without(ground, laying, before, each)
            layouts[each.version.id] = (before, after)
            index |= {(each.version.id, person): rows for person, rows in others.items()}
        laying.keep()
    return Relaid(note=note, layouts=layouts, index=index)


def _without(
    ground: Ground, laying: Laying, before: Layout, gone: FoundRows
) -> tuple[Layout, dict[str, list[int]]]:
    """The layout without these rows, and who else they were about."""
    laid, others = list[Chunk](), dict[str, list[int]]()
    numbers = pa.array(gone.rows, pa.int64())
    for chunk in before.chunks:
        if not any(chunk.first <= row < chunk.first + chunk.rows for row in gone.rows):
            laid.append(chunk)
            continue
        table = chunks.opened(
            ground.blobs.get(chunk.blob), chunk.id, ground.keyring.key(chunks.key_name(chunk.id))
        )
        theirs = pc.is_in(table[chunks.ROW], value_set=numbers)
        going = table.filter(theirs)
        people = lineage.persons(ground, gone.version, going)
        for row, persons in zip(going[chunks.ROW].to_pylist(), people, strict=True):
            for person in persons:
                others.setdefault(person, []).append(row)
        laid.append(_put(laying, table.filter(pc.invert(theirs)), chunk))
    holes = tuple(sorted({*before.holes, *gone.rows}))
    return replace(before, chunks=tuple(laid), holes=holes), others


def _put(laying: Laying, table: Any, before: Chunk) -> Chunk:
    """A chunk in the place of another, under a key of its own."""
    chunk, key = chunks.new_chunk_id(), os.urandom(32)
    data = chunks.seal_rows(table, chunk, key)
    laying.keys[chunks.key_name(chunk)] = key
    return replace(before, id=chunk, blob=laying.put(data), bytes=len(data))


# -- taking away ------------------------------------------------------------------------------------


def remove(
    tx: Tx, relaid: Relaid, *, by: Principal, project: str, subject: str, forgetting: str
) -> dict[str, Any]:
    """Put the new chunks in their places, and take away index and words. Raises ChangedMeanwhile.

    Returns what is left to be destroyed: `keys` and `blobs`.
    """
    rows = 0
    for version, (before, after) in relaid.layouts.items():
        _swap(tx, version, before, after)
        gone = len(after.holes) - len(before.holes)
        _tell(tx, by, project, version, gone, len(after.holes))
        rows += gone
    for (version, person), numbers in relaid.index.items():
        _shorten(tx, version, person, numbers)
    told = remove_words(tx, by=by, project=project, subject=subject, forgetting=forgetting)
    tx.execute(intakes.delete().where(intakes.c.id == relaid.note))
    return {"rows": rows, "versions": len(relaid.layouts), **told, **_replaced(relaid)}


def _swap(tx: Tx, version: str, before: Layout, after: Layout) -> None:
    row = data_versions.c.id == version
    now = chunks.layout_of(tx.connection, version)
    if now != before:
        raise ChangedMeanwhile(ref=version, hint="it is tried again")
    tx.execute(data_versions.update().where(row).values(layout=after.as_json()))


def _tell(tx: Tx, by: Principal, project: str, version: str, rows: int, holes: int) -> None:
    ref = versions.by_id(tx.connection, version).ref
    detail = {"version": version, "rows": rows, "holes": holes}
    record(tx, "data.forgotten", by=by, object=ref, project=project, detail=detail)


def _shorten(tx: Tx, version: str, person: str, gone: Sequence[int]) -> None:
    """The index without these rows; a person without rows is not in it."""
    where = (data_subjects.c.version == version) & (data_subjects.c.subject == person)
    text = tx.connection.scalar(sa.select(data_subjects.c.rows).where(where))
    left = [row for row in json.loads(text or "[]") if row not in set(gone)]
    if left:
        tx.execute(data_subjects.update().where(where).values(rows=json.dumps(left)))
    else:
        tx.execute(data_subjects.delete().where(where))


def remove_words(tx: Tx, *, by: Principal, project: str, subject: str, forgetting: str) -> dict[str, int]:
    """The sealed words of every answer about a person go, and whom it was about is no longer said.

    Returns how many `answers`, sealed `words` and `incidents` that were. Where it unnames incidents, what
    gateways know has to be published: it may hold the person's requests.
    """
    unnamed = _unname(tx, by, project, subject, forgetting)
    theirs = (answers.c.project == project) & (answers.c.subject == subject)
    count = int(tx.connection.scalar(sa.select(sa.func.count()).where(theirs)) or 0)
    if not count:
        return {"answers": 0, "words": 0, "incidents": unnamed}
    words = tx.execute(contents.delete().where(contents.c.answer.in_(_ids(theirs)))).rowcount
    tx.execute(answers.update().where(theirs).values(subject=FORGOTTEN))
    detail = {"forgetting": forgetting, "answers": count, "words": words}
    record(tx, "answer.forgotten", by=by, object=forgetting, project=project, detail=detail)
    return {"answers": count, "words": words, "incidents": unnamed}


def _unname(tx: Tx, by: Principal, project: str, subject: str, forgetting: str) -> int:
    """Incidents say no more whom they were about, and hold nobody's requests about them back; how many."""
    theirs = (incidents.c.project == project) & (incidents.c.subject == subject)
    count = int(tx.connection.scalar(sa.select(sa.func.count()).where(theirs)) or 0)
    if count:  # an update that finds nothing is a change without an entry, too
        tx.execute(incidents.update().where(theirs).values(subject=FORGOTTEN, held=False))
        detail = {"forgetting": forgetting, "incidents": count}
        record(tx, "incident.forgotten", by=by, object=forgetting, project=project, detail=detail)
    return count


def _replaced(relaid: Relaid) -> dict[str, list[str]]:
    """Keys and objects that nothing refers to any more."""
    keys, blobs = [], []
    for before, after in relaid.layouts.values():
        stays = {chunk.id for chunk in after.chunks}
        for chunk in before.chunks:
            if chunk.id not in stays:
                keys.append(chunks.key_name(chunk.id))
                blobs.append(chunk.blob)
    return {"keys": sorted(keys), "blobs": sorted(blobs)}
