"""One row, looked up: on what basis it is there, about whom, and that it is the one that was added."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data import canonical, chunks, commitments, consent, versions
from freehold.data.naming import hmacs
from freehold.data.promise import subject_key_name
from freehold.data.versions import DataVersion
from freehold.errors import NotFound, Tampered
from freehold.spec import merkle
from freehold.store.ground import Ground
from freehold.store.tables import data_subjects, data_versions, datasets

_MOST_REPEATS = 100_000
"""How many equal rows before a row are tried to find out which of them it is."""


class RowsChanged(Tampered):
    """the rows of `{ref}` are not those that were added"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBasis:
    """What is known of one row of a version, without its words."""

    ref: str
    row: int
    present: bool
    """False once the row was removed; its commitment stays."""
    basis: str
    purposes: tuple[str, ...]
    consent: Mapping[str, str]
    """Purpose → `given`, `withdrawn`, or `not needed` where the basis is another."""
    subjects: tuple[str, ...]
    """HMACs of the persons it is about."""
    commitment: str
    """`sha256:…`, covered by the version's digest; empty once the version's time is over."""
    holds: bool
    """Whether the stored row, with its key, gives that commitment again."""

    @property
    def subject(self) -> str | None:
        """The first of the persons it is about."""
        return self.subjects[0] if self.subjects else None


def row(ground: Ground, version: DataVersion, number: int) -> RowBasis:
    """The basis of row `number`, counted from 1. Raises NotFound when the version never had it."""
    if not 1 <= number <= version.rows:
        raise NotFound(kind=f"row in {version.ref}", name=str(number), why=f"it has rows 1 to {version.rows}")
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    promised = b"" if layout.over else commitments.nth(chunks.commitments(ground.blobs, layout), number)
    table = chunks.read_row(ground, layout, number)
    subjects = _subjects(ground, version, table)
    return RowBasis(
        ref=version.ref,
        row=number,
        present=table is not None,
        basis=version.basis,
        purposes=version.purposes,
        consent=_consent(ground, version, table, subjects),
        subjects=subjects,
        commitment=f"sha256:{promised.hex()}" if promised else "",
        holds=table is not None and _opens(ground, version, table, subjects, number, promised),
    )


def _subjects(ground: Ground, version: DataVersion, table: Any | None) -> tuple[str, ...]:
    """The persons of a table of one row."""
    return () if table is None else persons(ground, version, table)[0]


def persons(ground: Ground, version: DataVersion, table: Any) -> list[tuple[str, ...]]:
    """The persons of each row, each once."""
    (lookup,) = ground.keyring.ensure(f"lookup/{version.project}")
    columns = [hmacs(table[name], lookup).to_pylist() for name in version.subject_columns]
    if not columns:
        return [()] * len(table)
    return [tuple(dict.fromkeys(p.hex() for p in row if p)) for row in zip(*columns, strict=True)]


def _consent(
    ground: Ground, version: DataVersion, table: Any | None, subjects: tuple[str, ...]
) -> dict[str, str]:
    with ground.db.read() as conn:
        said = [consent.of_subject(conn, version.project, subject) for subject in subjects]
    found = {}
    for purpose in version.purposes:
        states = {each[purpose] for each in said if purpose in each}
        if consent.WITHDRAWN in states:
            found[purpose] = consent.WITHDRAWN
        elif version.consent_column and table is not None:
            found[purpose] = consent.GIVEN  # else intake would have left the row out
        else:
            found[purpose] = "not needed" if version.basis != "consent" else "unknown"
    return found


def _opens(
    ground: Ground, version: DataVersion, table: Any, subjects: tuple[str, ...], number: int, promised: bytes
) -> bool:
    """Whether a row gives its commitment again; which of several equal rows it is, is found by trying."""
    (words,) = _words(version, table)
    key = _row_key(ground, version, subjects)
    repeats = range(min(number, _MOST_REPEATS))
    return any(commitments.commit(key, words, before) == promised for before in repeats)


def _words(version: DataVersion, table: Any) -> list[bytes]:
    names, types = [c.name for c in version.columns], [c.type for c in version.columns]
    return canonical.rows(table.select(names), types)


def _row_key(ground: Ground, version: DataVersion, subjects: tuple[str, ...]) -> bytes:
    names = [subject_key_name(version.project, s) for s in subjects] or [f"dataset/{version.dataset}"]
    keys = [ground.keyring.key(name) for name in names]
    return commitments.joint_key([commitments.commitment_key(key) for key in keys])


def versions_of(conn: sa.Connection, project: str, subject: str) -> list[tuple[DataVersion, list[int]]]:
    """Every version in `project` with rows about a person (their HMAC), and those rows' numbers."""
    query = (
        sa.select(data_subjects.c.version, data_subjects.c.rows)
        .join(data_versions, data_versions.c.id == data_subjects.c.version)
        .join(datasets, datasets.c.id == data_versions.c.dataset)
        .where(datasets.c.project == project, data_subjects.c.subject == subject)
        .order_by(datasets.c.name, data_versions.c.version)
    )
    return [(versions.by_id(conn, id), json.loads(rows)) for id, rows in conn.execute(query)]


def inclusion(ground: Ground, version: DataVersion, number: int) -> list[bytes]:
    """The RFC 6962 path from row `number`'s commitment to the root in the version's digest."""
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    packed = chunks.commitments(ground.blobs, layout)
    leaves = [merkle.leaf_hash(each) for each in commitments.each(packed)]

    def node(height: int, place: int) -> bytes:
        return merkle.complete_root(leaves[place << height : (place + 1) << height])

    return merkle.inclusion_proof(number - 1, len(leaves), node)


def check(ground: Ground, version: DataVersion) -> int:
    """Recompute a version from what is stored; how many of its rows are present and hold.

    Raises RowsChanged when the commitments do not lead to the digest, or a row is not what was
    committed to; KeyDestroyed, BlobChanged, ChunkBroken when it cannot be opened.
    """
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
    promised = chunks.commitments(ground.blobs, layout)
    schema = [(column.name, column.type) for column in version.columns]
    if commitments.version_digest(schema, version.rows, commitments.root(promised)) != version.digest:
        raise RowsChanged(ref=version.ref, why="its commitments do not lead to its digest")
    seen: Counter[int] = Counter()
    for table in chunks.read(ground, layout):
        _check_rows(ground, version, table, promised, seen)
    return seen.total()


def _check_rows(
    ground: Ground, version: DataVersion, table: Any, promised: bytes, seen: Counter[int]
) -> None:
    """Each row of one chunk. Equal rows go together when a person goes, so they can still be counted."""
    rows = zip(
        table[chunks.ROW].to_pylist(), _words(version, table), persons(ground, version, table), strict=True
    )
    for number, words, subjects in rows:
        before = seen[hash(words)]
        seen[hash(words)] += 1
        made = commitments.commit(_row_key(ground, version, subjects), words, before)
        if made != commitments.nth(promised, number):
            raise RowsChanged(ref=version.ref, why=f"row {number} is not what was committed to")
