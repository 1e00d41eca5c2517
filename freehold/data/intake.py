"""Adding a file: read it twice, commit to its rows, seal them, and only then say that it is there.

Until the last transaction nothing refers to what was laid down: keys are in memory, chunks are objects
that nothing can open, named in `intakes`. A failure takes them away again; when the process dies,
`sweep` does it at the next start.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import sqlalchemy as sa

from freehold.data import chunks, commitments, consent, declare, promise, sift, suppression, versions
from freehold.data.declare import Declared, Intake
from freehold.data.laying import AddedMeanwhile, Laying, sweep
from freehold.data.naming import HMAC
from freehold.data.reading import FORMATS, FileUnreadable, NoRows, open_reader
from freehold.data.sift import FirstReading, Rules, Sifted
from freehold.data.versions import DataColumn, DataVersion
from freehold.data.writing import Also, Draft, Found, Sealed, repeat_consents, write_version
from freehold.errors import NotFound
from freehold.spec.ids import check_name, new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.keyring import KeyExists
from freehold.store.rows import Tx
from freehold.store.tables import datasets, projects

__all__ = ["Added", "Intake", "add", "sweep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of a file."""

    ref: str
    """`name@version`."""
    version: DataVersion | None
    """None for a plan whose version does not exist yet."""
    new: bool
    """False when exactly these rows are a version already."""
    planned: bool
    rows: int
    declared: Declared
    columns: tuple[DataColumn, ...]
    left_out: Mapping[str, int]
    bad_rows: int
    broken: str
    """The first broken rows, told by line."""
    notes: tuple[str, ...]
    """What the one who added it should look at."""


def add(
    ground: Ground,
    *,
    by: Principal,
    project: str,
    request: Intake,
    source: BinaryIO | Path,
    format: str,
    also: Also | None = None,
) -> Added:
    """Add a file to a data set as its next version, the first one if there is none.

    Raises BadInput (with the lines of broken rows), Conflict, NotFound, Unavailable; then nothing of
    the file is kept. The same rows in the same order are no new version.
    """
    if format not in FORMATS:
        raise FileUnreadable(format=f"`{format[:40]}`", why=f"formats are {', '.join(FORMATS)}")
    if isinstance(source, Path):
        with source.open("rb") as file:
            return _add(ground, by, project, request, file, format, also)
    return _add(ground, by, project, request, source, format, also)


def _add(
    ground: Ground,
    by: Principal,
    project: str,
    asked: Intake,
    source: BinaryIO,
    format: str,
    also: Also | None,
) -> Added:
    found = _found(ground, project, asked)
    (lookup,) = ground.keyring.ensure(f"lookup/{project}")
    reader = open_reader(source, format, frozenset(asked.missing))
    with (
        closing(sift.read(reader, found.declared, lookup)) as first,
        closing(_sifted(ground, asked, found, first, lookup)) as sifted,
    ):
        sift.refuse_broken(first.faults, first.counts_by, asked.allow_bad_rows)
        _refuse_nothing(sifted)
        added = _told(found, first, sifted)
        if asked.plan:
            return added
        draft = _draft(found, first, sifted, source, format)
        return _keep_or_again(ground, by, draft, sifted, added, also)


def _found(ground: Ground, project: str, asked: Intake) -> Found:
    """The data set as it stands, and what holds for it."""
    name = check_name(asked.name, "data set")
    with ground.db.read() as conn:
        if not conn.execute(sa.select(projects.c.name).where(projects.c.name == project)).first():
            raise NotFound(kind="project", name=project[:63], hint="`freehold project add` makes one")
        where = (datasets.c.project == project) & (datasets.c.name == name)
        row = conn.execute(sa.select(datasets).where(where)).mappings().first()
        before = versions.of_dataset(conn, row["id"]) if row else ()
    declared = declare.settle(name, versions.declared_from(row) if row else None, asked)
    return Found(
        project=project,
        name=name,
        dataset=row["id"] if row else new_id("ds"),
        is_new=row is None,
        declared=declared,
        versions=before,
    )


def _sifted(ground: Ground, asked: Intake, found: Found, first: FirstReading, lookup: bytes) -> Sifted:
    declared = found.declared
    before = {column.name: column.type for column in found.versions[-1].columns} if found.versions else {}
    with ground.db.read() as conn:
        earlier = consent.withdrawn_by_people(conn, found.project, declared.purposes)
        forgotten = suppression.coming(conn, ground.keyring, found.project, declared)
    asked_text = {name for name, word in asked.types.items() if word == "text"}
    rules = Rules(
        types=sift.settle_types(first, declared, asked, before),
        forced=frozenset({*declared.text_columns, *asked_text}),
        declared=declared,
        withdrew_here=pa.array(sorted(first.withdrew), HMAC),
        withdrew_earlier=pa.array([bytes.fromhex(s) for s in sorted(earlier)], HMAC),
        forgotten=forgotten,
        lookup=lookup,
    )
    return sift.sift(first, rules)


def _refuse_nothing(sifted: Sifted) -> None:
    if sifted.rows == 0:
        told = ", ".join(f"{n} {reason}" for reason, n in sifted.left_out.most_common()) or "none was whole"
        raise NoRows(why=f"every row is left out: {told}")


def _told(found: Found, first: FirstReading, sifted: Sifted) -> Added:
    columns = sifted.columns()
    return Added(
        ref=found.next_ref,
        version=None,
        new=True,
        planned=True,
        rows=sifted.rows,
        declared=found.declared,
        columns=columns,
        left_out=dict(sifted.left_out.most_common()),
        bad_rows=first.faults.count,
        broken=first.faults.told(first.counts_by),
        notes=_notes(found.declared, columns, sifted),
    )


def _notes(declared: Declared, columns: tuple[DataColumn, ...], sifted: Sifted) -> tuple[str, ...]:
    notes = []
    personal = [column.name for column in columns if column.looks]
    if personal and not declared.subject_columns:
        notes.append(
            f"{', '.join(personal)} look{'s' * (len(personal) == 1)} personal, and no --subject says whom a"
            " row is about: nobody's rows could be found again to be forgotten"
        )
    if personal and declared.sensitivity.word in ("Public", "Internal"):
        notes.append(f"it is {declared.sensitivity.word}, and columns in it look personal")
    for column in columns:
        if column.empty and column.name in (declared.target, *declared.subject_columns):
            notes.append(f"{column.empty} of {sifted.rows} rows have no `{column.name}`")
    return tuple(notes)


def _draft(found: Found, first: FirstReading, sifted: Sifted, source: BinaryIO, format: str) -> Draft:
    source.seek(0)
    digest = hashlib.file_digest(source, "sha256").digest()  # type: ignore[arg-type]  # any binary file will do
    return Draft(
        found=found,
        id=new_id(consent.VERSION_PREFIX.rstrip("_")),
        columns=sifted.columns(),
        rows=sifted.rows,
        left_out=dict(sifted.left_out.most_common()),
        bad_rows=first.faults.count,
        format=format,
        source_digest=digest,
        source_bytes=source.tell(),
        persons=promise.persons_of(sifted),
        withdrew=tuple(sorted(person.hex() for person in first.withdrew)),
    )


def _keep_or_again(
    ground: Ground, by: Principal, draft: Draft, sifted: Sifted, added: Added, also: Also | None
) -> Added:
    """Once more, with the key that is there now, when something else made a person's key meanwhile."""
    for _ in range(3):
        try:
            return _keep(ground, by, draft, sifted, added, also)
        except KeyExists:
            continue
    return _keep(ground, by, draft, sifted, added, also)


def _keep(
    ground: Ground, by: Principal, draft: Draft, sifted: Sifted, added: Added, also: Also | None
) -> Added:
    found = draft.found
    promise.give_keys(draft.persons, ground.keyring, found.project)
    dataset_key = os.urandom(32) if found.is_new else ground.keyring.key(_key_name(found))
    promised = promise.commit_all(sifted, draft.persons, dataset_key)
    schema = [(column.name, column.type) for column in draft.columns]
    digest = commitments.version_digest(schema, draft.rows, commitments.root(promised))
    for same in _same(ground, found, digest):
        repeat_consents(ground, draft, same, by=by, also=also)
        return replace(added, ref=same.ref, version=same, new=False, planned=False)
    with Laying(ground, found.project) as laying:
        sealed = Sealed(digest=digest, layout=_lay(laying, sifted, promised), dataset_key=dataset_key)
        laying.keys |= draft.persons.new | ({_key_name(found): dataset_key} if found.is_new else {})
        version = laying.finish(lambda tx: _write(tx, ground, draft, sealed, by, also))
    return replace(added, ref=version.ref, version=version, planned=False)


def _same(ground: Ground, found: Found, digest: str) -> list[DataVersion]:
    """The version that these rows are already, and none of it is gone.

    Somebody whose key a law keeps may be forgotten, let in again, and come with the same rows: the version
    that lost them does not hold them, whatever its digest.
    """
    with ground.db.read() as conn:
        return [
            version
            for version in found.versions
            if version.digest == digest and not chunks.layout_of(conn, version.id).holes
        ]


def _write(
    tx: Tx, ground: Ground, draft: Draft, sealed: Sealed, by: Principal, also: Also | None
) -> DataVersion:
    found = draft.found
    forgotten = suppression.coming(tx.connection, ground.keyring, found.project, found.declared)
    if forgotten.of(draft.persons.hmacs):
        raise AddedMeanwhile(why="somebody in the file is being forgotten", hint="add the file again")
    return write_version(tx, draft, sealed, by=by, also=also)


def _key_name(found: Found) -> str:
    return f"dataset/{found.dataset}"


def _lay(laying: Laying, sifted: Sifted, promised: bytes) -> chunks.Layout:
    """Store the chunks and the commitments."""
    laid = []
    for first, table in chunks.gather(sifted.tables):
        chunk, key = chunks.new_chunk_id(), os.urandom(32)
        data = chunks.sealed(table, first, chunk, key)
        blob = laying.put(data)
        laying.keys[chunks.key_name(chunk)] = key
        laid.append(chunks.Chunk(id=chunk, blob=blob, first=first, rows=len(table), bytes=len(data)))
    packed = laying.put(chunks.head(promised, os.urandom(16)))
    return chunks.Layout(chunks=tuple(laid), commitments=packed)
